#include "liveness.h"

#include <algorithm>
#include <cstdint>

namespace ptx {

namespace {

// A set of registers.
class RegisterSet {
 public:
  explicit RegisterSet(int registers) : words_((static_cast<std::size_t>(registers) + 63) / 64) {}

  bool contains(int reg) const { return words_[word(reg)] >> (reg & 63) & 1; }
  void insert(int reg) { words_[word(reg)] |= std::uint64_t{1} << (reg & 63); }

  void insert(const RegisterSet &others) {
    for (std::size_t k = 0; k < words_.size(); k++) words_[k] |= others.words_[k];
  }
  // Becomes used | (out & ~set); true if that is more than it was.
  bool becomes(const RegisterSet &used, const RegisterSet &out, const RegisterSet &set) {
    bool grew = false;
    for (std::size_t k = 0; k < words_.size(); k++) {
      const std::uint64_t value = used.words_[k] | (out.words_[k] & ~set.words_[k]);
      grew |= value != words_[k];
      words_[k] = value;
    }
    return grew;
  }
  template <class Act>
  void forEach(Act act) const {
    for (std::size_t k = 0; k < words_.size(); k++) {
      for (std::uint64_t rest = words_[k]; rest; rest &= rest - 1) {
        act(static_cast<int>(64 * k) + __builtin_ctzll(rest));
      }
    }
  }

 private:
  static std::size_t word(int reg) { return static_cast<std::size_t>(reg) / 64; }

  std::vector<std::uint64_t> words_;
};

// Instructions without a branch into their middle or out of it.
struct Stretch {
  int begin;
  int end;
  std::vector<int> successors;  // numbers of stretches
  RegisterSet used;             // read before they are set here
  RegisterSet set;              // set in any case
  RegisterSet in;
  RegisterSet out;
};

class Analysis {
 public:
  Analysis(const Program &program, int registers, int always)
      : program_(program), registers_(registers), always_(always) {}

  std::vector<LiveRange> run() {
    split();
    // Backwards until nothing grows: what a stretch needs, its predecessors must leave alone.
    for (bool grew = true; grew;) {
      grew = false;
      for (auto it = stretches_.rbegin(); it != stretches_.rend(); ++it) {
        for (int next : it->successors) it->out.insert(stretches_[next].in);
        grew |= it->in.becomes(it->used, it->out, it->set);
      }
    }
    std::vector<LiveRange> ranges(static_cast<std::size_t>(registers_),
                                  {static_cast<int>(program_.code.size()), -1});
    const auto extend = [&](int reg, int at) {
      ranges[reg].first = std::min(ranges[reg].first, at);
      ranges[reg].last = std::max(ranges[reg].last, at);
    };
    for (const Stretch &stretch : stretches_) {
      stretch.in.forEach([&](int reg) { extend(reg, stretch.begin); });
      stretch.out.forEach([&](int reg) { extend(reg, stretch.end - 1); });
      for (int at = stretch.begin; at < stretch.end; at++) {
        const Instruction &instruction = program_.code[at];
        extend(static_cast<int>(instruction.guard), at);
        for (int k = 0; k < instruction.operands; k++) {
          extend(static_cast<int>(instruction.operand[k]), at);
        }
      }
    }
    return ranges;
  }

 private:
  bool guarded(const Instruction &instruction) const {
    return static_cast<int>(instruction.guard) != always_;
  }

  std::vector<int> targets(const Instruction &instruction) const {
    if (instruction.flow == Flow::Branch) return {instruction.target};
    if (instruction.flow == Flow::BranchIndexed) return program_.branchTargets[instruction.target];
    return {};
  }

  void split() {
    const std::vector<Instruction> &code = program_.code;
    const int size = static_cast<int>(code.size());
    std::vector<char> begins(code.size() + 1, 0);
    begins[0] = 1;
    for (int at = 0; at < size; at++) {
      const Flow flow = code[at].flow;
      if (flow != Flow::Branch && flow != Flow::BranchIndexed && flow != Flow::Exit) continue;
      begins[at + 1] = 1;
      for (int target : targets(code[at])) begins[target] = 1;
    }
    std::vector<int> number(code.size() + 1, -1);
    for (int at = 0; at < size; at++) {
      if (begins[at]) {
        stretches_.push_back({at,
                              at,
                              {},
                              RegisterSet(registers_),
                              RegisterSet(registers_),
                              RegisterSet(registers_),
                              RegisterSet(registers_)});
      }
      number[at] = static_cast<int>(stretches_.size()) - 1;
      stretches_.back().end = at + 1;
      note(code[at], stretches_.back());
    }
    for (Stretch &stretch : stretches_) {
      const Instruction &last = code[stretch.end - 1];
      for (int target : targets(last)) stretch.successors.push_back(number[target]);
      const bool leaves =
          last.flow == Flow::Branch || last.flow == Flow::BranchIndexed || last.flow == Flow::Exit;
      if (stretch.end < size && (!leaves || guarded(last))) {
        stretch.successors.push_back(number[stretch.end]);
      }
    }
  }

  void note(const Instruction &instruction, Stretch &stretch) const {
    const auto uses = [&](std::uint32_t reg) {
      if (!stretch.set.contains(static_cast<int>(reg))) stretch.used.insert(static_cast<int>(reg));
    };
    uses(instruction.guard);
    for (int k = instruction.results; k < instruction.operands; k++) uses(instruction.operand[k]);
    for (int k = 0; k < instruction.results; k++) {
      // Where the guard is false, the register keeps what it had.
      if (guarded(instruction)) uses(instruction.operand[k]);
      stretch.set.insert(static_cast<int>(instruction.operand[k]));
    }
  }

  const Program &program_;
  const int registers_;
  const int always_;
  std::vector<Stretch> stretches_;
};

}  // namespace

std::vector<LiveRange> liveRanges(const Program &program, int registers, int always) {
  return Analysis(program, registers, always).run();
}

}  // namespace ptx
