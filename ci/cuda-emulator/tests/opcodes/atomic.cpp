// atom and red, in global, shared and generic addresses: what they return, what they leave, and that
// nothing is lost when many threads use one place.
#include <algorithm>
#include <numeric>

#include "reference.h"

using namespace test;

namespace {

using U = std::uint32_t;

constexpr U THREADS = 64;

struct Place {
  const char *space;  // in the opcode
  // Instructions that leave the address of the thread's own 8 bytes in %there, as the opcode takes
  // it, and in %generic.
  const char *address;
};
const Place PLACES[] = {
    {".global", "mov.u64 %there, %memory; mov.u64 %generic, %there;"},
    {"", "mov.u64 %there, %memory; mov.u64 %generic, %there;"},
    {".shared",
     "mov.u64 %there, shared; add.u64 %there, %there, %offset; cvta.shared.u64 %generic, %there;"},
    {"",
     "mov.u64 %there, shared; add.u64 %there, %there, %offset; cvta.shared.u64 %generic, %there; "
     "mov.u64 %there, %generic;"}};

// Brings %a to the place, executes the instruction and stores %d and what is at the place then.
std::string kernel(const Place &place, const std::string &bits, const std::string &instruction) {
  const auto load = [&](const char *reg, int at) {
    return "  ld.global.b" + bits + " " + reg + ", [%in+" + std::to_string(at) + "];\n";
  };
  return R"(
.visible .entry atomics(.param .u64 in, .param .u64 memory, .param .u64 out)
{
  .shared .align 16 .b8 shared[512];
  .reg .b32 %tid;
  .reg .b)" +
         bits + R"( %a, %b, %c, %d;
  .reg .b64 %in, %memory, %out, %offset, %wide, %there, %generic;
  ld.param.u64 %in, [in];
  ld.param.u64 %memory, [memory];
  ld.param.u64 %out, [out];
  mov.u32 %tid, %tid.x;
  mul.wide.u32 %offset, %tid, 8;
  mul.wide.u32 %wide, %tid, 24;
  add.u64 %in, %in, %wide;
  add.u64 %memory, %memory, %offset;
  mul.wide.u32 %wide, %tid, 16;
  add.u64 %out, %out, %wide;
)" + load("%a", 0) +
         load("%b", 8) + load("%c", 16) + "  mov.b" + bits + " %d, 0;\n  " + place.address +
         "\n  st.b" + bits + " [%generic], %a;\n  " + instruction + "\n  ld.b" + bits +
         " %a, [%generic];\n  st.global.b" + bits + " [%out], %d;\n  st.global.b" + bits +
         " [%out+8], %a;\n  ret;\n}\n";
}

// f(a, b, c): what is in memory after the operation on a.
template <class T, class F>
void expectAtomic(const std::string &instruction, const Place &place, bool returns,
                  const std::vector<std::tuple<T, T, T>> &arguments, F f) {
  const Code code(kernel(place, std::to_string(8 * sizeof(T)), instruction));
  for (std::size_t first = 0; first < arguments.size(); first += THREADS) {
    std::vector<std::uint64_t> slots;
    for (std::size_t k = 0; k < THREADS; ++k) {
      const auto [a, b, c] = arguments[std::min(first + k, arguments.size() - 1)];
      slots.insert(slots.end(), {toSlot(a), toSlot(b), toSlot(c)});
    }
    const Buffer<std::uint64_t> in(slots);
    const Buffer<std::uint64_t> memory(THREADS);
    const std::vector<std::uint64_t> zeros(2 * THREADS);
    const Buffer<std::uint64_t> out(zeros);
    code.run("atomics", {1, 1, 1}, {THREADS, 1, 1}, 0, {}, in.address(), memory.address(),
             out.address());
    const auto result = out.read();
    for (std::size_t k = 0; k < THREADS && first + k < arguments.size(); ++k) {
      const auto [a, b, c] = arguments[first + k];
      const T before = fromSlot<T>(result[2 * k]);
      const T after = fromSlot<T>(result[2 * k + 1]);
      const T expected = f(a, b, c);
      const auto given = [&, a = a, b = b, c = c] {
        return instruction + " on " + describe(a) + " with " + describe(b) + " " + describe(c);
      };
      check(same(after, expected), __FILE__, __LINE__,
            [&] { return given() + " leaves " + describe(after) + ", not " + describe(expected); });
      const T returned = returns ? a : T{};
      check(toSlot(before) == toSlot(returned), __FILE__, __LINE__, [&] {
        return given() + " returns " + describe(before) + ", not " + describe(returned);
      });
    }
  }
}

template <class T>
std::vector<std::tuple<T, T, T>> pairsOf() {
  std::vector<std::tuple<T, T, T>> list;
  for (const auto &[a, b] : product(fewValues<T>(), fewValues<T>())) list.push_back({a, b, T{}});
  return list;
}

template <class T, class F>
void expectOperation(const std::string &operation, F f) {
  for (const Place &place : PLACES) {
    const auto onTwo = [&](T a, T b, T) { return f(a, b); };
    expectAtomic<T>("atom" + std::string(place.space) + "." + operation + " %d, [%there], %b;",
                    place, true, pairsOf<T>(), onTwo);
    if (operation.rfind("exch", 0) == 0) continue;
    expectAtomic<T>("red" + std::string(place.space) + "." + operation + " [%there], %b;", place,
                    false, pairsOf<T>(), onTwo);
  }
}

template <class T>
void integers(const std::string &type) {
  using W = std::make_unsigned_t<T>;
  expectOperation<T>("add." + type, [](T a, T b) { return static_cast<T>(W(a) + W(b)); });
  expectOperation<T>("min." + type, [](T a, T b) { return std::min(a, b); });
  expectOperation<T>("max." + type, [](T a, T b) { return std::max(a, b); });
}

template <class T>
void bits(const std::string &type) {
  expectOperation<T>("and." + type, [](T a, T b) { return a & b; });
  expectOperation<T>("or." + type, [](T a, T b) { return a | b; });
  expectOperation<T>("xor." + type, [](T a, T b) { return a ^ b; });
  expectOperation<T>("exch." + type, [](T, T b) { return b; });
}

template <class T>
void compareAndSwap(const std::string &type) {
  std::vector<std::tuple<T, T, T>> arguments;
  for (const auto &[a, b] : product(fewValues<T>(), fewValues<T>())) {
    arguments.push_back({a, b, static_cast<T>(a + 1)});
    arguments.push_back({a, a, static_cast<T>(b + 1)});
  }
  for (const Place &place : PLACES) {
    expectAtomic<T>("atom" + std::string(place.space) + ".cas." + type + " %d, [%there], %b, %c;",
                    place, true, arguments, [](T a, T b, T c) { return a == b ? c : a; });
  }
}

template <class T>
T added(T a, T b) {
  return encodeAs<T>(static_cast<long double>(decode(a)) + decode(b));
}

template <class T, class P>
void sixteens(const std::string &type) {
  expectOperation<T>("add.noftz." + type, [](T a, T b) { return added(a, b); });
  expectOperation<P>("add.noftz." + type + "x2", [](P a, P b) {
    return P{added(a.low, b.low), added(a.high, b.high)};
  });
}

}  // namespace

TEST("atomic arithmetic of integers") {
  integers<std::uint32_t>("u32");
  integers<std::int32_t>("s32");
  integers<std::uint64_t>("u64");
  integers<std::int64_t>("s64");
  expectOperation<U>("inc.u32", [](U a, U b) { return a >= b ? 0 : a + 1; });
  expectOperation<U>("dec.u32", [](U a, U b) { return a == 0 || a > b ? b : a - 1; });
}

TEST("atomic sums of floats") {
  expectOperation<float>("add.f32", [](float a, float b) { return a + b; });
  expectOperation<double>("add.f64", [](double a, double b) { return a + b; });
  sixteens<Half, HalfPair>("f16");
  sixteens<Bfloat, BfloatPair>("bf16");
}

TEST("atomic logic, exchange, compare and swap") {
  bits<std::uint32_t>("b32");
  bits<std::uint64_t>("b64");
  compareAndSwap<std::uint16_t>("b16");
  compareAndSwap<std::uint32_t>("b32");
  compareAndSwap<std::uint64_t>("b64");
}

// 8 blocks on several workers, all adding to one word: every value is returned to one thread.
TEST("atomics of many threads on one place") {
  const Code code(R"(
.visible .entry tickets(.param .u64 counter, .param .u64 out, .param .u64 shares)
{
  .shared .align 4 .b32 local;
  .reg .pred %p;
  .reg .b32 %tid, %block, %size, %r<4>;
  .reg .b64 %counter, %out, %shares, %offset;
  ld.param.u64 %counter, [counter];
  ld.param.u64 %out, [out];
  ld.param.u64 %shares, [shares];
  mov.u32 %tid, %tid.x;
  mov.u32 %block, %ctaid.x;
  mov.u32 %size, %ntid.x;
  setp.eq.u32 %p, %tid, 0;
  @%p st.shared.b32 [local], 0;
  bar.sync 0;
  atom.relaxed.gpu.global.add.u32 %r1, [%counter], 1;
  red.shared.add.u32 [local], %tid;
  mad.lo.u32 %r2, %block, %size, %tid;
  mul.wide.u32 %offset, %r2, 4;
  add.u64 %out, %out, %offset;
  st.global.b32 [%out], %r1;
  bar.sync 0;
  ld.shared.b32 %r3, [local];
  mul.wide.u32 %offset, %block, 4;
  add.u64 %shares, %shares, %offset;
  @%p st.global.b32 [%shares], %r3;
  ret;
}
)");
  constexpr U BLOCKS = 8, SIZE = 96;
  const Buffer<U> counter(std::vector<U>(1, 0));
  const Buffer<U> out(BLOCKS * SIZE);
  const Buffer<U> shares(BLOCKS);
  ptx::Options options;
  options.workers = 4;
  code.run("tickets", {BLOCKS, 1, 1}, {SIZE, 1, 1}, 0, options, counter.address(), out.address(),
           shares.address());
  CHECK_EQUAL(counter.read()[0], BLOCKS * SIZE);
  auto tickets = out.read();
  std::sort(tickets.begin(), tickets.end());
  for (U k = 0; k < tickets.size(); ++k) CHECK_EQUAL(tickets[k], k);
  for (const U share : shares.read()) CHECK_EQUAL(share, SIZE * (SIZE - 1) / 2);
}
