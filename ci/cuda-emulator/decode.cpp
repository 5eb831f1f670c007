#include "decode.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "address.h"
#include "operations.h"
#include "program.h"
#include "registers.h"

namespace ptx {

namespace {

std::uint64_t alignUp(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

bool startsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

const std::unordered_map<std::string_view, Special> SPECIALS = {
    {"%tid.x", Special::TidX},
    {"%tid.y", Special::TidY},
    {"%tid.z", Special::TidZ},
    {"%ntid.x", Special::NtidX},
    {"%ntid.y", Special::NtidY},
    {"%ntid.z", Special::NtidZ},
    {"%ctaid.x", Special::CtaidX},
    {"%ctaid.y", Special::CtaidY},
    {"%ctaid.z", Special::CtaidZ},
    {"%nctaid.x", Special::NctaidX},
    {"%nctaid.y", Special::NctaidY},
    {"%nctaid.z", Special::NctaidZ},
    {"%laneid", Special::LaneId},
    {"%warpid", Special::WarpId},
    {"%nwarpid", Special::NwarpId},
    {"%lanemask_eq", Special::LaneMaskEq},
    {"%lanemask_lt", Special::LaneMaskLt},
    {"%lanemask_le", Special::LaneMaskLe},
    {"%lanemask_gt", Special::LaneMaskGt},
    {"%lanemask_ge", Special::LaneMaskGe},
    {"%smid", Special::SmId},
    {"%nsmid", Special::NsmId},
    {"%gridid", Special::GridId},
    {"%dynamic_smem_size", Special::DynamicSharedBytes},
    {"%total_smem_size", Special::TotalSharedBytes},
};

class Decoder {
 public:
  Decoder(const Function &entry, const Syntax &syntax,
          const std::map<std::string, Allocation> &variables)
      : entry_(entry), syntax_(syntax), moduleVariables_(variables) {}

  std::unique_ptr<Kernel> decode() {
    auto kernel = std::make_unique<Kernel>();
    kernel->name = entry_.name;
    kernel->maxThreads = entry_.maxThreads;
    always_ = registers_.constantMask(ALL_LANES);
    openScope();
    for (const Variable &parameter : entry_.parameters) {
      const auto offset =
          static_cast<std::uint32_t>(alignUp(kernel->parameterBytes, parameter.alignment));
      const auto bytes = static_cast<std::uint32_t>(parameter.bytes);
      kernel->parameters.push_back({std::string(parameter.name), offset, bytes});
      kernel->parameterBytes = offset + bytes;
      declare(parameter.name, {Symbol::Kind::Variable, Space::Param, offset, 0}, parameter.line);
    }
    body(entry_);
    closeScope();
    place(Flow::Exit, entry_.line);
    finish(*kernel);
    return kernel;
  }

 private:
  // What a name stands for.
  struct Symbol {
    enum class Kind { Register, Variable } kind;
    Space space;            // of a variable
    std::uint64_t address;  // of a variable, in its space
    int reg;                // a register
    bool dynamic = false;   // dynamic shared memory: the address is not known before the end
  };

  struct Scope {
    int parent;
    std::unordered_map<std::string, Symbol> symbols;
    std::unordered_map<std::string, std::int32_t> labels;
    std::unordered_map<std::string, const Statement *> branchTargets;
  };

  struct Jump {
    std::size_t instruction;
    int scope;
    std::string label;
    int line;
  };

  [[noreturn]] static void fail(int line, const std::string &message) {
    throw PtxError(line, message);
  }

  // ---- Names -----------------------------------------------------------------------------------

  void openScope() {
    scopes_.push_back({scope_, {}, {}, {}});
    scope_ = static_cast<int>(scopes_.size()) - 1;
  }

  void closeScope() { scope_ = scopes_[scope_].parent; }

  void declare(std::string_view name, const Symbol &symbol, int line) {
    if (!scopes_[scope_].symbols.emplace(name, symbol).second) {
      fail(line, "'" + std::string(name) + "' is declared twice");
    }
  }

  const Symbol *find(std::string_view name) {
    const std::string key(name);
    for (int scope = scope_; scope >= 0; scope = scopes_[scope].parent) {
      const auto it = scopes_[scope].symbols.find(key);
      if (it != scopes_[scope].symbols.end()) return &it->second;
    }
    return moduleVariable(key);
  }

  // A variable of the module; its shared ones get their place in a kernel that names them.
  const Symbol *moduleVariable(const std::string &name) {
    auto &outermost = scopes_.front().symbols;
    const auto allocated = moduleVariables_.find(name);
    if (allocated != moduleVariables_.end()) {
      return &outermost
                  .emplace(name, Symbol{Symbol::Kind::Variable, Space::Global,
                                        allocated->second.address, 0})
                  .first->second;
    }
    for (const Variable &variable : syntax_.variables) {
      if (variable.name != name || variable.space != Space::Shared) continue;
      return &outermost.emplace(name, sharedVariable(variable)).first->second;
    }
    return nullptr;
  }

  Symbol sharedVariable(const Variable &variable) {
    if (variable.bytes == 0) {
      // Dynamic shared memory: all such arrays begin at the same place, behind the others.
      dynamicAlignment_ = std::max(dynamicAlignment_, variable.alignment);
      return {Symbol::Kind::Variable, Space::Shared, 0, 0, true};
    }
    const std::uint64_t address = alignUp(sharedBytes_, variable.alignment);
    sharedBytes_ = address + variable.bytes;
    return {Symbol::Kind::Variable, Space::Shared, address, 0};
  }

  // .local variables, and the .param variables through which functions are called.
  Symbol localVariable(const Variable &variable) {
    const std::uint64_t address = alignUp(localBytes_, std::max(variable.alignment, 1u));
    localBytes_ = address + variable.bytes;
    return {Symbol::Kind::Variable, Space::Local, address, 0};
  }

  void variable(const Variable &variable) {
    switch (variable.space) {
      case Space::Shared:
        declare(variable.name, sharedVariable(variable), variable.line);
        break;
      case Space::Local:
      case Space::Param:
        declare(variable.name, localVariable(variable), variable.line);
        break;
      default:
        fail(variable.line, "a variable of this space cannot stand in a function");
    }
  }

  void declareRegisters(const RegisterDeclaration &declaration) {
    const std::uint32_t bytes = typeBytes(declaration.type);
    const int width = declaration.type == "pred" ? 0 : static_cast<int>(std::max(bytes, 2u));
    const auto one = [&](const std::string &name) {
      declare(name, {Symbol::Kind::Register, Space::Generic, 0, registers_.variable(width)},
              declaration.line);
    };
    if (declaration.count == 0) one(std::string(declaration.name));
    for (std::uint32_t k = 0; k < declaration.count; k++) {
      one(std::string(declaration.name) + std::to_string(k));
    }
  }

  // ---- Code ------------------------------------------------------------------------------------

  Instruction &place(Flow flow, int line) {
    Instruction instruction;
    instruction.flow = flow;
    instruction.line = line;
    instruction.guard = static_cast<std::uint32_t>(always_);
    program_->code.push_back(instruction);
    return program_->code.back();
  }

  void body(const Function &function) {
    // Labels may be used before they stand in the text, and belong to the braces around them: jumps
    // are resolved at the end.
    for (const Statement &statement : function.body) {
      switch (statement.kind) {
        case Statement::Kind::ScopeBegin:
          openScope();
          break;
        case Statement::Kind::ScopeEnd:
          closeScope();
          break;
        case Statement::Kind::Registers:
          for (const auto &declaration : statement.registers) declareRegisters(declaration);
          break;
        case Statement::Kind::Declaration:
          for (const auto &declaration : statement.variables) variable(declaration);
          break;
        case Statement::Kind::Label:
          label(statement.name, statement.line);
          break;
        case Statement::Kind::BranchTargets:
          scopes_[scope_].branchTargets.emplace(statement.name, &statement);
          break;
        case Statement::Kind::Instruction:
          this->statement(statement);
          break;
      }
    }
  }

  void label(std::string_view name, int line) {
    const auto here = static_cast<std::int32_t>(program_->code.size());
    if (!scopes_[scope_].labels.emplace(name, here).second) {
      fail(line, "label '" + std::string(name) + "' stands twice");
    }
  }

  void statement(const Statement &statement) {
    const std::string_view name = statement.name;
    const std::size_t first = program_->code.size();
    if (name == "bra" || name == "bra.uni") {
      branch(statement);
    } else if (name == "brx.idx" || name == "brx.idx.uni") {
      branchIndexed(statement);
    } else if (name == "call" || name == "call.uni") {
      call(statement);
      return;
    } else if ((name == "ret" || name == "ret.uni") && !returns_.empty()) {
      place(Flow::Branch, statement.line);
      jumps_.push_back({first, returns_.back().first, returns_.back().second, statement.line});
    } else {
      instruction(statement);
    }
    guard(statement, program_->code[first]);
    program_->code[first].location = statement.location;
  }

  void guard(const Statement &statement, Instruction &instruction) {
    if (statement.guard.empty()) return;
    const Symbol *symbol = find(statement.guard);
    if (!symbol || symbol->kind != Symbol::Kind::Register || registers_.width(symbol->reg) != 0) {
      fail(statement.line, "'" + std::string(statement.guard) + "' is not a predicate register");
    }
    instruction.guard = static_cast<std::uint32_t>(symbol->reg);
    instruction.guardFlip = statement.guardNegated ? ALL_LANES : 0;
  }

  void branch(const Statement &statement) {
    if (statement.operands.size() != 1) fail(statement.line, "bra takes one label");
    jumps_.push_back(
        {program_->code.size(), scope_, std::string(statement.operands[0].name), statement.line});
    place(Flow::Branch, statement.line);
  }

  void branchIndexed(const Statement &statement) {
    if (statement.operands.size() != 2) fail(statement.line, "brx.idx takes an index and a list");
    Instruction &instruction = place(Flow::BranchIndexed, statement.line);
    instruction.operands = 1;
    setOperand(statement, instruction, 0, statement.operands[0], input<u32>);
    instruction.target = static_cast<std::int32_t>(indexedBranches_.size());
    indexedBranches_.push_back({scope_, std::string(statement.operands[1].name), statement.line});
  }

  std::int32_t resolve(int scope, const std::string &label, int line) const {
    for (; scope >= 0; scope = scopes_[scope].parent) {
      const auto it = scopes_[scope].labels.find(label);
      if (it != scopes_[scope].labels.end()) return it->second;
    }
    fail(line, "there is no label '" + label + "'");
  }

  // The body of the function, in place of the call, with its own registers and variables.
  void call(const Statement &statement) {
    if (!statement.guard.empty()) fail(statement.line, "a predicated call is not supported");
    std::vector<const Operand *> lists;
    const Operand *target = nullptr;
    for (const Operand &operand : statement.operands) {
      if (operand.kind == Operand::Kind::List) {
        lists.push_back(&operand);
      } else if (!target) {
        target = &operand;
      }
    }
    const Function *function = nullptr;
    for (const Function &candidate : syntax_.functions) {
      if (target && candidate.name == target->name && candidate.defined) function = &candidate;
    }
    if (!function || function->entry) {
      fail(statement.line, "call of '" + std::string(target ? target->name : "") +
                               "', which is no function that the module defines");
    }
    if (std::find(calls_.begin(), calls_.end(), function) != calls_.end()) {
      fail(statement.line, "recursive call of '" + std::string(function->name) + "'");
    }
    const bool hasResults = !function->results.empty();
    const std::size_t expected = (hasResults ? 1 : 0) + (function->parameters.empty() ? 0 : 1);
    if (lists.size() < expected) fail(statement.line, "a call without its arguments");
    std::vector<std::pair<const Variable *, Symbol>> bindings;
    const auto bind = [&](const std::vector<Variable> &formal, const Operand &actual) {
      if (formal.size() != actual.elements.size()) {
        fail(statement.line, "a call with " + std::to_string(actual.elements.size()) +
                                 " arguments of a function with " + std::to_string(formal.size()));
      }
      for (std::size_t k = 0; k < formal.size(); k++) {
        const Symbol *symbol = find(actual.elements[k].name);
        if (!symbol) {
          fail(statement.line, "unknown argument '" + std::string(actual.elements[k].name) + "'");
        }
        bindings.push_back({&formal[k], *symbol});
      }
    };
    if (hasResults) bind(function->results, *lists.front());
    if (!function->parameters.empty()) bind(function->parameters, *lists.back());

    const int caller = scope_;
    scope_ = 0;  // a function sees its own names and those of the module
    openScope();
    for (const auto &[formal, symbol] : bindings) declare(formal->name, symbol, formal->line);
    const std::string end = "(end of the call)";
    calls_.push_back(function);
    returns_.push_back({scope_, end});
    body(*function);
    label(end, statement.line);
    returns_.pop_back();
    calls_.pop_back();
    scope_ = caller;
  }

  // ---- Instructions ----------------------------------------------------------------------------

  // The table's name for what the statement says.
  std::string tableName(const Statement &statement) {
    std::string name(statement.name);
    const std::vector<Operand> &operands = statement.operands;
    if (startsWith(name, "mov.") && operands.size() == 2) {
      // "mov.b32" of a vector says only what the other side is.
      for (int side : {0, 1}) {
        if (operands[side].kind != Operand::Kind::Vector) continue;
        const std::string vector = "v" + std::to_string(operands[side].elements.size());
        const std::string whole = name.substr(4);
        return side == 0 ? "mov." + vector + "<-" + whole : "mov." + whole + "<-" + vector;
      }
    }
    // The .param variables of a call are local ones, unlike a kernel's parameters.
    const std::size_t param = name.find(".param");
    if (param != std::string::npos && (startsWith(name, "ld.") || startsWith(name, "st."))) {
      for (const Operand &operand : operands) {
        if (operand.kind != Operand::Kind::Address) continue;
        const Symbol *symbol = find(operand.elements[0].name);
        if (symbol && symbol->kind == Symbol::Kind::Variable && symbol->space == Space::Local) {
          const std::size_t end = std::min(name.find('.', param + 1), name.size());
          name.replace(param, end - param, ".local");
        }
      }
    }
    return name;
  }

  void instruction(const Statement &statement) {
    const Operation *operation = OperationTable::instance().find(tableName(statement));
    if (!operation) fail(statement.line, "unknown opcode '" + std::string(statement.name) + "'");
    place(operation->flow, statement.line);
    Instruction instruction = program_->code.back();
    instruction.handler = operation->handler;
    instruction.variant = operation->variant;
    operands(statement, *operation, instruction);
    noteAccess(statement, *operation);
    program_->code.back() = instruction;
  }

  void operands(const Statement &statement, const Operation &operation, Instruction &instruction) {
    const auto wrongCount = [&] {
      fail(statement.line, "'" + std::string(statement.name) + "' does not take " +
                               std::to_string(statement.operands.size()) + " operands");
    };
    int missing = -static_cast<int>(statement.operands.size());
    for (const Slot &slot : operation.slots) {
      if (!slot.second && slot.presence != Slot::Presence::Absent) missing++;
    }
    // Which of the optional operands are left out: the last ones.
    std::vector<bool> given(operation.slots.size(), true);
    for (std::size_t k = operation.slots.size(); k-- > 0;) {
      const Slot &slot = operation.slots[k];
      if (slot.presence == Slot::Presence::Absent) given[k] = false;
      if (slot.presence == Slot::Presence::Optional && missing > 0) {
        given[k] = false;
        missing--;
      }
    }
    if (missing != 0) wrongCount();

    std::size_t next = 0;
    int addresses = 0;
    const Operand *second = nullptr;
    for (std::size_t k = 0; k < operation.slots.size(); k++) {
      const Slot &slot = operation.slots[k];
      if (slot.second) {
        if (second) {
          append(statement, instruction, *second, slot);
        } else {
          appendRegister(instruction, slot, registers_.sink());
        }
        continue;
      }
      if (!given[k]) {
        const int reg =
            slot.result             ? registers_.sink()
            : slot.otherwiseAs >= 0 ? static_cast<int>(instruction.operand[slot.otherwiseAs])
            : slot.kind == Slot::Kind::Predicate
                ? registers_.constantMask(static_cast<Mask>(slot.otherwise))
                : registers_.constant(slot.bytes, static_cast<std::uint64_t>(slot.otherwise));
        appendRegister(instruction, slot, reg);
        continue;
      }
      const Operand *operand = &statement.operands[next++];
      second = nullptr;
      if (operand->kind == Operand::Kind::Pair) {
        if (k + 1 >= operation.slots.size() || !operation.slots[k + 1].second) wrongCount();
        second = &operand->elements[1];
        operand = &operand->elements[0];
      }
      if (slot.kind == Slot::Kind::Address) {
        address(statement, instruction, *operand, slot, addresses++);
      } else if (slot.elements > 0 && operand->kind == Operand::Kind::Vector) {
        if (operand->elements.size() != slot.elements) {
          fail(statement.line, "'" + std::string(statement.name) + "' takes a vector of " +
                                   std::to_string(slot.elements) + " elements here");
        }
        for (const Operand &element : operand->elements) {
          append(statement, instruction, element, slot);
        }
      } else if (slot.elements <= 1) {
        append(statement, instruction, *operand, slot);
      } else {
        fail(statement.line, "'" + std::string(statement.name) + "' takes a vector of " +
                                 std::to_string(slot.elements) + " elements here");
      }
    }
  }

  void appendRegister(Instruction &instruction, const Slot &slot, int reg) {
    const int k = instruction.operands++;
    instruction.operand[k] = static_cast<std::uint32_t>(reg);
    instruction.width[k] = reg == registers_.sink()
                               ? static_cast<std::uint8_t>(slot.kind == Slot::Kind::Predicate
                                                               ? 0
                                                               : std::max<int>(slot.bytes, 2))
                               : static_cast<std::uint8_t>(registers_.width(reg));
    if (slot.result) instruction.results = instruction.operands;
  }

  void append(const Statement &statement, Instruction &instruction, const Operand &operand,
              const Slot &slot) {
    const int k = instruction.operands;
    appendRegister(instruction, slot, registers_.sink());
    setOperand(statement, instruction, k, operand, slot);
  }

  void setOperand(const Statement &statement, Instruction &instruction, int k,
                  const Operand &operand, const Slot &slot) {
    if (operand.kind == Operand::Kind::Sink) {
      if (!slot.result) fail(statement.line, "'_' cannot be read");
      return;  // stays the sink
    }
    const int reg = operandRegister(statement, operand, slot);
    instruction.operand[k] = static_cast<std::uint32_t>(reg);
    instruction.width[k] = static_cast<std::uint8_t>(registers_.width(reg));
    if (operand.negated) {
      if (slot.kind != Slot::Kind::Predicate || slot.result) {
        fail(statement.line, "'!' stands before a predicate that is read");
      }
      instruction.negated |= static_cast<std::uint16_t>(1 << k);
    }
  }

  int operandRegister(const Statement &statement, const Operand &operand, const Slot &slot) {
    const auto wrong = [&](const std::string &why) {
      fail(statement.line, "operand '" + std::string(operand.name) + "' of '" +
                               std::string(statement.name) + "' " + why);
    };
    switch (operand.kind) {
      case Operand::Kind::Name: {
        const Symbol *symbol = find(operand.name);
        if (symbol && symbol->kind == Symbol::Kind::Register) {
          const int width = registers_.width(symbol->reg);
          if (slot.kind == Slot::Kind::Predicate ? width != 0 : width == 0) {
            wrong(width == 0 ? "is a predicate" : "is not a predicate");
          }
          const bool fits = width == slot.bytes || (slot.widens && width > slot.bytes);
          if (!fits) {
            wrong("has " + std::to_string(8 * width) + " bits instead of " +
                  std::to_string(8 * slot.bytes));
          }
          return symbol->reg;
        }
        if (slot.result) wrong(symbol ? "is no register" : "is not declared");
        if (operand.name == "WARP_SZ") return registers_.constant(slot.bytes, LANES);
        const auto special = SPECIALS.find(operand.name);
        if (special != SPECIALS.end()) {
          if (slot.bytes != 4) wrong("has 32 bits instead of " + std::to_string(8 * slot.bytes));
          return registers_.special(special->second);
        }
        if (!symbol) wrong("is not declared");
        if (slot.kind != Slot::Kind::Integer || slot.bytes < 4) wrong("is an address");
        return addressConstant(*symbol, slot.bytes, symbol->address);
      }
      case Operand::Kind::Integer:
        if (slot.result) wrong("is a constant");
        if (slot.kind == Slot::Kind::Predicate) {
          return registers_.constantMask(operand.bits != 0 ? ALL_LANES : 0);
        }
        if (slot.kind != Slot::Kind::Integer) wrong("must be written as a floating-point constant");
        return registers_.constant(slot.bytes, operand.bits);
      case Operand::Kind::Single:
        if (slot.result || slot.bytes != 4) wrong("is a constant of 32 bits");
        return registers_.constant(slot.bytes, operand.bits);
      case Operand::Kind::Double: {
        if (slot.result || slot.kind == Slot::Kind::Predicate) wrong("is a constant");
        if (slot.kind != Slot::Kind::Single) {
          if (slot.bytes != 8) wrong("is a constant of 64 bits");
          return registers_.constant(slot.bytes, operand.bits);
        }
        const auto single = static_cast<f32>(bitsAs<f64>(operand.bits));
        return registers_.constant(slot.bytes, bitsAs<u32>(single));
      }
      default:
        fail(statement.line, "'" + std::string(statement.name) + "' takes no such operand");
    }
  }

  // A constant that is an address; of dynamic shared memory it is filled in at the end.
  int addressConstant(const Symbol &symbol, int bytes, std::uint64_t address) {
    if (!symbol.dynamic) return registers_.constant(bytes, address);
    return registers_.placeholder(bytes, address);
  }

  void address(const Statement &statement, Instruction &instruction, const Operand &operand,
               const Slot &slot, int number) {
    if (operand.kind != Operand::Kind::Address) {
      fail(statement.line, "'" + std::string(statement.name) + "' takes an address in brackets");
    }
    const Operand &base = operand.elements[0];
    const int k = instruction.operands;
    appendRegister(instruction, slot, registers_.sink());
    int reg;
    if (base.kind == Operand::Kind::Integer) {
      reg = registers_.constant(8, base.bits);
    } else {
      const Symbol *symbol = base.kind == Operand::Kind::Name ? find(base.name) : nullptr;
      if (!symbol) fail(statement.line, "'" + std::string(base.name) + "' is not declared");
      if (symbol->kind == Symbol::Kind::Register) {
        reg = symbol->reg;
        if (registers_.width(reg) < 4) {
          fail(statement.line, "'" + std::string(base.name) + "' is too narrow for an address");
        }
      } else {
        const bool same = slot.space == symbol->space ||
                          (slot.space == Space::Const && symbol->space == Space::Global);
        if (!same && slot.space != Space::Generic) {
          fail(statement.line, "'" + std::string(base.name) + "' is in another state space than '" +
                                   std::string(statement.name) + "' accesses");
        }
        const std::uint64_t from = slot.space == Space::Generic ? window(symbol->space) : 0;
        reg = addressConstant(*symbol, 8, symbol->address + from);
      }
    }
    instruction.operand[k] = static_cast<std::uint32_t>(reg);
    instruction.width[k] = static_cast<std::uint8_t>(registers_.width(reg));
    instruction.displacements[number] = operand.displacement;
  }

  // The smallest access to shared memory decides how finely it is watched.
  void noteAccess(const Statement &statement, const Operation &operation) {
    if (operation.accessBytes == 0) return;
    std::uint32_t bytes = operation.accessBytes;
    if (startsWith(statement.name, "cp.async.c") && statement.operands.size() >= 3) {
      const Operand &size = statement.operands[2];
      bytes = static_cast<std::uint32_t>(size.bits);
      const bool whole = startsWith(statement.name, "cp.async.cg");
      if (size.kind != Operand::Kind::Integer ||
          !(bytes == 16 || (!whole && (bytes == 4 || bytes == 8)))) {
        fail(statement.line, "'" + std::string(statement.name) + "' copies " +
                                 (whole ? "16" : "4, 8 or 16") + " bytes");
      }
    }
    for (const Slot &slot : operation.slots) {
      if (slot.kind == Slot::Kind::Address &&
          (slot.space == Space::Shared || slot.space == Space::Generic)) {
        program_->sharedGranule = std::min(program_->sharedGranule, bytes);
      }
    }
  }

  // ---- The end ---------------------------------------------------------------------------------

  void finish(Kernel &kernel) {
    for (const Jump &jump : jumps_) {
      program_->code[jump.instruction].target = resolve(jump.scope, jump.label, jump.line);
    }
    for (const auto &[scope, list, line] : indexedBranches_) {
      const Statement *targets = nullptr;
      for (int s = scope; s >= 0 && !targets; s = scopes_[s].parent) {
        const auto it = scopes_[s].branchTargets.find(list);
        if (it != scopes_[s].branchTargets.end()) targets = it->second;
      }
      if (!targets) fail(line, "there is no list of branch targets '" + list + "'");
      std::vector<std::int32_t> places;
      for (const Operand &operand : targets->operands) {
        places.push_back(resolve(scope, std::string(operand.name), line));
      }
      program_->branchTargets.push_back(places);
    }
    program_->dynamicSharedOffset =
        static_cast<std::uint32_t>(alignUp(sharedBytes_, dynamicAlignment_));
    registers_.fillPlaceholders(program_->dynamicSharedOffset);
    program_->localBytes = static_cast<std::uint32_t>(alignUp(localBytes_, 16));
    for (const auto &[number, name] : syntax_.files) {
      if (number < 0) continue;
      if (program_->files.size() <= static_cast<std::size_t>(number)) {
        program_->files.resize(static_cast<std::size_t>(number) + 1);
      }
      program_->files[static_cast<std::size_t>(number)] = name.substr(name.find_last_of('/') + 1);
    }
    kernel.registers = registers_.layOut(*program_, always_);
    kernel.staticSharedBytes = program_->dynamicSharedOffset;
    kernel.localBytes = program_->localBytes;
    kernel.program = program_;
  }

  struct IndexedBranch {
    int scope;
    std::string list;
    int line;
  };

  const Function &entry_;
  const Syntax &syntax_;
  const std::map<std::string, Allocation> &moduleVariables_;
  std::shared_ptr<Program> program_ = std::make_shared<Program>();
  RegisterFile registers_;
  int always_ = 0;  // the constant predicate of instructions without @%p
  std::vector<Scope> scopes_;
  int scope_ = -1;
  std::vector<Jump> jumps_;
  std::vector<IndexedBranch> indexedBranches_;
  std::vector<const Function *> calls_;
  std::vector<std::pair<int, std::string>> returns_;  // where ret goes in an inlined function
  std::uint64_t sharedBytes_ = 0;
  std::uint32_t dynamicAlignment_ = 1;
  std::uint64_t localBytes_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> decode(const Function &entry, const Syntax &syntax,
                               const std::map<std::string, Allocation> &variables) {
  return Decoder(entry, syntax, variables).decode();
}

}  // namespace ptx
