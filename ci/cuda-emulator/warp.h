// A warp: 32 lanes that execute one instruction after another together, as far as they agree.
//
// Lanes that branch apart become several splits, each with its own program counter; the split with
// the lowest counter runs, and splits that reach the same counter become one again. Compilers lay
// code out so that the place where paths meet lies behind all of them, so this reconverges where a
// GPU does. A split that reaches an instruction which waits for other lanes stands still until they
// are there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "async.h"
#include "program.h"

namespace ptx {

class Block;

class Warp {
 public:
  enum class State {
    Running,    // has work
    AtBarrier,  // all its lanes wait at barrier()
    Exited,
  };

  Warp(Block &block, int index);
  ~Warp();
  Warp(const Warp &) = delete;
  Warp &operator=(const Warp &) = delete;

  // Begins a block: the lanes that exist stand at the first instruction.
  void reset();
  // Executes until a barrier, the end, or a slice of instructions; throws Trap.
  State run();
  // The barrier at which the warp waits has opened.
  void passBarrier();
  // The barrier at which the warp waits, and the lanes that do.
  const Instruction &barrier() const;
  Mask atBarrierLanes() const;
  [[noreturn]] void trap(const struct Fault &fault, const Instruction &instruction) const;

  // ---- For handlers ----------------------------------------------------------------------------

  template <class T>
  T *operand(const Instruction &instruction, int k) {
    return reinterpret_cast<T *>(registers_ + instruction.operand[k]);
  }
  // A predicate as an operand, flipped where it was written !%p.
  Mask predicate(const Instruction &instruction, int k) {
    return *operand<Mask>(instruction, k) ^ instruction.flip(k);
  }
  void setPredicate(const Instruction &instruction, int k, Mask lanes, Mask value) {
    Mask &result = *operand<Mask>(instruction, k);
    result = (result & ~lanes) | (value & lanes);
  }
  std::byte *local(int lane) { return local_.data() + std::size_t(lane) * localBytes_; }

  Block &block;
  const int index;
  // Lanes that exist and have not exited.
  Mask live = 0;
  // The carry bit of each lane, which add.cc writes and addc reads.
  Mask carry = 0;
  CopyQueue copies;

 private:
  struct Split {
    std::int32_t counter;
    Mask lanes;
    bool waiting;
  };

  std::uint32_t valueOf(Special kind, int lane) const;
  // The next split to run, removed from the others; false if none can.
  bool choose(Split &split);
  void add(std::int32_t counter, Mask lanes, bool waiting);
  std::int32_t lowestOther() const;
  void branchIndexed(std::int32_t counter, Mask active, Mask lanes);
  Mask memberMask(const Instruction &instruction, Mask lanes);
  // Runs one instruction whose lanes have all come to wait at it; false if there is none.
  bool complete();
  void requireMember(const Instruction &instruction, Mask members, int lane);
  void together(const std::array<std::int32_t, LANES> &counters, Mask lanes);
  bool atBarrier() const;
  [[noreturn]] void stuck();

  std::byte *registers_ = nullptr;
  std::vector<std::byte> local_;
  const std::uint32_t localBytes_;
  std::vector<Split> splits_;
  bool highestFirst_ = false;
};

}  // namespace ptx
