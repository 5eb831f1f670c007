// What the lanes of a warp do together: shuffles, votes, matches, reductions.
#include <algorithm>
#include <random>

#include "reference.h"

using namespace test;

namespace {

constexpr int LANES = 32;

// Runs instructions on whole warps; reference(lanes) gives the results of all 32 lanes from the
// arguments of all 32.
template <class R, class... A, class F>
void expectByWarp(const std::string &instructions, const std::vector<std::tuple<A...>> &arguments,
                  F reference) {
  const std::vector<R> results = evaluate<R>(instructions, arguments);
  for (std::size_t first = 0; first + LANES <= arguments.size(); first += LANES) {
    const std::vector<std::tuple<A...>> lanes(arguments.begin() + static_cast<long>(first),
                                              arguments.begin() + static_cast<long>(first) + LANES);
    const std::vector<R> expected = reference(lanes);
    for (int lane = 0; lane < LANES; ++lane) {
      check(same(results[first + lane], expected[lane]), __FILE__, __LINE__, [&] {
        std::string text = instructions + "  in lane " + std::to_string(lane) + " with";
        std::apply([&](const A &...a) { ((text += " " + describe(a)), ...); }, lanes[lane]);
        return text + " gives " + describe(results[first + lane]) + ", not " +
               describe(expected[lane]);
      });
    }
  }
}

// The same f for each lane.
template <class R, class... A, class F>
void expectInWarps(const std::string &instructions, const std::vector<std::tuple<A...>> &arguments,
                   F f) {
  expectByWarp<R>(instructions, arguments, [&](const std::vector<std::tuple<A...>> &lanes) {
    std::vector<R> results;
    for (int lane = 0; lane < LANES; ++lane) results.push_back(f(lanes, lane));
    return results;
  });
}

std::mt19937 generator(4);

std::uint32_t nextRandom() { return generator(); }

using U = std::uint32_t;

// Source: PTX ISA, "shfl.sync", the pseudo-code. Where a lane takes its value from, and whether that
// was in reach.
struct Source {
  int lane;
  bool inReach;
};

Source shuffleSource(const std::string &mode, int lane, U b, U c) {
  const int bval = static_cast<int>(b & 0x1f);
  const int cval = static_cast<int>(c & 0x1f);
  const int mask = static_cast<int>(c >> 8 & 0x1f);
  const int maxLane = (lane & mask) | (cval & ~mask);
  const int minLane = lane & mask;
  int j = 0;
  bool inReach = false;
  if (mode == "up") {
    j = lane - bval;
    inReach = j >= maxLane;
  } else if (mode == "down") {
    j = lane + bval;
    inReach = j <= maxLane;
  } else if (mode == "bfly") {
    j = lane ^ bval;
    inReach = j <= maxLane;
  } else {
    j = minLane | (bval & ~mask);
    inReach = j <= maxLane;
  }
  return {inReach ? j : lane, inReach};
}

}  // namespace

TEST("shfl.sync") {
  for (const char *mode : {"up", "down", "bfly", "idx"}) {
    std::vector<std::tuple<U, U, U>> arguments;
    const auto warp = [&](auto b, auto c) {
      for (int lane = 0; lane < LANES; ++lane)
        arguments.push_back({nextRandom(), b(lane), c(lane)});
    };
    // As compilers write it: segments of each power of two, with up's clamp at 0 and the others' at
    // the end of the segment; and without sense: different b and c in each lane.
    for (int width = 1; width <= 32; width *= 2) {
      const U segment = static_cast<U>(32 - width) << 8;
      for (const U b : {0u, 1u, 2u, 5u, 16u, 31u, 33u}) {
        warp([&](int) { return b; },
             [&](int) { return segment | (mode == std::string("up") ? 0 : 31); });
      }
    }
    for (int k = 0; k < 20; ++k) {
      warp([](int) { return static_cast<U>(nextRandom()); },
           [](int) { return static_cast<U>(nextRandom()); });
    }
    const std::string opcode = std::string("shfl.sync.") + mode + ".b32 ";
    expectInWarps<U>(opcode + "%d, %a0, %a1, %a2, 0xffffffff;", arguments,
                     [&](const auto &lanes, int lane) {
                       const auto [a, b, c] = lanes[lane];
                       return std::get<0>(lanes[shuffleSource(mode, lane, b, c).lane]);
                     });
    expectInWarps<bool>(opcode + "%r0|%d, %a0, %a1, %a2, 0xffffffff;", arguments,
                        [&](const auto &lanes, int lane) {
                          const auto [a, b, c] = lanes[lane];
                          return shuffleSource(mode, lane, b, c).inReach;
                        });
  }
}

// Only the odd lanes take part, and the others go another way meanwhile.
TEST("shfl.sync and votes among some lanes") {
  std::vector<std::tuple<U, bool>> arguments;
  for (int k = 0; k < 4 * LANES; ++k) arguments.push_back({nextRandom(), nextRandom() % 2 == 0});
  const std::string odd =
      "mov.u32 %r0, %laneid; and.b32 %r0, %r0, 1; setp.ne.u32 %p0, %r0, 0; mov.b32 %d, 7; ";
  expectInWarps<U>(
      odd + "@!%p0 bra JOIN; shfl.sync.bfly.b32 %d, %a0, 2, 31, 0xaaaaaaaa; JOIN:", arguments,
      [](const auto &lanes, int lane) { return lane % 2 == 1 ? std::get<0>(lanes[lane ^ 2]) : 7; });
  expectInWarps<U>(odd + "@!%p0 bra JOIN; vote.sync.ballot.b32 %d, %a1, 0xaaaaaaaa; JOIN:",
                   arguments, [](const auto &lanes, int lane) {
                     U votes = 0;
                     for (int k = 1; k < LANES; k += 2) votes |= U{std::get<1>(lanes[k])} << k;
                     return lane % 2 == 1 ? votes : 7;
                   });
  // Both halves vote, each by itself, at different places of the program.
  expectInWarps<U>(odd +
                       "@!%p0 bra EVEN; vote.sync.ballot.b32 %d, %a1, 0xaaaaaaaa; bra JOIN; EVEN: "
                       "vote.sync.ballot.b32 %d, %a1, 0x55555555; JOIN:",
                   arguments, [](const auto &lanes, int lane) {
                     U votes = 0;
                     for (int k = lane % 2; k < LANES; k += 2)
                       votes |= U{std::get<1>(lanes[k])} << k;
                     return votes;
                   });
  expectInWarps<U>(
      odd + "@!%p0 bra EVEN; activemask.b32 %d; bra JOIN; EVEN: activemask.b32 %d; JOIN:",
      arguments, [](const auto &, int lane) { return lane % 2 == 1 ? 0xaaaaaaaau : 0x55555555u; });
}

TEST("vote.sync") {
  std::vector<std::tuple<bool>> arguments;
  for (const int percent : {0, 100, 3, 50, 97, 50, 100, 0}) {
    for (int lane = 0; lane < LANES; ++lane) {
      arguments.push_back({static_cast<int>(nextRandom() % 100) < percent});
    }
  }
  const auto count = [](const auto &lanes) {
    return std::count(lanes.begin(), lanes.end(), std::tuple<bool>{true});
  };
  expectInWarps<bool>("vote.sync.all.pred %d, %a0, 0xffffffff;", arguments,
                      [&](const auto &lanes, int) { return count(lanes) == LANES; });
  expectInWarps<bool>("vote.sync.any.pred %d, %a0, 0xffffffff;", arguments,
                      [&](const auto &lanes, int) { return count(lanes) > 0; });
  expectInWarps<bool>("vote.sync.any.pred %d, !%a0, 0xffffffff;", arguments,
                      [&](const auto &lanes, int) { return count(lanes) < LANES; });
  expectInWarps<bool>("vote.sync.uni.pred %d, %a0, 0xffffffff;", arguments,
                      [&](const auto &lanes, int) { return count(lanes) % LANES == 0; });
  expectInWarps<U>("vote.sync.ballot.b32 %d, %a0, 0xffffffff;", arguments,
                   [](const auto &lanes, int) {
                     U votes = 0;
                     for (int k = 0; k < LANES; ++k) votes |= U{std::get<0>(lanes[k])} << k;
                     return votes;
                   });
  expectInWarps<U>("activemask.b32 %d;", arguments, [](const auto &, int) { return 0xffffffffu; });
}

namespace {

template <class T>
void matches(const std::string &type) {
  std::vector<std::tuple<T>> arguments;
  for (const int kinds : {1, 1, 2, 5, 31}) {
    for (int lane = 0; lane < LANES; ++lane) {
      // Equal in the lower half alone is not equal.
      arguments.push_back(
          {static_cast<T>(std::uint64_t{nextRandom() % kinds} << (8 * sizeof(T) - 6))});
    }
  }
  const auto equal = [](const auto &lanes, int lane) {
    U mask = 0;
    for (int k = 0; k < LANES; ++k) mask |= U{lanes[k] == lanes[lane]} << k;
    return mask;
  };
  expectInWarps<U>("match.any.sync." + type + " %d, %a0, 0xffffffff;", arguments, equal);
  expectInWarps<U>("match.all.sync." + type + " %d, %a0, 0xffffffff;", arguments,
                   [&](const auto &lanes, int lane) {
                     return equal(lanes, lane) == 0xffffffff ? 0xffffffffu : 0u;
                   });
  expectInWarps<bool>(
      "match.all.sync." + type + " %r0|%d, %a0, 0xffffffff;", arguments,
      [&](const auto &lanes, int lane) { return equal(lanes, lane) == 0xffffffff; });
}

template <class T, class F>
void reduction(const std::string &name, F combine) {
  std::vector<std::tuple<T>> arguments;
  for (const T value : values<T>()) arguments.push_back({value});
  while (arguments.size() % LANES != 0 || arguments.size() < 4 * LANES) {
    arguments.push_back({static_cast<T>(nextRandom())});
  }
  std::shuffle(arguments.begin(), arguments.end(), generator);
  expectInWarps<T>("redux.sync." + name + " %d, %a0, 0xffffffff;", arguments,
                   [&](const auto &lanes, int) {
                     T total = std::get<0>(lanes[0]);
                     for (int k = 1; k < LANES; ++k) total = combine(total, std::get<0>(lanes[k]));
                     return total;
                   });
}

}  // namespace

TEST("match.sync") {
  matches<std::uint32_t>("b32");
  matches<std::uint64_t>("b64");
}

TEST("redux.sync") {
  using S = std::int32_t;
  reduction<U>("add.u32", [](U a, U b) { return a + b; });
  reduction<S>("add.s32",
               [](S a, S b) { return static_cast<S>(static_cast<U>(a) + static_cast<U>(b)); });
  reduction<U>("min.u32", [](U a, U b) { return std::min(a, b); });
  reduction<U>("max.u32", [](U a, U b) { return std::max(a, b); });
  reduction<S>("min.s32", [](S a, S b) { return std::min(a, b); });
  reduction<S>("max.s32", [](S a, S b) { return std::max(a, b); });
  reduction<U>("and.b32", [](U a, U b) { return a & b; });
  reduction<U>("or.b32", [](U a, U b) { return a | b; });
  reduction<U>("xor.b32", [](U a, U b) { return a ^ b; });
}
