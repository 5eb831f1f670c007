// What the lanes of a warp do together: shuffles, votes, matches, reductions, bar.warp.sync.

#include <algorithm>

#include "block.h"
#include "fault.h"
#include "operations.h"

namespace ptx {

namespace {

int lowestLane(Mask lanes) { return __builtin_ctz(lanes); }

// ---- shfl.sync -----------------------------------------------------------------------------------

enum class Shuffle { Up, Down, Butterfly, Index };

// d|p, a, b, c, members: d is a of another lane, p whether that lane is in reach.
template <Shuffle mode>
void shuffle(Warp &warp, const Instruction &instruction, Mask lanes) {
  u32 *d = warp.operand<u32>(instruction, 0);
  std::array<u32, LANES> a;
  std::copy_n(warp.operand<u32>(instruction, 2), LANES, a.begin());
  const u32 *b = warp.operand<u32>(instruction, 3);
  const u32 *c = warp.operand<u32>(instruction, 4);
  std::array<s32, LANES> from;
  Mask inReach = 0;
  Mask read = 0;
  for (s32 lane = 0; lane < LANES; lane++) {
    const s32 distance = static_cast<s32>(b[lane] & 31);
    const s32 clamp = static_cast<s32>(c[lane] & 31);
    const s32 segment = static_cast<s32>(c[lane] >> 8 & 31);
    const s32 last = (lane & segment) | (clamp & ~segment);
    const s32 first = lane & segment;
    const s32 other = mode == Shuffle::Up          ? lane - distance
                      : mode == Shuffle::Down      ? lane + distance
                      : mode == Shuffle::Butterfly ? lane ^ distance
                                                   : first | (distance & ~segment);
    const bool reached = mode == Shuffle::Up ? other >= last : other <= last;
    from[lane] = reached ? other : lane;
    inReach |= (reached ? Mask{1} : Mask{0}) << lane;
    read |= (lanes >> lane & 1 ? Mask{1} : Mask{0}) << from[lane];
  }
  if (read & ~lanes) {
    for (Mask rest = lanes; rest; rest &= rest - 1) {
      const int lane = lowestLane(rest);
      if (!(lanes >> from[lane] & 1)) {
        throw Fault{CudaError::LaunchFailed, lane,
                    "the shuffle takes the value of lane " + std::to_string(from[lane]) +
                        ", which does not take part in it"};
      }
    }
  }
  for (int lane = 0; lane < LANES; lane++) {
    d[lane] = lanes >> lane & 1 ? a[from[lane]] : d[lane];
  }
  warp.setPredicate(instruction, 1, lanes, inReach);
}

// ---- vote.sync, match.sync, redux.sync -----------------------------------------------------------

void voteAll(Warp &warp, const Instruction &instruction, Mask lanes) {
  const bool all = (warp.predicate(instruction, 1) & lanes) == lanes;
  warp.setPredicate(instruction, 0, lanes, all ? lanes : 0);
}

void voteAny(Warp &warp, const Instruction &instruction, Mask lanes) {
  const bool any = warp.predicate(instruction, 1) & lanes;
  warp.setPredicate(instruction, 0, lanes, any ? lanes : 0);
}

void voteUniform(Warp &warp, const Instruction &instruction, Mask lanes) {
  const Mask votes = warp.predicate(instruction, 1) & lanes;
  warp.setPredicate(instruction, 0, lanes, votes == 0 || votes == lanes ? lanes : 0);
}

void ballot(Warp &warp, const Instruction &instruction, Mask lanes) {
  const Mask votes = warp.predicate(instruction, 1) & lanes;
  u32 *d = warp.operand<u32>(instruction, 0);
  for (Mask rest = lanes; rest; rest &= rest - 1) d[lowestLane(rest)] = votes;
}

void activeMask(Warp &warp, const Instruction &instruction, Mask lanes) {
  u32 *d = warp.operand<u32>(instruction, 0);
  for (Mask rest = lanes; rest; rest &= rest - 1) d[lowestLane(rest)] = lanes;
}

template <class T>
Mask equalTo(const T *values, T value, Mask lanes) {
  Mask equal = 0;
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = lowestLane(rest);
    if (values[lane] == value) equal |= Mask{1} << lane;
  }
  return equal;
}

template <class T>
void matchAny(Warp &warp, const Instruction &instruction, Mask lanes) {
  u32 *d = warp.operand<u32>(instruction, 0);
  std::array<T, LANES> a;
  std::copy_n(warp.operand<T>(instruction, 1), LANES, a.begin());
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = lowestLane(rest);
    d[lane] = equalTo(a.data(), a[lane], lanes);
  }
}

template <class T>
void matchAll(Warp &warp, const Instruction &instruction, Mask lanes) {
  u32 *d = warp.operand<u32>(instruction, 0);
  const T *a = warp.operand<T>(instruction, 2);
  const bool all = equalTo(a, a[lowestLane(lanes)], lanes) == lanes;
  for (Mask rest = lanes; rest; rest &= rest - 1) d[lowestLane(rest)] = all ? lanes : 0;
  warp.setPredicate(instruction, 1, lanes, all ? lanes : 0);
}

template <class T, class F>
void reduce(Warp &warp, const Instruction &instruction, Mask lanes) {
  T *d = warp.operand<T>(instruction, 0);
  const T *a = warp.operand<T>(instruction, 1);
  T value = a[lowestLane(lanes)];
  for (Mask rest = lanes & (lanes - 1); rest; rest &= rest - 1) {
    value = F()(value, a[lowestLane(rest)]);
  }
  for (Mask rest = lanes; rest; rest &= rest - 1) d[lowestLane(rest)] = value;
}

struct Add {
  u32 operator()(u32 a, u32 b) const { return a + b; }
};
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};
struct And {
  u32 operator()(u32 a, u32 b) const { return a & b; }
};
struct Or {
  u32 operator()(u32 a, u32 b) const { return a | b; }
};
struct Xor {
  u32 operator()(u32 a, u32 b) const { return a ^ b; }
};

// ---- bar.warp.sync -------------------------------------------------------------------------------

void syncWarp(Warp &warp, const Instruction &, Mask lanes) {
  warp.block.shadow.syncLanes(warp.index, lanes, warp.live);
}

}  // namespace

void addWarpOperations(OperationTable &t) {
  const auto meet = [&](const std::string &name, Handler handler, std::vector<Slot> slots) {
    slots.push_back(input<u32>);  // the member mask
    t.add(name, {handler, slots, Flow::WarpSync});
  };
  const std::vector<Slot> shuffled = {result<u32>, secondResult(result<bool>), input<u32>,
                                      input<u32>, input<u32>};
  meet("shfl.sync.up.b32", shuffle<Shuffle::Up>, shuffled);
  meet("shfl.sync.down.b32", shuffle<Shuffle::Down>, shuffled);
  meet("shfl.sync.bfly.b32", shuffle<Shuffle::Butterfly>, shuffled);
  meet("shfl.sync.idx.b32", shuffle<Shuffle::Index>, shuffled);
  meet("vote.sync.all.pred", voteAll, {result<bool>, input<bool>});
  meet("vote.sync.any.pred", voteAny, {result<bool>, input<bool>});
  meet("vote.sync.uni.pred", voteUniform, {result<bool>, input<bool>});
  meet("vote.sync.ballot.b32", ballot, {result<u32>, input<bool>});
  meet("match.any.sync.b32", matchAny<u32>, {result<u32>, input<u32>});
  meet("match.any.sync.b64", matchAny<u64>, {result<u32>, input<u64>});
  meet("match.all.sync.b32", matchAll<u32>, {result<u32>, secondResult(result<bool>), input<u32>});
  meet("match.all.sync.b64", matchAll<u64>, {result<u32>, secondResult(result<bool>), input<u64>});
  const std::vector<Slot> reduced = {result<u32>, input<u32>};
  for (const char *type : {".u32", ".s32"}) {
    meet(std::string("redux.sync.add") + type, reduce<u32, Add>, reduced);
  }
  meet("redux.sync.min.u32", reduce<u32, Minimum>, reduced);
  meet("redux.sync.max.u32", reduce<u32, Maximum>, reduced);
  meet("redux.sync.min.s32", reduce<s32, Minimum>, reduced);
  meet("redux.sync.max.s32", reduce<s32, Maximum>, reduced);
  meet("redux.sync.and.b32", reduce<u32, And>, reduced);
  meet("redux.sync.or.b32", reduce<u32, Or>, reduced);
  meet("redux.sync.xor.b32", reduce<u32, Xor>, reduced);
  meet("bar.warp.sync", syncWarp, {});
  t.add("activemask.b32", {activeMask, {result<u32>}});
}

}  // namespace ptx
