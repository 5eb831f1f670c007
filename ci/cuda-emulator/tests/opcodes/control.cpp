// Branches, calls, predicates that guard, barriers as to what they let happen, special registers.
#include <algorithm>

#include "reference.h"

using namespace test;

using U = std::uint32_t;

TEST("guards") {
  for (const bool negated : {false, true}) {
    expectAll<U>("mov.b32 %d, %a0; @" + std::string(negated ? "!" : "") + "%a2 mov.b32 %d, %a1;",
                 product(fewValues<U>(), fewValues<U>(), std::vector<bool>{false, true}),
                 [&](U a, U b, bool c) { return c != negated ? b : a; });
  }
}

TEST("branches that part the lanes, and meet again") {
  // Nested ifs, a loop of a different length in each lane, an exit from its middle.
  const std::string collatz = R"(
    mov.b32 %d, 0;
    and.b32 %r1, %a0, 1023;
    add.u32 %r1, %r1, 1;
  LOOP:
    setp.eq.u32 %p1, %r1, 1;
    @%p1 bra DONE;
    and.b32 %r2, %r1, 1;
    setp.eq.u32 %p2, %r2, 0;
    @%p2 bra EVEN;
    mad.lo.u32 %r1, %r1, 3, 1;
    bra.uni NEXT;
  EVEN:
    shr.u32 %r1, %r1, 1;
  NEXT:
    add.u32 %d, %d, 1;
    setp.lt.u32 %p3, %d, 60;
    @%p3 bra LOOP;
  DONE:)";
  expectAll<U>(collatz, combinations<U>(), [](U a) {
    U n = (a & 1023) + 1;
    U steps = 0;
    while (n != 1 && steps < 60) {
      n = n % 2 == 0 ? n / 2 : 3 * n + 1;
      ++steps;
    }
    return steps;
  });
  // Having met again, all lanes vote together.
  expectAll<U>(
      "and.b32 %r1, %a0, 3; setp.eq.u32 %p1, %r1, 0; @%p1 bra A; setp.eq.u32 %p1, %r1, 1; @%p1 bra "
      "B; "
      "mov.b32 %d, 3; bra C; A: mov.b32 %d, 1; bra C; B: mov.b32 %d, 2; C: activemask.b32 %r2; "
      "setp.ne.u32 %p2, %r2, -1; @%p2 mov.b32 %d, 0;",
      std::vector<std::tuple<U>>(values<U>().begin(), values<U>().begin() + 32), [](U a) {
        return (a & 3) == 0 ? 1u : (a & 3) == 1 ? 2u : 3u;
      });
}

TEST("brx.idx") {
  expectAll<U>(
      "and.b32 %r1, %a0, 3; TABLE: .branchtargets A, B, C, A; brx.idx %r1, TABLE; A: mov.b32 %d, "
      "10; "
      "bra E; B: mov.b32 %d, 20; bra E; C: mov.b32 %d, 30; E:",
      combinations<U>(), [](U a) {
        constexpr U RESULTS[] = {10, 20, 30, 10};
        return RESULTS[a & 3];
      });
}

TEST("calls") {
  const Code code(R"(
.func (.param .b32 result) hypotenuse(.param .b32 a, .param .b32 b)
{
  .reg .b32 %r<4>;
  ld.param.b32 %r1, [a];
  ld.param.b32 %r2, [b];
  mul.lo.u32 %r1, %r1, %r1;
  mad.lo.u32 %r1, %r2, %r2, %r1;
  st.param.b32 [result], %r1;
  ret;
}
.func (.reg .b32 %result) half(.reg .b32 %a)
{
  .reg .pred %p;
  setp.eq.u32 %p, %a, 1;
  mov.b32 %result, 7;
  @%p ret;
  shr.u32 %result, %a, 1;
  ret;
}
.visible .entry calls(.param .u64 out)
{
  .reg .b32 %r<8>;
  .reg .b64 %out, %offset;
  ld.param.u64 %out, [out];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %offset, %r1, 4;
  add.u64 %out, %out, %offset;
  {
    .param .b32 result;
    .param .b32 first;
    .param .b32 second;
    st.param.b32 [first], %r1;
    st.param.b32 [second], 3;
    call.uni (result), hypotenuse, (first, second);
    ld.param.b32 %r2, [result];
  }
  call (%r3), half, (%r1);
  call (%r4), half, (%r2);
  add.u32 %r2, %r2, %r3;
  mad.lo.u32 %r2, %r4, 1000, %r2;
  st.global.b32 [%out], %r2;
  ret;
}
)");
  const Buffer<U> out(32);
  code.run("calls", {1, 1, 1}, {32, 1, 1}, 0, {}, out.address());
  const auto result = out.read();
  for (U k = 0; k < 32; ++k) {
    const auto half = [](U a) { return a == 1 ? 7 : a / 2; };
    CHECK_EQUAL(result[k], k * k + 9 + half(k) + 1000 * half(k * k + 9));
  }
}

TEST("exit and ret end a thread alone") {
  const Code code(R"(
.visible .entry ends(.param .u64 out)
{
  .reg .pred %p;
  .reg .b32 %r<4>;
  .reg .b64 %out, %offset;
  ld.param.u64 %out, [out];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %offset, %r1, 4;
  add.u64 %out, %out, %offset;
  st.global.b32 [%out], 1;
  setp.lt.u32 %p, %r1, 5;
  @%p exit;
  st.global.b32 [%out], 2;
  setp.lt.u32 %p, %r1, 40;
  @%p ret;
  nanosleep.u32 100;
  st.global.b32 [%out], 3;
  ret.uni;
}
)");
  const Buffer<U> out(64);
  code.run("ends", {1, 1, 1}, {64, 1, 1}, 0, {}, out.address());
  const auto result = out.read();
  for (U k = 0; k < 64; ++k) CHECK_EQUAL(result[k], k < 5 ? 1u : k < 40 ? 2u : 3u);
}

// Each spelling of a barrier that makes all threads wait: what one warp writes the other reads then.
TEST("barriers") {
  const auto text = [](const std::string &barrier) {
    return R"(
.visible .entry meets(.param .u64 out)
{
  .shared .align 4 .b8 shared[256];
  .reg .pred %p<4>;
  .reg .b32 %r<8>, %tid, %place;
  .reg .b64 %out, %offset;
  ld.param.u64 %out, [out];
  mov.u32 %tid, %tid.x;
  mul.wide.u32 %offset, %tid, 4;
  add.u64 %out, %out, %offset;
  shl.b32 %place, %tid, 2;
  mov.u32 %r1, shared;
  add.u32 %r2, %place, %r1;
  st.shared.b32 [%r2], %tid;
  setp.lt.u32 %p1, %tid, 21;
  mov.u32 %r4, 0;
  )" + barrier +
           R"(
  xor.b32 %place, %place, 252;
  add.u32 %r2, %place, %r1;
  ld.shared.b32 %r3, [%r2];
  mad.lo.u32 %r3, %r4, 1000, %r3;
  st.global.b32 [%out], %r3;
  ret;
}
)";
  };
  const auto expectMeeting = [&](const std::string &barrier, U outcome) {
    const Code code(text(barrier));
    const Buffer<U> out(64);
    code.run("meets", {1, 1, 1}, {64, 1, 1}, 0, {}, out.address());
    const auto result = out.read();
    for (U k = 0; k < 64; ++k) {
      check(result[k] == (63 - k) + 1000 * outcome, __FILE__, __LINE__,
            [&] { return barrier + ": thread " + show(k) + " has " + show(result[k]); });
    }
  };
  const std::string selected = " selp.u32 %r4, 1, 0, %p2;";
  for (const char *prefix : {"bar", "bar.cta", "barrier", "barrier.cta"}) {
    for (const char *aligned : {"", ".aligned"}) {
      const std::string name = prefix;
      if (name.substr(0, 7) != "barrier" && *aligned) continue;
      expectMeeting(name + ".sync" + aligned + " 3;", 0);
      expectMeeting(name + ".sync" + aligned + " 3, 64;", 0);
      expectMeeting(name + ".red.popc" + aligned + ".u32 %r4, 2, %p1;", 21);
      expectMeeting(name + ".red.popc" + aligned + ".u32 %r4, 2, 64, !%p1;", 43);
      expectMeeting(name + ".red.and" + aligned + ".pred %p2, 1, %p1;" + selected, 0);
      expectMeeting(name + ".red.or" + aligned + ".pred %p2, 1, %p1;" + selected, 1);
      // One warp arrives and the other waits, both ways, so that all have met.
      expectMeeting("{ setp.lt.u32 %p3, %tid, 32; @%p3 bra FIRST; " + name + ".arrive" + aligned +
                        " 4, 64; " + name + ".sync" + aligned + " 5, 64; bra JOIN; FIRST: " + name +
                        ".sync" + aligned + " 4, 64; " + name + ".arrive" + aligned +
                        " 5, 64; JOIN: }",
                    0);
    }
  }
  // True for all, false for all.
  expectMeeting("setp.lt.u32 %p1, %tid, 64; bar.red.and.pred %p2, 1, %p1;" + selected, 1);
  expectMeeting("setp.gt.u32 %p1, %tid, 64; bar.red.or.pred %p2, 1, %p1;" + selected, 0);
  // Of a warp.
  expectMeeting("bar.warp.sync -1; bar.sync 0;", 0);
}

TEST("special registers") {
  struct Register {
    const char *name;
    U (*value)(U x, U y, U z, U block);
  };
  // Blocks of 5 x 3 x 4 threads, a grid of 2 x 3 x 2.
  const auto linear = [](U x, U y, U z) { return x + 5 * (y + 3 * z); };
  static const auto lane = [](U x, U y, U z) { return (x + 5 * (y + 3 * z)) % 32; };
  const Register registers[] = {
      {"%tid.x", [](U x, U, U, U) { return x; }},
      {"%tid.y", [](U, U y, U, U) { return y; }},
      {"%tid.z", [](U, U, U z, U) { return z; }},
      {"%ntid.x", [](U, U, U, U) { return 5u; }},
      {"%ntid.y", [](U, U, U, U) { return 3u; }},
      {"%ntid.z", [](U, U, U, U) { return 4u; }},
      {"%ctaid.x", [](U, U, U, U block) { return block % 2; }},
      {"%ctaid.y", [](U, U, U, U block) { return block / 2 % 3; }},
      {"%ctaid.z", [](U, U, U, U block) { return block / 6; }},
      {"%nctaid.x", [](U, U, U, U) { return 2u; }},
      {"%nctaid.y", [](U, U, U, U) { return 3u; }},
      {"%nctaid.z", [](U, U, U, U) { return 2u; }},
      {"%laneid", [](U x, U y, U z, U) { return lane(x, y, z); }},
      {"%warpid", [](U x, U y, U z, U) { return (x + 5 * (y + 3 * z)) / 32; }},
      {"%nwarpid", [](U, U, U, U) { return 2u; }},
      {"%lanemask_eq", [](U x, U y, U z, U) { return 1u << lane(x, y, z); }},
      {"%lanemask_lt", [](U x, U y, U z, U) { return (1u << lane(x, y, z)) - 1; }},
      {"%lanemask_le", [](U x, U y, U z, U) { return (2u << lane(x, y, z)) - 1; }},
      {"%lanemask_gt", [](U x, U y, U z, U) { return ~((2u << lane(x, y, z)) - 1); }},
      {"%lanemask_ge", [](U x, U y, U z, U) { return ~((1u << lane(x, y, z)) - 1); }},
      {"%dynamic_smem_size", [](U, U, U, U) { return 32u; }},
      {"%total_smem_size", [](U, U, U, U) { return 80u; }},
      {"WARP_SZ", [](U, U, U, U) { return 32u; }},
  };
  for (const Register &each : registers) {
    const Code code(R"(
.visible .entry reads(.param .u64 out)
{
  .shared .align 16 .b8 fixed[48];
  .reg .b32 %r<8>;
  .reg .b64 %out, %offset;
  ld.param.u64 %out, [out];
  mov.u32 %r1, %ctaid.z;
  mad.lo.u32 %r1, %r1, 3, %ctaid.y;
  mad.lo.u32 %r1, %r1, 2, %ctaid.x;
  mad.lo.u32 %r1, %r1, 4, %tid.z;
  mad.lo.u32 %r1, %r1, 3, %tid.y;
  mad.lo.u32 %r1, %r1, 5, %tid.x;
  mul.wide.u32 %offset, %r1, 4;
  add.u64 %out, %out, %offset;
  mov.u32 %r2, )" + std::string(each.name) +
                    R"(;
  st.shared.b32 [fixed], 0;
  st.global.b32 [%out], %r2;
  ret;
}
)");
    const Buffer<U> out(12 * 60);
    ptx::Options options;
    options.checkRaces = false;  // all threads write one word, so that the array is not left out
    code.run("reads", {2, 3, 2}, {5, 3, 4}, 32, options, out.address());
    const auto result = out.read();
    for (U block = 0; block < 12; ++block) {
      for (U z = 0; z < 4; ++z) {
        for (U y = 0; y < 3; ++y) {
          for (U x = 0; x < 5; ++x) {
            const U actual = result[block * 60 + linear(x, y, z)];
            const U expected = each.value(x, y, z, block);
            check(actual == expected, __FILE__, __LINE__, [&] {
              return std::string(each.name) + " is " + show(actual) + ", not " + show(expected);
            });
          }
        }
      }
    }
  }
}
