#include "warp.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#include "block.h"
#include "fault.h"

namespace ptx {

namespace {

// Instructions after which another warp gets its turn, so that warps can wait for one another in
// loops.
constexpr int SLICE = 1 << 16;

constexpr std::size_t REGISTER_ALIGNMENT = 64;

Mask bit(int lane) { return Mask{1} << lane; }

int lowestLane(Mask lanes) { return __builtin_ctz(lanes); }

std::string laneList(Mask lanes) {
  std::string result;
  for (int lane = 0; lane < LANES; lane++) {
    if (!(lanes & bit(lane))) continue;
    int last = lane;
    while (last + 1 < LANES && lanes & bit(last + 1)) last++;
    result += (result.empty() ? "" : ", ") + std::to_string(lane);
    if (last > lane) result += "-" + std::to_string(last);
    lane = last;
  }
  return result;
}

}  // namespace

Warp::Warp(Block &block, int index)
    : block(block),
      index(index),
      local_(std::size_t{LANES} * block.grid.program.localBytes),
      localBytes_(block.grid.program.localBytes) {
  const Program &program = block.grid.program;
  registers_ = static_cast<std::byte *>(
      ::operator new(program.registerBytes, std::align_val_t(REGISTER_ALIGNMENT)));
  std::memcpy(registers_, program.constants.data(), program.constants.size());
}

Warp::~Warp() { ::operator delete(registers_, std::align_val_t(REGISTER_ALIGNMENT)); }

void Warp::reset() {
  const Grid &grid = block.grid;
  const Program &program = grid.program;
  // Whatever reads a register before it is written gets a NaN, a large index or a true predicate,
  // and the same in every run.
  std::memset(registers_ + program.constants.size(), 0xff,
              program.registerBytes - program.constants.size());
  std::fill(local_.begin(), local_.end(), std::byte{0xff});
  copies.reset();
  splits_.clear();
  carry = 0;
  live = 0;
  highestFirst_ = false;
  const std::uint64_t threads = grid.block.volume();
  for (int lane = 0; lane < LANES; lane++) {
    if (std::uint64_t(index) * LANES + lane < threads) live |= bit(lane);
  }
  splits_.push_back({0, live, false});
  for (const SpecialRegister &special : program.specials) {
    auto *values = reinterpret_cast<std::uint32_t *>(registers_ + special.offset);
    for (int lane = 0; lane < LANES; lane++) values[lane] = valueOf(special.kind, lane);
  }
}

std::uint32_t Warp::valueOf(Special kind, int lane) const {
  const Grid &grid = block.grid;
  const Dim3 thread = block.threadIndex(index, lane);
  switch (kind) {
    case Special::TidX:
      return thread.x;
    case Special::TidY:
      return thread.y;
    case Special::TidZ:
      return thread.z;
    case Special::NtidX:
      return grid.block.x;
    case Special::NtidY:
      return grid.block.y;
    case Special::NtidZ:
      return grid.block.z;
    case Special::CtaidX:
      return block.index.x;
    case Special::CtaidY:
      return block.index.y;
    case Special::CtaidZ:
      return block.index.z;
    case Special::NctaidX:
      return grid.grid.x;
    case Special::NctaidY:
      return grid.grid.y;
    case Special::NctaidZ:
      return grid.grid.z;
    case Special::LaneId:
      return static_cast<std::uint32_t>(lane);
    case Special::WarpId:
      return static_cast<std::uint32_t>(index);
    case Special::NwarpId:
      return static_cast<std::uint32_t>((grid.block.volume() + LANES - 1) / LANES);
    case Special::LaneMaskEq:
      return bit(lane);
    case Special::LaneMaskLt:
      return bit(lane) - 1;
    case Special::LaneMaskLe:
      return bit(lane) | (bit(lane) - 1);
    case Special::LaneMaskGt:
      return ~(bit(lane) | (bit(lane) - 1));
    case Special::LaneMaskGe:
      return ~(bit(lane) - 1);
    case Special::SmId:
      return 0;
    case Special::NsmId:
      return 1;
    case Special::GridId:
      return 0;
    case Special::DynamicSharedBytes:
      return grid.dynamicShared;
    case Special::TotalSharedBytes:
      return grid.sharedBytes();
  }
  return 0;
}

// ---- Splits --------------------------------------------------------------------------------------

void Warp::add(std::int32_t counter, Mask lanes, bool waiting) {
  for (Split &split : splits_) {
    if (split.counter == counter && split.waiting == waiting) {
      split.lanes |= lanes;
      return;
    }
  }
  splits_.push_back({counter, lanes, waiting});
}

bool Warp::choose(Split &result) {
  auto best = splits_.end();
  for (auto it = splits_.begin(); it != splits_.end(); ++it) {
    if (it->waiting) continue;
    if (best == splits_.end() ||
        (highestFirst_ ? it->counter > best->counter : it->counter < best->counter)) {
      best = it;
    }
  }
  if (best == splits_.end()) return false;
  result = *best;
  splits_.erase(best);
  return true;
}

std::int32_t Warp::lowestOther() const {
  std::int32_t result = std::numeric_limits<std::int32_t>::max();
  for (const Split &split : splits_) {
    if (!split.waiting) result = std::min(result, split.counter);
  }
  return result;
}

// ---- Execution -----------------------------------------------------------------------------------

Warp::State Warp::run() {
  const Instruction *const code = block.grid.program.code.data();
  int budget = SLICE;
  for (;;) {
    Split split;
    if (!choose(split)) {
      if (splits_.empty()) return State::Exited;
      if (complete()) continue;
      if (atBarrier()) return State::AtBarrier;
      stuck();
    }
    std::int32_t counter = split.counter;
    const Mask active = split.lanes;
    // While the highest split has its turn nothing stops it at the others' counters.
    std::int32_t limit = highestFirst_ ? std::numeric_limits<std::int32_t>::max() : lowestOther();
    const int start = budget;
    bool gone = false;
    try {
      while (!gone && counter < limit && budget > 0) {
        const Instruction &instruction = code[counter];
        const Mask lanes =
            active & (*reinterpret_cast<const Mask *>(registers_ + instruction.guard) ^
                      instruction.guardFlip);
        budget--;
        switch (instruction.flow) {
          case Flow::Next:
            if (lanes) instruction.handler(*this, instruction, lanes);
            counter++;
            break;
          case Flow::Branch:
            if (lanes == active) {
              counter = instruction.target;
            } else if (lanes == 0) {
              counter++;
            } else {
              add(instruction.target, lanes, false);
              add(counter + 1, active & ~lanes, false);
              gone = true;
            }
            break;
          case Flow::BranchIndexed:
            branchIndexed(counter, active, lanes);
            gone = true;
            break;
          case Flow::Exit:
            live &= ~lanes;
            if (active & ~lanes) add(counter + 1, active & ~lanes, false);
            gone = true;
            break;
          case Flow::WarpSync:
            if (lanes == live && memberMask(instruction, lanes) == ALL_LANES) {
              instruction.handler(*this, instruction, lanes);
              counter++;
              break;
            }
            [[fallthrough]];
          case Flow::WarpAligned:
            if (lanes == ALL_LANES && instruction.flow == Flow::WarpAligned) {
              instruction.handler(*this, instruction, lanes);
              counter++;
              break;
            }
            [[fallthrough]];
          case Flow::Barrier:
            if (lanes == 0) {
              counter++;
              break;
            }
            add(counter, lanes, true);
            if (active & ~lanes) add(counter + 1, active & ~lanes, false);
            gone = true;
            break;
        }
      }
    } catch (const Fault &fault) {
      trap(fault, code[counter]);
    }
    block.executed += std::uint64_t(start - budget);
    if (!gone) add(counter, active, false);
    if (budget <= 0) {
      if (block.executed > block.grid.options.instructionLimit) {
        trap({CudaError::LaunchTimeout, lowestLane(active),
              "timeout: the block has executed " + std::to_string(block.executed) +
                  " warp instructions and does not end"},
             code[counter]);
      }
      // Lanes may wait for others of their warp in a loop: let those run that are ahead of it.
      complete();
      highestFirst_ = !highestFirst_ && splits_.size() > 1;
      return State::Running;
    }
  }
}

void Warp::branchIndexed(std::int32_t counter, Mask active, Mask lanes) {
  const Instruction &instruction = block.grid.program.code[counter];
  const std::vector<std::int32_t> &targets =
      block.grid.program.branchTargets[static_cast<std::size_t>(instruction.target)];
  const std::uint32_t *choice = operand<std::uint32_t>(instruction, 0);
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = lowestLane(rest);
    if (choice[lane] >= targets.size()) {
      throw Fault{CudaError::LaunchFailed, lane,
                  "brx.idx takes target " + std::to_string(choice[lane]) + " of " +
                      std::to_string(targets.size())};
    }
    add(targets[choice[lane]], bit(lane), false);
  }
  if (active & ~lanes) add(counter + 1, active & ~lanes, false);
}

// ---- Waiting for other lanes ---------------------------------------------------------------------

// The mask that these lanes name, 0 if they do not agree.
Mask Warp::memberMask(const Instruction &instruction, Mask lanes) {
  if (lanes == 0) return 0;
  const Mask *masks = operand<Mask>(instruction, instruction.operands - 1);
  const Mask first = masks[lowestLane(lanes)];
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    if (masks[lowestLane(rest)] != first) return 0;
  }
  return first;
}

void Warp::requireMember(const Instruction &instruction, Mask members, int lane) {
  if (members & bit(lane)) return;
  trap({CudaError::LaunchFailed, lane,
        "lane " + std::to_string(lane) + " is not in its own member mask"},
       instruction);
}

bool Warp::complete() {
  const std::vector<Instruction> &code = block.grid.program.code;
  for (const Split &split : splits_) {
    const Instruction &instruction = code[split.counter];
    if (!split.waiting || instruction.flow == Flow::Barrier) continue;
    const bool aligned = instruction.flow == Flow::WarpAligned;
    for (Mask rest = split.lanes; rest; rest &= rest - 1) {
      const int lane = lowestLane(rest);
      const Mask members = aligned ? ALL_LANES : memberMask(instruction, bit(lane));
      requireMember(instruction, members, lane);
      // Everybody who waits for the same meeting, at this instruction or at another like it.
      Mask here = 0;
      std::array<std::int32_t, LANES> counters{};
      for (const Split &other : splits_) {
        const Instruction &candidate = code[other.counter];
        if (!other.waiting || candidate.handler != instruction.handler ||
            candidate.variant != instruction.variant ||
            (aligned && other.counter != split.counter)) {
          continue;
        }
        for (Mask lanes = other.lanes; lanes; lanes &= lanes - 1) {
          const int member = lowestLane(lanes);
          if (aligned || memberMask(candidate, bit(member)) == members) {
            requireMember(candidate, members, member);
            here |= bit(member);
            counters[member] = other.counter;
          }
        }
      }
      if (members & live & ~here) continue;
      if (aligned && here != ALL_LANES) {
        trap({CudaError::LaunchFailed, lane,
              "the instruction needs all 32 lanes of the warp, and lanes " + laneList(~here) +
                  " have exited or do not exist"},
             instruction);
      }
      together(counters, here);
      return true;
    }
  }
  return false;
}

// Runs the meeting of these lanes, each at its own counter, and lets them go on. An instruction
// executes for lanes that stand at another by borrowing its registers.
void Warp::together(const std::array<std::int32_t, LANES> &counters, Mask lanes) {
  const std::vector<Instruction> &code = block.grid.program.code;
  const Instruction &leader = code[counters[lowestLane(lanes)]];
  using Values = std::array<std::uint64_t, Instruction::MAX_OPERANDS>;
  std::array<Values, LANES> borrowed{};
  const auto get = [&](const Instruction &instruction, int k, int lane) -> std::uint64_t {
    if (instruction.width[k] == 0) {
      return (*operand<Mask>(instruction, k) ^ instruction.flip(k)) >> lane & 1;
    }
    std::uint64_t value = 0;
    std::memcpy(&value, operand<std::byte>(instruction, k) + lane * instruction.width[k],
                instruction.width[k]);
    return value;
  };
  const auto put = [&](const Instruction &instruction, int k, int lane, std::uint64_t value) {
    if (instruction.width[k] == 0) {
      const Mask flip = instruction.flip(k) & bit(lane);
      Mask &predicate = *operand<Mask>(instruction, k);
      predicate = (predicate & ~bit(lane)) | ((Mask(value) << lane) ^ flip);
      return;
    }
    std::memcpy(operand<std::byte>(instruction, k) + lane * instruction.width[k], &value,
                instruction.width[k]);
  };
  const auto guests = [&](auto act) {
    for (Mask rest = lanes; rest; rest &= rest - 1) {
      const int lane = lowestLane(rest);
      const Instruction &own = code[counters[lane]];
      if (&own != &leader) act(own, lane);
    }
  };
  guests([&](const Instruction &own, int lane) {
    Values values{};
    for (int k = 0; k < leader.operands; k++) borrowed[lane][k] = get(leader, k, lane);
    for (int k = leader.results; k < leader.operands; k++) values[k] = get(own, k, lane);
    for (int k = leader.results; k < leader.operands; k++) put(leader, k, lane, values[k]);
  });
  try {
    leader.handler(*this, leader, lanes);
  } catch (const Fault &fault) {
    trap(fault, leader);
  }
  guests([&](const Instruction &own, int lane) {
    Values results{};
    for (int k = 0; k < leader.results; k++) results[k] = get(leader, k, lane);
    // Own registers may be among the borrowed ones.
    for (int k = 0; k < leader.operands; k++) put(leader, k, lane, borrowed[lane][k]);
    for (int k = 0; k < leader.results; k++) put(own, k, lane, results[k]);
  });

  for (Split &split : splits_) {
    if (split.waiting && code[split.counter].handler == leader.handler) split.lanes &= ~lanes;
  }
  splits_.erase(std::remove_if(splits_.begin(), splits_.end(),
                               [](const Split &split) { return split.lanes == 0; }),
                splits_.end());
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = lowestLane(rest);
    add(counters[lane] + 1, bit(lane), false);
  }
}

bool Warp::atBarrier() const {
  const std::vector<Instruction> &code = block.grid.program.code;
  for (const Split &split : splits_) {
    if (code[split.counter].flow != Flow::Barrier) return false;
  }
  return splits_.size() == 1;
}

const Instruction &Warp::barrier() const {
  return block.grid.program.code[splits_.front().counter];
}

Mask Warp::atBarrierLanes() const { return splits_.front().lanes; }

void Warp::passBarrier() {
  const Split passed = splits_.front();
  splits_.clear();
  splits_.push_back({passed.counter + 1, passed.lanes, false});
}

// No split can run: lanes wait for others that wait elsewhere.
void Warp::stuck() {
  const std::vector<Instruction> &code = block.grid.program.code;
  const Split &first = splits_.front();
  std::string message = "deadlock: lanes " + laneList(first.lanes) + " wait here for the others";
  for (const Split &split : splits_) {
    if (&split == &first) continue;
    message += ", lanes " + laneList(split.lanes) + " at PTX line " +
               std::to_string(code[split.counter].line);
  }
  trap({CudaError::LaunchFailed, lowestLane(first.lanes), message}, code[first.counter]);
}

void Warp::trap(const Fault &fault, const Instruction &instruction) const {
  const Program &program = block.grid.program;
  std::string source;
  const auto file = static_cast<std::size_t>(instruction.location.file);
  if (file < program.files.size() && !program.files[file].empty()) {
    source = program.files[file] + ":" + std::to_string(instruction.location.line);
  }
  throw Trap(fault.code, block.grid.kernel.name, block.index, block.threadIndex(index, fault.lane),
             instruction.line, source, fault.message);
}

}  // namespace ptx
