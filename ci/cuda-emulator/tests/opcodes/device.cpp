#include "device.h"

namespace test {

ptx::Memory &memory() {
  static ptx::Memory memory(std::uint64_t{256} << 20);
  return memory;
}

std::set<std::string> &executedOpcodes() {
  static std::set<std::string> opcodes;
  return opcodes;
}

namespace {

// The table tells the forms of mov with a vector apart by what stands on both sides.
std::string tableName(const ptx::Statement &statement) {
  const std::string name(statement.name);
  if (name.rfind("mov.", 0) != 0) return name;
  const std::string whole = name.substr(4);
  const auto vector = [&](std::size_t side) {
    const ptx::Operand &operand = statement.operands.at(side);
    const bool isVector = operand.kind == ptx::Operand::Kind::Vector;
    return isVector ? "v" + std::to_string(operand.elements.size()) : "";
  };
  if (!vector(0).empty()) return "mov." + vector(0) + "<-" + whole;
  if (!vector(1).empty()) return "mov." + whole + "<-" + vector(1);
  return name;
}

}  // namespace

Code::Code(const std::string &body)
    : text_(".version 7.0\n.target sm_80\n.address_size 64\n" + body),
      module_(ptx::Module::load(text_, memory())) {}

void Code::noteExecuted() const {
  const ptx::Syntax syntax = ptx::parse(text_);
  for (const ptx::Function &function : syntax.functions) {
    for (const ptx::Statement &statement : function.body) {
      if (statement.kind == ptx::Statement::Kind::Instruction) {
        executedOpcodes().insert(tableName(statement));
      }
    }
  }
}

std::string snippetText(const std::string &instructions, const std::vector<Carrier> &arguments,
                        Carrier result) {
  std::string text = R"(
.visible .entry snippet(.param .u64 in, .param .u64 out, .param .u32 count)
{
  .reg .pred %outside, %p<8>;
  .reg .b16 %h<8>;
  .reg .b32 %index, %count, %part, %r<8>;
  .reg .b64 %in, %out, %offset, %rd<8>;
)";
  const auto declare = [&](const Carrier &carrier, const std::string &name) {
    text += std::string("  .reg .") + carrier.registers + " " + name + ";\n";
  };
  for (std::size_t k = 0; k < arguments.size(); ++k)
    declare(arguments[k], "%a" + std::to_string(k));
  declare(result, "%d");
  text += R"(
  ld.param.u64 %in, [in];
  ld.param.u64 %out, [out];
  ld.param.u32 %count, [count];
  mov.u32 %index, %ctaid.x;
  mov.u32 %part, %ntid.x;
  mul.lo.u32 %index, %index, %part;
  mov.u32 %part, %tid.x;
  add.u32 %index, %index, %part;
  setp.ge.u32 %outside, %index, %count;
  @%outside bra END;
)";
  text += "  mul.wide.u32 %offset, %index, " + std::to_string(8 * arguments.size()) + ";\n";
  text += "  add.s64 %in, %in, %offset;\n";
  text += "  mul.wide.u32 %offset, %index, 8;\n  add.s64 %out, %out, %offset;\n";
  for (std::size_t k = 0; k < arguments.size(); ++k) {
    const std::string from = "[%in+" + std::to_string(8 * k) + "];\n";
    const std::string name = "%a" + std::to_string(k);
    if (arguments[k].registers == std::string("pred")) {
      text += "  ld.global.u32 %part, " + from + "  setp.ne.u32 " + name + ", %part, 0;\n";
    } else {
      text += std::string("  ld.global.") + arguments[k].load + " " + name + ", " + from;
    }
  }
  text += "  " + instructions + "\n";
  if (result.registers == std::string("pred")) {
    text += "  selp.u32 %part, 1, 0, %d;\n  st.global.u32 [%out], %part;\n";
  } else {
    text += std::string("  st.global.") + result.load + " [%out], %d;\n";
  }
  return text + "END:\n  ret;\n}\n";
}

std::vector<std::uint64_t> runSnippet(const std::string &text,
                                      const std::vector<std::uint64_t> &arguments,
                                      std::size_t count) {
  const Code code(text);
  const Buffer<std::uint64_t> in(arguments.empty() ? std::vector<std::uint64_t>(1) : arguments);
  const std::vector<std::uint64_t> zeros(count);
  const Buffer<std::uint64_t> out(zeros);
  constexpr std::uint32_t THREADS = 128;
  const auto blocks = static_cast<std::uint32_t>((count + THREADS - 1) / THREADS);
  ptx::Options options;
  options.workers = 1;
  code.run("snippet", {blocks, 1, 1}, {THREADS, 1, 1}, 0, options, in.address(), out.address(),
           static_cast<std::uint32_t>(count));
  return out.read();
}

}  // namespace test
