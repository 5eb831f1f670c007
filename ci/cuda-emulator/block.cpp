#include "block.h"

#include <algorithm>

#include "fault.h"

namespace ptx {

Block::Block(const Grid &grid)
    : grid(grid),
      shared(grid.sharedBytes()),
      shadow(grid.sharedBytes(), grid.program.sharedGranule,
             static_cast<int>((grid.block.volume() + LANES - 1) / LANES), grid.options.checkRaces,
             grid.options.checkUninitialised),
      global(grid.memory, grid.options.checkUninitialised) {
  const int warps = static_cast<int>((grid.block.volume() + LANES - 1) / LANES);
  for (int warp = 0; warp < warps; warp++) warps_.push_back(std::make_unique<Warp>(*this, warp));
}

Dim3 Block::threadIndex(int warp, int lane) const {
  const std::uint32_t thread = static_cast<std::uint32_t>(warp) * LANES + lane;
  return {thread % grid.block.x, thread / grid.block.x % grid.block.y,
          thread / grid.block.x / grid.block.y};
}

void Block::run(Dim3 where) {
  index = where;
  executed = 0;
  // With the checks off, what nothing has written is NaN in every format.
  std::fill(shared.begin(), shared.end(), std::byte{0xff});
  shadow.reset();
  barriers_.fill({});
  for (const auto &warp : warps_) warp->reset();
  live_ = warps_.size();
  std::vector<Warp *> running;
  for (const auto &warp : warps_) running.push_back(warp.get());
  while (live_ > 0) {
    for (Warp *warp : running) {
      const Warp::State state = warp->run();
      if (state == Warp::State::Running) {
        runnable_.push_back(warp);
      } else if (state == Warp::State::AtBarrier) {
        wait(*warp);
      } else {
        live_--;
      }
    }
    openBarriers();
    running.swap(runnable_);
    runnable_.clear();
    if (running.empty() && live_ > 0) deadlock();
  }
}

// ---- Barriers ------------------------------------------------------------------------------------

Block::Barrier &Block::note(Warp &warp, const Instruction &instruction, Mask lanes) {
  const int lane = __builtin_ctz(lanes);
  const std::uint32_t number = warp.operand<std::uint32_t>(instruction, BAR_NUMBER)[lane];
  const std::uint32_t expected = warp.operand<std::uint32_t>(instruction, BAR_THREADS)[lane];
  if (number >= BARRIERS) {
    warp.trap({CudaError::LaunchFailed, lane,
               "barrier " + std::to_string(number) + " of " + std::to_string(BARRIERS)},
              instruction);
  }
  if (expected % LANES != 0) {
    warp.trap({CudaError::LaunchFailed, lane,
               "a barrier for " + std::to_string(expected) +
                   " threads: the number must be a multiple of 32"},
              instruction);
  }
  Barrier &barrier = barriers_[number];
  if (!barrier.arrivals.empty() && barrier.expected != expected) {
    warp.trap({CudaError::LaunchFailed, lane,
               "barrier " + std::to_string(number) + " for " + std::to_string(expected) +
                   " threads, which others use for " + std::to_string(barrier.expected)},
              instruction);
  }
  barrier.expected = expected;
  barrier.arrivals.push_back(shadow.arrive(warp.index));
  const Mask predicate = warp.predicate(instruction, BAR_PREDICATE) & lanes;
  barrier.ballots += static_cast<std::uint32_t>(__builtin_popcount(predicate));
  barrier.ballotsAgainst += static_cast<std::uint32_t>(__builtin_popcount(lanes & ~predicate));
  return barrier;
}

void Block::arrive(Warp &warp, const Instruction &instruction, Mask lanes) {
  note(warp, instruction, lanes);
}

void Block::wait(Warp &warp) {
  note(warp, warp.barrier(), warp.atBarrierLanes()).waiting.push_back(&warp);
}

void Block::openBarriers() {
  for (Barrier &barrier : barriers_) {
    if (barrier.arrivals.empty()) continue;
    const bool all = barrier.expected == 0;
    if (all ? barrier.waiting.size() < live_ : barrier.arrivals.size() * LANES < barrier.expected) {
      continue;
    }
    if (all) {
      shadow.syncBlock();
    } else {
      for (Warp *warp : barrier.waiting) shadow.join(warp->index, barrier.arrivals);
    }
    for (Warp *warp : barrier.waiting) {
      giveResult(*warp, barrier);
      warp->passBarrier();
      runnable_.push_back(warp);
    }
    barrier = {};
  }
}

// What bar.red makes of the predicates that came with the arrivals.
void Block::giveResult(Warp &warp, const Barrier &barrier) const {
  const Instruction &instruction = warp.barrier();
  const Mask lanes = warp.atBarrierLanes();
  switch (static_cast<BarrierKind>(instruction.variant)) {
    case BarrierKind::Popc:
      for (Mask rest = lanes; rest; rest &= rest - 1) {
        warp.operand<std::uint32_t>(instruction, BAR_RESULT)[__builtin_ctz(rest)] = barrier.ballots;
      }
      break;
    case BarrierKind::And:
      warp.setPredicate(instruction, BAR_RESULT, lanes, barrier.ballotsAgainst == 0 ? lanes : 0);
      break;
    case BarrierKind::Or:
      warp.setPredicate(instruction, BAR_RESULT, lanes, barrier.ballots > 0 ? lanes : 0);
      break;
    case BarrierKind::Sync:
    case BarrierKind::Arrive:
      break;
  }
}

// Every warp waits, none of them for something that can still happen.
void Block::deadlock() {
  std::string others;
  Warp *first = nullptr;
  for (std::size_t number = 0; number < barriers_.size(); number++) {
    for (Warp *warp : barriers_[number].waiting) {
      if (!first) {
        first = warp;
      } else {
        others += ", warp " + std::to_string(warp->index) + " at barrier " +
                  std::to_string(number) + " (PTX line " + std::to_string(warp->barrier().line) +
                  ")";
      }
    }
  }
  first->trap({CudaError::LaunchFailed, __builtin_ctz(first->atBarrierLanes()),
               "deadlock: the barrier waits for threads that never come" + others},
              first->barrier());
}

}  // namespace ptx
