// A block of threads: its shared memory, its warps, and the barriers at which they meet.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "global.h"
#include "kernel.h"
#include "launch.h"
#include "program.h"
#include "race.h"
#include "warp.h"

namespace ptx {

// What all blocks of a grid have in common.
struct Grid {
  const Kernel &kernel;
  const Program &program;
  Dim3 grid;
  Dim3 block;
  std::uint32_t dynamicShared;
  const std::vector<std::byte> &parameters;
  Memory &memory;
  const Options &options;

  std::uint32_t sharedBytes() const { return program.dynamicSharedOffset + dynamicShared; }
};

class Block {
 public:
  static constexpr int BARRIERS = 16;

  explicit Block(const Grid &grid);

  // Runs the block of this index to its end; throws Trap.
  void run(Dim3 index);

  // ---- For warps and handlers ------------------------------------------------------------------

  Dim3 threadIndex(int warp, int lane) const;
  // A warp has come to bar.arrive.
  void arrive(Warp &warp, const Instruction &instruction, Mask lanes);

  const Grid &grid;
  Dim3 index;
  std::vector<std::byte> shared;
  SharedShadow shadow;
  GlobalView global;
  // Instructions executed by all warps of the block.
  std::uint64_t executed = 0;

 private:
  struct Barrier {
    std::uint32_t expected = 0;  // threads; 0: all of the block
    std::vector<Warp *> waiting;
    std::vector<SharedShadow::Arrival> arrivals;  // of warps that wait and of others
    // Predicates that came with the arrivals, true and false.
    std::uint32_t ballots = 0;
    std::uint32_t ballotsAgainst = 0;
  };

  void wait(Warp &warp);
  Barrier &note(Warp &warp, const Instruction &instruction, Mask lanes);
  // Opens the barriers at which everybody has arrived.
  void openBarriers();
  void giveResult(Warp &warp, const Barrier &barrier) const;
  [[noreturn]] void deadlock();

  std::vector<std::unique_ptr<Warp>> warps_;
  std::vector<Warp *> runnable_;
  std::size_t live_ = 0;  // warps that have not exited
  std::array<Barrier, BARRIERS> barriers_;
};

}  // namespace ptx
