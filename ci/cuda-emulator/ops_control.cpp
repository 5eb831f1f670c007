// What ends or delays a thread, and barriers. (Branches and calls are the decoder's: their operands
// are places in the code.)

#include "block.h"
#include "fault.h"
#include "operations.h"

namespace ptx {

namespace {

void nothing(Warp &, const Instruction &, Mask) {}

void trap(Warp &, const Instruction &, Mask lanes) {
  throw Fault{CudaError::LaunchFailed, __builtin_ctz(lanes), "the kernel executed trap"};
}

void arrive(Warp &warp, const Instruction &instruction, Mask lanes) {
  if (lanes != warp.live) {
    throw Fault{CudaError::LaunchFailed, __builtin_ctz(lanes),
                "bar.arrive must be executed by all lanes of the warp together"};
  }
  warp.block.arrive(warp, instruction, lanes);
}

void addBarriers(OperationTable &t, const std::string &prefix, const std::string &aligned) {
  const auto barrier = [&](const std::string &name, BarrierKind kind, Slot d, Slot threads,
                           Slot predicate) {
    Operation operation{nothing, {d, input<u32>, threads, predicate}, Flow::Barrier};
    operation.variant = static_cast<std::uint8_t>(kind);
    if (kind == BarrierKind::Arrive) {
      operation.handler = arrive;
      operation.flow = Flow::Next;
    }
    t.add(name, operation);
  };
  const Slot none = result<u32>.always(0);
  const Slot all = input<u32>.orElse(0);
  const Slot yes = input<bool>.always(-1);
  barrier(prefix + ".sync" + aligned, BarrierKind::Sync, none, all, yes);
  barrier(prefix + ".arrive" + aligned, BarrierKind::Arrive, none, input<u32>, yes);
  barrier(prefix + ".red.popc" + aligned + ".u32", BarrierKind::Popc, result<u32>, all,
          input<bool>);
  barrier(prefix + ".red.and" + aligned + ".pred", BarrierKind::And, result<bool>, all,
          input<bool>);
  barrier(prefix + ".red.or" + aligned + ".pred", BarrierKind::Or, result<bool>, all, input<bool>);
}

}  // namespace

void addControl(OperationTable &t) {
  addBarriers(t, "bar", "");
  addBarriers(t, "bar.cta", "");
  addBarriers(t, "barrier", "");
  addBarriers(t, "barrier", ".aligned");
  addBarriers(t, "barrier.cta", "");
  addBarriers(t, "barrier.cta", ".aligned");
  t.add("exit", {nothing, {}, Flow::Exit});
  t.add("ret", {nothing, {}, Flow::Exit});
  t.add("ret.uni", {nothing, {}, Flow::Exit});
  t.add("trap", {trap, {}});
  t.add("brkpt", {trap, {}});
  t.add("nanosleep.u32", {nothing, {input<u32>}});
}

}  // namespace ptx
