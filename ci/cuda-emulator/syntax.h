// A PTX module as the parser leaves it: the text's own structure, with no name looked up yet. All
// string_views point into the text.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ptx {

// State spaces of variables and of addresses.
enum class Space { Generic, Global, Const, Shared, Local, Param };

// Where a piece of code comes from, by the last .loc directive before it; file 0: unknown.
struct SourceLocation {
  int file = 0;
  int line = 0;
};

struct Operand {
  enum class Kind {
    Name,     // a register, a variable, a label, a function: name
    Integer,  // bits
    Single,   // 0f3F800000: bits of a float
    Double,   // 0d3FF0000000000000 or 1.0: bits of a double
    Address,  // [elements[0] + displacement]
    Vector,   // {elements...}
    Pair,     // elements[0] | elements[1]
    List,     // (elements...), of a call
    Sink,     // _
  };
  Kind kind;
  std::string_view name;
  std::uint64_t bits = 0;
  std::int64_t displacement = 0;
  bool negated = false;  // !%p
  std::vector<Operand> elements;
};

struct Variable {
  Space space;
  std::string_view name;
  int line = 0;
  std::uint32_t alignment = 1;
  std::uint32_t elementBytes = 0;
  std::uint64_t bytes = 0;  // 0 for an array of unknown size ("name[]")
  bool external = false;
  std::vector<Operand> initialiser;  // one per element, as far as given
};

// Registers name0 ... name(count-1), or one register called name where count is 0.
struct RegisterDeclaration {
  std::string_view name;
  std::string_view type;  // "b32", "pred", ...
  std::uint32_t count = 0;
  int line = 0;
};

struct Statement {
  enum class Kind {
    Instruction,
    Label,          // name
    Registers,      // registers
    Declaration,    // variable
    BranchTargets,  // name: the list's label, operands
    ScopeBegin,
    ScopeEnd,
  };
  Kind kind;
  int line = 0;
  SourceLocation location;
  std::string_view name;  // the whole opcode of an instruction: "add.rn.f32"
  std::string_view guard;
  bool guardNegated = false;
  std::vector<Operand> operands;
  std::vector<RegisterDeclaration> registers;
  std::vector<Variable> variables;
};

struct Function {
  std::string_view name;
  int line = 0;
  bool entry = false;
  std::vector<Variable> results;     // .func (results) name (parameters)
  std::vector<Variable> parameters;  // .param or, for a .func, .reg
  std::uint32_t maxThreads = 0;
  std::vector<Statement> body;
  bool defined = false;
};

struct Syntax {
  int version = 0;
  int target = 0;
  std::vector<Variable> variables;
  std::vector<Function> functions;
  std::map<int, std::string> files;
};

// Throws PtxError.
Syntax parse(std::string_view text);

// Bytes of one element of a fundamental type ("b32", "f16x2", "u8"), 0 if there is no such type.
std::uint32_t typeBytes(std::string_view type);

}  // namespace ptx
