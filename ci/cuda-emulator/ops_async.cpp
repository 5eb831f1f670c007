// cp.async: copies from global to shared memory that land when their thread waits for them, not a
// moment earlier.

#include <cstring>

#include "access.h"
#include "operations.h"

namespace ptx {

namespace {

// [to], [from], bytes, bytes to read (the rest of the destination becomes zero)
void begin(Warp &warp, const Instruction &instruction, Mask lanes) {
  const Addresses to = addressesOf(warp, instruction, 0, 0);
  const Addresses from = addressesOf(warp, instruction, 1, 1);
  const u32 bytes = warp.operand<u32>(instruction, 2)[0];
  const u32 *sourceBytes = warp.operand<u32>(instruction, 3);
  Block &block = warp.block;
  checkShared("cp.async", warp, to, bytes, lanes);
  Mask whole = 0;
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    const u32 wanted = sourceBytes[lane];
    if (wanted > bytes) {
      throw Fault{CudaError::LaunchFailed, lane,
                  "cp.async of " + std::to_string(bytes) + " bytes which is to read " +
                      std::to_string(wanted)};
    }
    if (wanted == bytes) whole |= Mask{1} << lane;
    if (from[lane] & (bytes - 1)) {
      throw Fault{CudaError::MisalignedAddress, lane,
                  "misaligned cp.async of " + std::to_string(bytes) + " bytes from global " +
                      hex(from[lane])};
    }
    if (wanted > 0 && wanted < bytes) block.global.beforeRead(lane, from[lane], wanted);
  }
  if (whole) block.global.beforeRead(from, bytes, whole);
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    const auto target = static_cast<u32>(to[lane]);
    block.shadow.beginCopy(warp.index, target, bytes, lane, instruction.line);
    warp.copies.begin({from[lane], target, 0, static_cast<u8>(lane), static_cast<u8>(bytes),
                       static_cast<u8>(sourceBytes[lane]), instruction.line});
  }
}

// What finishes one copy.
auto lander(Warp &warp) {
  return [&warp](const CopyQueue::Copy &copy) {
    Block &block = warp.block;
    std::byte *to = block.shared.data() + copy.to;
    if (copy.sourceBytes > 0) std::memcpy(to, block.global.data(copy.from), copy.sourceBytes);
    std::memset(to + copy.sourceBytes, 0, copy.bytes - copy.sourceBytes);
    block.shadow.land(warp.index, copy.to, copy.bytes, copy.lane, copy.line);
  };
}

void commit(Warp &warp, const Instruction &, Mask lanes) { warp.copies.commit(lanes); }

void waitGroup(Warp &warp, const Instruction &instruction, Mask lanes) {
  warp.copies.wait(lanes, warp.operand<u32>(instruction, 0)[0], lander(warp));
}

void waitAll(Warp &warp, const Instruction &, Mask lanes) {
  warp.copies.waitAll(lanes, lander(warp));
}

}  // namespace

void addAsyncCopies(OperationTable &t) {
  // If not told otherwise, as many bytes are read as written.
  Slot size = input<u32>;
  Operation copy{begin,
                 {addressIn(Space::Shared), addressIn(Space::Global), size, size.orElseAs(2)}};
  // The decoder narrows this to the number that the instruction gives.
  copy.accessBytes = 4;
  t.add("cp.async.ca.shared.global", copy);
  t.add("cp.async.cg.shared.global", copy);
  t.add("cp.async.commit_group", {commit, {}});
  t.add("cp.async.wait_group", {waitGroup, {input<u32>}});
  t.add("cp.async.wait_all", {waitAll, {}});
}

}  // namespace ptx
