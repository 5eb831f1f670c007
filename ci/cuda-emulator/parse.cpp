// The PTX grammar, as far as compilers and people write it: one pass over the text by recursive
// descent, no tokens kept.

#include <cctype>
#include <cstdlib>
#include <cstring>

#include "syntax.h"
#include "types.h"

namespace ptx {

std::uint32_t typeBytes(std::string_view type) {
  if (type == "pred") return 1;
  if (type == "f16" || type == "bf16") return 2;
  if (type == "f16x2" || type == "bf16x2" || type == "tf32") return 4;
  if (type.size() < 2 || !std::strchr("busf", type[0])) return 0;
  const std::string_view bits = type.substr(1);
  if (bits == "8" && type[0] != 'f') return 1;
  if (bits == "16" && type[0] != 'f') return 2;
  if (bits == "32") return 4;
  if (bits == "64") return 8;
  return 0;
}

namespace {

bool isWordStart(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' ||
         c == '.';
}

bool isWordPart(char c) { return isWordStart(c) || std::isdigit(static_cast<unsigned char>(c)); }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Syntax parse() {
    while (!atEnd()) parseTopLevel();
    return std::move(syntax_);
  }

 private:
  // ---- Characters and words --------------------------------------------------------------------

  [[noreturn]] void fail(const std::string &message) const { throw PtxError(line_, message); }

  void skipBlanks() {
    while (position_ < text_.size()) {
      const char c = text_[position_];
      if (c == '\n') {
        line_++;
        position_++;
      } else if (std::isspace(static_cast<unsigned char>(c))) {
        position_++;
      } else if (text_.compare(position_, 2, "//") == 0) {
        position_ = std::min(text_.find('\n', position_), text_.size());
      } else if (text_.compare(position_, 2, "/*") == 0) {
        const std::size_t end = text_.find("*/", position_ + 2);
        if (end == std::string_view::npos) fail("a comment that does not end");
        for (; position_ < end + 2; position_++) line_ += text_[position_] == '\n';
      } else {
        return;
      }
    }
  }

  bool atEnd() {
    skipBlanks();
    return position_ == text_.size();
  }

  char peek() {
    skipBlanks();
    return position_ < text_.size() ? text_[position_] : '\0';
  }

  bool accept(char c) {
    if (peek() != c) return false;
    position_++;
    return true;
  }

  void expect(char c) {
    if (!accept(c)) fail(std::string("expected '") + c + "' before '" + upcoming() + "'");
  }

  // The rest of the line, for messages.
  std::string upcoming() {
    skipBlanks();
    const std::string_view rest = text_.substr(position_, 40);
    return std::string(rest.substr(0, rest.find_first_of("\r\n")));
  }

  // A directive, name or opcode; '::' belongs to a word (L2::128B), a single ':' ends it. A directive
  // ends before the next (.reg.b32).
  std::string_view peekWord() {
    skipBlanks();
    std::size_t end = position_;
    if (end >= text_.size() || !isWordStart(text_[end])) return {};
    const bool directive = text_[end] == '.';
    while (end < text_.size()) {
      if (directive && end > position_ && text_[end] == '.') break;
      if (isWordPart(text_[end])) {
        end++;
      } else if (text_.compare(end, 2, "::") == 0 && end + 2 < text_.size() &&
                 isWordPart(text_[end + 2])) {
        end += 2;
      } else {
        break;
      }
    }
    return text_.substr(position_, end - position_);
  }

  std::string_view word(const char *what) {
    const std::string_view result = peekWord();
    if (result.empty()) fail(std::string("expected ") + what + " before '" + upcoming() + "'");
    position_ += result.size();
    return result;
  }

  bool acceptWord(std::string_view expected) {
    if (peekWord() != expected) return false;
    position_ += expected.size();
    return true;
  }

  // ---- Numbers ---------------------------------------------------------------------------------

  // The letters and digits of a number, with the sign of an exponent (1.5e-3).
  std::string_view digits() {
    skipBlanks();
    std::size_t end = position_;
    bool fraction = false;
    for (; end < text_.size(); end++) {
      const char c = text_[end];
      const bool sign = fraction && (c == '-' || c == '+') && std::tolower(text_[end - 1]) == 'e';
      if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && !sign) break;
      fraction |= c == '.';
    }
    const std::string_view result = text_.substr(position_, end - position_);
    position_ = end;
    return result;
  }

  std::uint64_t integerOf(std::string_view literal) {
    std::string s(literal);
    while (!s.empty() && (s.back() == 'U' || s.back() == 'u')) s.pop_back();
    int base = 10;
    std::size_t skip = 0;
    if (s.size() > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
      base = 16;
      skip = 2;
    } else if (s.size() > 2 && s[0] == '0' && (s[1] == 'b' || s[1] == 'B')) {
      base = 2;
      skip = 2;
    } else if (s.size() > 1 && s[0] == '0') {
      base = 8;
      skip = 1;
    }
    char *end = nullptr;
    const std::uint64_t value = std::strtoull(s.c_str() + skip, &end, base);
    if (s.empty() || *end != '\0') fail("'" + std::string(literal) + "' is not a number");
    return value;
  }

  Operand number() {
    const bool negative = accept('-');
    if (!negative) accept('+');
    const std::string_view literal = digits();
    Operand result{Operand::Kind::Integer, literal};
    const auto hexadecimal = [&](std::size_t count) {
      char *end = nullptr;
      const std::string s(literal.substr(2));
      result.bits = std::strtoull(s.c_str(), &end, 16);
      if (s.size() != count || *end != '\0') fail("'" + std::string(literal) + "' is no number");
    };
    const char kind = literal.size() > 2 && literal[0] == '0' ? literal[1] : '\0';
    if (kind == 'f' || kind == 'F') {
      result.kind = Operand::Kind::Single;
      hexadecimal(8);
      if (negative) result.bits ^= 0x8000'0000u;
    } else if (kind == 'd' || kind == 'D') {
      result.kind = Operand::Kind::Double;
      hexadecimal(16);
      if (negative) result.bits ^= 1ull << 63;
    } else if (literal.find('.') != std::string_view::npos) {
      result.kind = Operand::Kind::Double;
      char *end = nullptr;
      const std::string s(literal);
      const double value = std::strtod(s.c_str(), &end) * (negative ? -1 : 1);
      if (*end != '\0') fail("'" + s + "' is not a number");
      std::memcpy(&result.bits, &value, sizeof value);
    } else {
      result.bits = integerOf(literal);
      if (negative) result.bits = -result.bits;
    }
    return result;
  }

  std::uint64_t integer(const char *what) {
    const Operand value = number();
    if (value.kind != Operand::Kind::Integer) fail(std::string(what) + " must be an integer");
    return value.bits;
  }

  // ---- Operands --------------------------------------------------------------------------------

  std::vector<Operand> operandList(char close) {
    std::vector<Operand> result;
    if (accept(close)) return result;
    do {
      result.push_back(operand());
    } while (accept(','));
    expect(close);
    return result;
  }

  Operand address() {
    Operand result{Operand::Kind::Address, {}};
    result.elements.push_back(simpleOperand());
    while (peek() == '+' || peek() == '-') {
      const bool minus = accept('-');
      if (!minus) accept('+');
      const std::int64_t offset = static_cast<std::int64_t>(integer("the offset of an address"));
      result.displacement += minus ? -offset : offset;
    }
    expect(']');
    return result;
  }

  Operand simpleOperand() {
    const char c = peek();
    if (std::isdigit(static_cast<unsigned char>(c)) || c == '-' || c == '+') return number();
    Operand result{Operand::Kind::Name, {}};
    result.negated = accept('!');
    result.name = word("an operand");
    if (result.name == "_") result.kind = Operand::Kind::Sink;
    return result;
  }

  Operand operand() {
    if (accept('{')) {
      Operand result{Operand::Kind::Vector, {}};
      result.elements = operandList('}');
      return result;
    }
    if (accept('(')) {
      Operand result{Operand::Kind::List, {}};
      result.elements = operandList(')');
      return result;
    }
    if (accept('[')) return address();
    Operand first = simpleOperand();
    if (!accept('|')) return first;
    Operand pair{Operand::Kind::Pair, {}};
    pair.elements.push_back(std::move(first));
    pair.elements.push_back(simpleOperand());
    return pair;
  }

  // ---- Declarations ----------------------------------------------------------------------------

  // A value of an initialiser: a number, or a variable's address: name, name+4, generic(name)+4.
  Operand initialValue() {
    if (!isWordStart(peek())) return number();
    Operand result{Operand::Kind::Address, {}};
    const bool generic = acceptWord("generic");
    if (generic) expect('(');
    result.elements.push_back(simpleOperand());
    if (generic) expect(')');
    while (peek() == '+' || peek() == '-') {
      const bool minus = accept('-');
      if (!minus) accept('+');
      const std::int64_t offset = static_cast<std::int64_t>(integer("an offset"));
      result.displacement += minus ? -offset : offset;
    }
    return result;
  }

  void initialiser(std::vector<Operand> &values) {
    if (!accept('{')) {
      values.push_back(initialValue());
      return;
    }
    if (accept('}')) return;
    do {
      initialiser(values);
    } while (accept(','));
    expect('}');
  }

  // What follows the state space: qualifiers, type, name, extent, initialiser.
  Variable variable(Space space, bool external) {
    Variable result{space, {}};
    result.external = external;
    std::uint32_t vector = 1;
    std::uint32_t alignment = 0;
    while (peek() == '.') {
      const std::string_view directive = word("a type");
      if (directive == ".align") {
        alignment = static_cast<std::uint32_t>(integer("an alignment"));
      } else if (directive == ".v2") {
        vector = 2;
      } else if (directive == ".v4") {
        vector = 4;
      } else if (directive == ".ptr") {
        // A hint about what a parameter points to: ".ptr .global .align 16".
      } else if (directive == ".global" || directive == ".const" || directive == ".shared" ||
                 directive == ".local" || directive == ".param") {
        // The space that .ptr names.
      } else if (const std::uint32_t bytes = typeBytes(directive.substr(1))) {
        result.elementBytes = bytes;
      } else {
        fail("unknown directive '" + std::string(directive) + "' in a declaration");
      }
    }
    if (result.elementBytes == 0) fail("a declaration without a type");
    result.line = line_;
    result.name = word("a name");
    std::uint64_t count = 1;
    while (accept('[')) {
      count *= peek() == ']' ? 0 : integer("the extent of an array");
      expect(']');
    }
    if (accept('=')) {
      initialiser(result.initialiser);
      if (count == 0) count = result.initialiser.size();
    }
    result.alignment = alignment ? alignment : result.elementBytes * vector;
    result.bytes = std::uint64_t{result.elementBytes} * vector * count;
    return result;
  }

  static bool spaceOf(std::string_view directive, Space &space) {
    if (directive == ".global")
      space = Space::Global;
    else if (directive == ".const")
      space = Space::Const;
    else if (directive == ".shared")
      space = Space::Shared;
    else if (directive == ".local")
      space = Space::Local;
    else if (directive == ".param")
      space = Space::Param;
    else
      return false;
    return true;
  }

  void variables(std::string_view directive, bool external, std::vector<Variable> &into) {
    Space space{};
    if (!spaceOf(directive, space)) fail("unknown directive '" + std::string(directive) + "'");
    into.push_back(variable(space, external));
    expect(';');
  }

  std::vector<RegisterDeclaration> registers() {
    const std::string_view type = word("a type").substr(1);
    if (typeBytes(type) == 0) fail("unknown register type '." + std::string(type) + "'");
    std::vector<RegisterDeclaration> result;
    do {
      RegisterDeclaration declaration{word("the name of a register"), type, 0, line_};
      if (accept('<')) {
        declaration.count = static_cast<std::uint32_t>(integer("the number of registers"));
        expect('>');
      }
      result.push_back(declaration);
    } while (accept(','));
    expect(';');
    return result;
  }

  std::vector<Variable> parameterList() {
    std::vector<Variable> result;
    if (!accept('(')) return result;
    if (accept(')')) return result;
    do {
      const std::string_view directive = word("a parameter");
      if (directive != ".param" && directive != ".reg") fail("a parameter is .param or .reg");
      result.push_back(variable(directive == ".reg" ? Space::Generic : Space::Param, false));
    } while (accept(','));
    expect(')');
    return result;
  }

  // ---- Functions -------------------------------------------------------------------------------

  void function(bool entry) {
    Function result;
    result.entry = entry;
    result.line = line_;
    if (!entry) result.results = parameterList();
    result.name = word("the name of a function");
    result.parameters = parameterList();
    while (peek() == '.') {
      const std::string_view directive = word("a directive");
      if (directive == ".maxntid" || directive == ".reqntid") {
        std::uint64_t threads = 1;
        do {
          threads *= integer("a number of threads");
        } while (accept(','));
        result.maxThreads = static_cast<std::uint32_t>(threads);
      } else if (directive == ".minnctapersm" || directive == ".maxnreg" ||
                 directive == ".maxnctapersm") {
        integer("a performance hint");
      } else if (directive == ".noreturn") {
        // Says nothing that matters here.
      } else if (directive == ".pragma") {
        quoted();
        accept(';');
      } else {
        fail("unknown directive '" + std::string(directive) + "' of function '" +
             std::string(result.name) + "'");
      }
    }
    if (!accept(';')) {
      expect('{');
      result.defined = true;
      body(result.body);
    }
    syntax_.functions.push_back(std::move(result));
  }

  void body(std::vector<Statement> &statements) {
    location_ = {};
    for (int depth = 1; depth > 0;) {
      if (atEnd()) fail("the text ends inside a function");
      Statement statement{Statement::Kind::Instruction, line_, location_};
      if (accept('{')) {
        depth++;
        statement.kind = Statement::Kind::ScopeBegin;
      } else if (accept('}')) {
        if (--depth == 0) return;
        statement.kind = Statement::Kind::ScopeEnd;
      } else if (accept(';')) {
        continue;
      } else if (peek() == '.') {
        if (!directive(statement)) continue;
      } else {
        instruction(statement);
      }
      statements.push_back(std::move(statement));
    }
  }

  // A directive inside a function; false if it leaves no statement.
  bool directive(Statement &statement) {
    const std::string_view name = word("a directive");
    if (name == ".loc") {
      location_.file = static_cast<int>(integer("a file number"));
      location_.line = static_cast<int>(integer("a line number"));
      integer("a column");
      // ", function_name label, inlined_at file line column": the line that the text stands on is
      // named, not the one that it was inlined at.
      while (accept(',')) {
        if (acceptWord("function_name")) {
          word("a label");
          if (accept('+')) integer("an offset");
        } else if (acceptWord("inlined_at")) {
          for (int k = 0; k < 3; k++) integer("a place in a file");
        } else {
          fail("unknown attribute of .loc");
        }
      }
      return false;
    }
    if (name == ".pragma") {
      quoted();
      expect(';');
      return false;
    }
    if (name == ".reg") {
      statement.kind = Statement::Kind::Registers;
      statement.registers = registers();
      return true;
    }
    statement.kind = Statement::Kind::Declaration;
    variables(name, false, statement.variables);
    return true;
  }

  void instruction(Statement &statement) {
    if (accept('@')) {
      statement.guardNegated = accept('!');
      statement.guard = word("a predicate");
    }
    statement.line = line_;
    statement.name = word("an instruction");
    if (statement.guard.empty() && accept(':')) {
      statement.kind = Statement::Kind::Label;
      if (acceptWord(".branchtargets")) {
        statement.kind = Statement::Kind::BranchTargets;
        statement.operands = operandList(';');
      }
      return;
    }
    if (!accept(';')) statement.operands = operandList(';');
  }

  // ---- The module ------------------------------------------------------------------------------

  std::string quoted() {
    expect('"');
    const std::size_t end = text_.find('"', position_);
    if (end == std::string_view::npos) fail("a string that does not end");
    const std::string result(text_.substr(position_, end - position_));
    position_ = end + 1;
    return result;
  }

  void parseTopLevel() {
    const std::string_view name = word("a directive");
    if (name == ".version") {
      const std::string number(digits());
      syntax_.version = static_cast<int>(std::strtod(number.c_str(), nullptr) * 10 + 0.5);
    } else if (name == ".target") {
      const std::string target(word("a target"));
      if (target.compare(0, 3, "sm_") != 0) fail("unknown target '" + target + "'");
      syntax_.target = std::atoi(target.c_str() + 3);
      while (accept(',')) word("a target");
    } else if (name == ".address_size") {
      if (integer("the size of an address") != 64) fail("only .address_size 64 is supported");
    } else if (name == ".file") {
      const int number = static_cast<int>(integer("a file number"));
      syntax_.files[number] = quoted();
      while (accept(',')) integer("a time or a size");
    } else if (name == ".section") {
      // Debug information, which says nothing that .loc has not said.
      word("a section");
      expect('{');
      const std::size_t end = text_.find('}', position_);
      if (end == std::string_view::npos) fail("a section that does not end");
      for (; position_ <= end; position_++) line_ += text_[position_] == '\n';
    } else if (name == ".visible" || name == ".weak" || name == ".common") {
      // Linkage, which has no meaning for a module that is loaded alone.
    } else if (name == ".extern") {
      external_ = true;
      return;
    } else if (name == ".entry" || name == ".func") {
      function(name == ".entry");
      external_ = false;
    } else if (name == ".pragma") {
      quoted();
      expect(';');
    } else {
      variables(name, external_, syntax_.variables);
      external_ = false;
    }
  }

  std::string_view text_;
  std::size_t position_ = 0;
  int line_ = 1;
  SourceLocation location_;
  bool external_ = false;
  Syntax syntax_;
};

}  // namespace

Syntax parse(std::string_view text) {
  // The driver takes the text up to its terminating zero.
  return Parser(text.substr(0, text.find('\0'))).parse();
}

}  // namespace ptx
