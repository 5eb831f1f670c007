// ld, st, mov, cvta, prefetch, fences and cp.async, as to what they move; what they must not do is
// in checks.cpp.
#include <numeric>

#include "reference.h"

using namespace test;

namespace {

struct Type {
  const char *name;
  int bytes;
  char kind;  // of the name: b, u, s, f
};
constexpr Type TYPES[] = {{"b8", 1, 'b'},  {"u8", 1, 'u'},  {"s8", 1, 's'},  {"b16", 2, 'b'},
                          {"u16", 2, 'u'}, {"s16", 2, 's'}, {"b32", 4, 'b'}, {"u32", 4, 'u'},
                          {"s32", 4, 's'}, {"f32", 4, 'f'}, {"b64", 8, 'b'}, {"u64", 8, 'u'},
                          {"s64", 8, 's'}, {"f64", 8, 'f'}};

// Bytes without a pattern that could hide an exchange.
std::vector<std::uint8_t> noise(std::size_t count) {
  std::vector<std::uint8_t> bytes(count);
  std::uint32_t state = 12345;
  for (std::uint8_t &byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::uint8_t>(state >> 24);
  }
  return bytes;
}

// "{%v0, %v1}", or "%v0" for one.
std::string registers(const char *name, int count) {
  std::string list;
  for (int k = 0; k < count; ++k)
    list += (k == 0 ? "" : ", ") + std::string(name) + std::to_string(k);
  return count == 1 ? list : "{" + list + "}";
}

std::string vectorOf(int count) { return count == 1 ? "" : ".v" + std::to_string(count); }

int registerBits(const Type &type) { return std::max(16, 8 * type.bytes); }

// 64 threads, each with 16 bytes of its own in `in` and `out` (global addresses %in and %out).
std::string transferKernel(const std::string &declarations, const std::string &body) {
  return R"(
.visible .entry transfer(.param .u64 in, .param .u64 out)
{
  .reg .b32 %thread, %offset;
  .reg .b64 %in, %out, %wide, %there;
)" + declarations +
         R"(
  ld.param.u64 %in, [in];
  ld.param.u64 %out, [out];
  mov.u32 %thread, %tid.x;
  mul.lo.u32 %offset, %thread, 16;
  cvt.u64.u32 %wide, %offset;
  add.u64 %in, %in, %wide;
  add.u64 %out, %out, %wide;
)" + body +
         "  ret;\n}\n";
}

constexpr std::uint32_t THREADS = 64;

std::vector<std::uint8_t> transfer(const std::string &text,
                                   const std::vector<std::uint8_t> &source) {
  const Code code(text);
  const Buffer<std::uint8_t> in(source);
  const std::vector<std::uint8_t> zeros(source.size());
  const Buffer<std::uint8_t> out(zeros);
  code.run("transfer", {1, 1, 1}, {THREADS, 1, 1}, 0, {}, in.address(), out.address());
  return out.read();
}

void expectBytes(const std::string &what, const std::vector<std::uint8_t> &actual,
                 const std::vector<std::uint8_t> &expected) {
  check(actual == expected, __FILE__, __LINE__, [&] {
    std::size_t at = 0;
    while (at < actual.size() && actual[at] == expected[at]) ++at;
    return what + ": byte " + std::to_string(at) + " is " + std::to_string(actual[at]) + ", not " +
           std::to_string(expected[at]);
  });
}

// The first `bytes` of each 16 bytes, and zeros.
std::vector<std::uint8_t> prefixes(std::vector<std::uint8_t> bytes, int kept) {
  for (std::size_t k = 0; k < bytes.size(); ++k) {
    if (static_cast<int>(k % 16) >= kept) bytes[k] = 0;
  }
  return bytes;
}

// Through a place of this space and back.
void throughSpace(const std::string &space, const std::string &declarations,
                  const std::string &address) {
  for (const Type &type : TYPES) {
    for (const int count : {1, 2, 4}) {
      if (type.bytes * count > 16) continue;
      const std::string opcode = vectorOf(count) + "." + type.name + " ";
      const std::string registerList =
          "  .reg .b" + std::to_string(registerBits(type)) + " %v<4>, %w<4>;\n";
      const std::string body = address + "  ld.global" + opcode + registers("%v", count) +
                               ", [%in];\n" + "  st" + space + opcode + "[%there], " +
                               registers("%v", count) + ";\n" + "  ld" + space + opcode +
                               registers("%w", count) + ", [%there];\n" + "  st.global" + opcode +
                               "[%out], " + registers("%w", count) + ";\n";
      const auto source = noise(16 * THREADS);
      expectBytes(space + opcode,
                  transfer(transferKernel(declarations + registerList, body), source),
                  prefixes(source, type.bytes * count));
    }
  }
}

}  // namespace

TEST("ld and st in every space, type and vector length") {
  throughSpace(".global", "", "  mov.u64 %there, %out;\n");
  throughSpace("", "", "  mov.u64 %there, %out;\n");
  const std::string shared = "  .shared .align 16 .b8 shared[1024];\n";
  const std::string toShared =
      "  mov.u64 %there, shared;\n  cvt.u64.u32 %wide, %offset;\n  add.u64 %there, %there, "
      "%wide;\n";
  throughSpace(".shared", shared, toShared);
  throughSpace("", shared, toShared + "  cvta.shared.u64 %there, %there;\n");
  const std::string local = "  .local .align 16 .b8 local[32];\n";
  const std::string toLocal = "  mov.u64 %there, local;\n  add.u64 %there, %there, 16;\n";
  throughSpace(".local", local, toLocal);
  throughSpace("", local, toLocal + "  cvta.local.u64 %there, %there;\n");
}

TEST("constants and module variables") {
  for (const Type &type : TYPES) {
    for (const int count : {1, 2, 4}) {
      if (type.bytes * count > 16) continue;
      const auto source = noise(16 * THREADS);
      std::string initialiser;
      for (const std::uint8_t byte : source) {
        initialiser += (initialiser.empty() ? "" : ", ") + std::to_string(byte);
      }
      const std::string opcode = vectorOf(count) + "." + type.name + " ";
      for (const char *space : {".const", ".global"}) {
        const std::string table =
            std::string(space) + " .align 16 .b8 table[1024] = {" + initialiser + "};\n";
        const std::string list = "  .reg .b" + std::to_string(registerBits(type)) + " %v<4>;\n";
        const std::string body =
            "  mov.u64 %there, table;\n  add.u64 %there, %there, %wide;\n  ld" +
            std::string(space) + opcode + registers("%v", count) + ", [%there];\n  st.global" +
            opcode + "[%out], " + registers("%v", count) + ";\n";
        expectBytes(space + opcode, transfer(table + transferKernel(list, body), source),
                    prefixes(source, type.bytes * count));
      }
    }
  }
}

TEST("parameters") {
  const auto source = noise(64);
  for (const Type &type : TYPES) {
    for (const int count : {1, 2, 4}) {
      if (type.bytes * count > 16) continue;
      const std::string opcode = vectorOf(count) + "." + type.name + " ";
      const Code code(R"(
.visible .entry parameters(.param .u64 out, .param .align 16 .b8 block[64])
{
  .reg .b)" + std::to_string(registerBits(type)) +
                      R"( %v<4>;
  .reg .b64 %out;
  ld.param.u64 %out, [out];
  ld.param)" + opcode +
                      registers("%v", count) + ", [block+32];\n  st.global" + opcode + "[%out], " +
                      registers("%v", count) + ";\n  ret;\n}\n");
      struct Block {
        std::uint8_t bytes[64];
      } block;
      std::copy(source.begin(), source.end(), block.bytes);
      const std::vector<std::uint8_t> zeros(16);
      const Buffer<std::uint8_t> out(zeros);
      code.run("parameters", {1, 1, 1}, {1, 1, 1}, 0, {}, out.address(), block);
      expectBytes("ld.param" + opcode, out.read(),
                  prefixes({source.begin() + 32, source.begin() + 48}, type.bytes * count));
    }
  }
}

// A register may be wider than what is loaded: .u and .b fill it with zeros, .s with the sign.
TEST("loads into wider registers") {
  for (const Type &type : TYPES) {
    if (type.kind == 'f') continue;
    for (const int bits : {32, 64}) {
      if (bits < 8 * type.bytes) continue;
      const std::string wide = "b" + std::to_string(bits);
      const auto source = noise(16 * THREADS);
      const auto result =
          transfer(transferKernel("  .reg ." + wide + " %v0;\n",
                                  "  ld.global." + std::string(type.name) +
                                      " %v0, [%in];\n  st.global." + wide + " [%out], %v0;\n"),
                   source);
      auto expected = prefixes(source, type.bytes);
      for (std::uint32_t thread = 0; thread < THREADS; ++thread) {
        const bool negative = expected[16 * thread + type.bytes - 1] & 0x80;
        for (int k = type.bytes; k < bits / 8; ++k) {
          expected[16 * thread + k] = type.kind == 's' && negative ? 0xff : 0;
        }
      }
      expectBytes(std::string("ld.") + type.name + " into " + wide, result, expected);
    }
  }
}

TEST("cache hints and memory ordering change nothing") {
  for (const char *load :
       {"ld.global.nc.b32", "ld.global.ca.b32", "ld.global.cg.b32", "ld.volatile.global.b32",
        "ld.relaxed.gpu.global.b32", "ld.acquire.gpu.global.b32",
        "ld.global.nc.L1::no_allocate.b32", "ld.global.L2::128B.b32"}) {
    const auto source = noise(16 * THREADS);
    expectBytes(
        load,
        transfer(transferKernel("  .reg .b32 %v0;\n", "  " + std::string(load) +
                                                          " %v0, [%in];\n  st.global.wt.b32 "
                                                          "[%out], %v0;\n"),
                 source),
        prefixes(source, 4));
  }
  std::string body;
  for (const char *scope : {"cta", "gl", "sys"}) body += "  membar." + std::string(scope) + ";\n";
  for (const char *fence : {"fence.", "fence.sc.", "fence.acq_rel."}) {
    for (const char *scope : {"cta", "gpu", "sys"})
      body += std::string("  ") + fence + scope + ";\n";
  }
  for (const char *level : {"L1", "L2"}) {
    body +=
        std::string("  prefetch.") + level + " [%in];\n  prefetch.global." + level + " [%in];\n";
    body += std::string("  prefetch.local.") + level + " [local];\n";
  }
  body += "  prefetchu.L1 [%in];\n";
  body += "  ld.global.v4.b32 {%v0, %v1, %v2, %v3}, [%in];\n";
  body += "  st.global.v4.b32 [%out], {%v0, %v1, %v2, %v3};\n";
  const auto source = noise(16 * THREADS);
  expectBytes(
      "fences and prefetches",
      transfer(transferKernel("  .reg .b32 %v<4>;\n  .local .b8 local[4];\n", body), source),
      source);
}

TEST("mov and its vectors") {
  for (const char *type : {"b16", "u16", "s16", "f16", "bf16"}) {
    expect<std::uint16_t, std::uint16_t>("mov." + std::string(type),
                                         [](std::uint16_t a) { return a; });
  }
  for (const char *type : {"b32", "u32", "s32", "f32"}) {
    expect<std::uint32_t, std::uint32_t>("mov." + std::string(type),
                                         [](std::uint32_t a) { return a; });
  }
  for (const char *type : {"b64", "u64", "s64", "f64"}) {
    expect<std::uint64_t, std::uint64_t>("mov." + std::string(type),
                                         [](std::uint64_t a) { return a; });
  }
  // The first element of a vector is the lowest part.
  expectAll<std::uint32_t>(
      "mov.b32 %d, {%a0, %a1};", combinations<std::uint16_t, std::uint16_t>(),
      [](std::uint16_t a, std::uint16_t b) { return a | std::uint32_t{b} << 16; });
  expectAll<std::uint64_t>(
      "mov.b64 %d, {%a0, %a1};", combinations<std::uint32_t, std::uint32_t>(),
      [](std::uint32_t a, std::uint32_t b) { return a | std::uint64_t{b} << 32; });
  expectAll<std::uint64_t>(
      "mov.b64 %d, {%a0, %a1, %a2, %a3};",
      combinations<std::uint16_t, std::uint16_t, std::uint16_t, std::uint16_t>(),
      [](std::uint16_t a, std::uint16_t b, std::uint16_t c, std::uint16_t d) {
        return a | std::uint64_t{b} << 16 | std::uint64_t{c} << 32 | std::uint64_t{d} << 48;
      });
  for (const int part : {0, 1}) {
    expectAll<std::uint16_t>(part == 0 ? "mov.b32 {%d, %h0}, %a0;" : "mov.b32 {%h0, %d}, %a0;",
                             combinations<std::uint32_t>(), [&](std::uint32_t a) {
                               return static_cast<std::uint16_t>(a >> 16 * part);
                             });
    expectAll<std::uint32_t>(part == 0 ? "mov.b64 {%d, %r0}, %a0;" : "mov.b64 {%r0, %d}, %a0;",
                             combinations<std::uint64_t>(), [&](std::uint64_t a) {
                               return static_cast<std::uint32_t>(a >> 32 * part);
                             });
  }
  for (int part = 0; part < 4; ++part) {
    std::string list[4] = {"%h0", "%h1", "%h2", "%h3"};
    list[part] = "%d";
    expectAll<std::uint16_t>(
        "mov.b64 {" + list[0] + ", " + list[1] + ", " + list[2] + ", " + list[3] + "}, %a0;",
        combinations<std::uint64_t>(),
        [&](std::uint64_t a) { return static_cast<std::uint16_t>(a >> 16 * part); });
  }
  // Reads all sources before it writes.
  expectAll<std::uint32_t>(
      "mov.b32 {%h0, %h1}, %a0; mov.b32 %r0, {%h1, %h0}; mov.b32 {%h1, %h0}, %r0; mov.b32 %d, "
      "{%h0, "
      "%h1};",
      combinations<std::uint32_t>(), [](std::uint32_t a) { return a; });
}

TEST("cvta and isspacep") {
  const std::string declarations = R"(
  .reg .pred %p<8>;
  .reg .b32 %v<4>, %bit;
  .shared .align 16 .b8 shared[1024];
  .local .align 16 .b8 local[64];
)";
  // For a generic address into each space: what isspacep says, as bits, and whether cvta.to leads
  // back to where it came from.
  struct Case {
    const char *space;
    const char *place;
    std::uint32_t bits;
  };
  const Case cases[] = {{"global", "%out", 1}, {"shared", "shared", 2}, {"local", "local", 4}};
  for (const Case &each : cases) {
    std::string body = std::string("  mov.u64 %there, ") + each.place + ";\n  cvta." + each.space +
                       ".u64 %wide, %there;\n  mov.u32 %v0, 0;\n";
    int bit = 1;
    for (const char *space : {"global", "shared", "local"}) {
      body += std::string("  isspacep.") + space + " %p1, %wide;\n  selp.u32 %bit, " +
              std::to_string(bit) + ", 0, %p1;\n  or.b32 %v0, %v0, %bit;\n";
      bit *= 2;
    }
    body += std::string("  cvta.to.") + each.space +
            ".u64 %wide, %wide;\n  setp.eq.u64 %p2, %wide, %there;\n  selp.u32 %v1, 1, 0, %p2;\n"
            "  st.global.v2.u32 [%out], {%v0, %v1};\n";
    const std::vector<std::uint8_t> source(16 * THREADS);
    const auto result = transfer(transferKernel(declarations, body), source);
    CHECK_EQUAL(std::uint32_t{result[0]}, each.bits);
    CHECK_EQUAL(int{result[4]}, 1);
  }
  // Constants lie in an address range of their own or in that of global memory: the way there and
  // back is what counts. The same for parameters.
  const std::string body = R"(
  mov.u64 %there, table;
  cvta.const.u64 %wide, %there;
  ld.u32 %v0, [%wide];
  cvta.to.const.u64 %wide, %wide;
  ld.const.u32 %v1, [%wide];
  isspacep.const %p1, %wide;
  mov.u64 %there, in;
  cvta.param.u64 %wide, %there;
  ld.u32 %v2, [%wide];
  isspacep.param %p1, %wide;
  cvta.to.param.u64 %wide, %wide;
  ld.param.u32 %v3, [%wide];
  selp.u32 %bit, 1, 0, %p1;
  add.u32 %v3, %v3, %bit;
  st.global.v4.u32 [%out], {%v0, %v1, %v2, %v3};
)";
  const Code code(".const .u32 table[1] = {77};\n" + transferKernel(declarations, body));
  const Buffer<std::uint32_t> in(std::vector<std::uint32_t>(4 * THREADS, 1));
  const Buffer<std::uint32_t> out(std::vector<std::uint32_t>(4 * THREADS, 0));
  code.run("transfer", {1, 1, 1}, {THREADS, 1, 1}, 0, {}, in.address(), out.address());
  const auto result = out.read();
  CHECK_EQUAL(result[0], 77u);
  CHECK_EQUAL(result[1], 77u);
  CHECK_EQUAL(result[2], static_cast<std::uint32_t>(in.address()));
  CHECK_EQUAL(result[3], static_cast<std::uint32_t>(in.address()) + 1);
}

TEST("cp.async copies, and fills with zeros what it does not read") {
  struct Copy {
    const char *cache;
    int bytes;
    int read;  // -1: all, by leaving the operand out
  };
  const Copy copies[] = {{"ca", 4, -1}, {"ca", 8, -1}, {"ca", 16, -1}, {"cg", 16, -1},
                         {"ca", 4, 0},  {"ca", 4, 2},  {"ca", 8, 3},   {"ca", 16, 16},
                         {"cg", 16, 5}, {"cg", 16, 0}};
  for (const Copy &copy : copies) {
    for (const bool all : {false, true}) {
      std::string body = "  mov.u64 %there, shared;\n  add.u64 %there, %there, %wide;\n  cp.async.";
      body +=
          copy.cache + std::string(".shared.global [%there], [%in], ") + std::to_string(copy.bytes);
      if (copy.read >= 0) body += ", %read";
      body += ";\n";
      body +=
          all ? "  cp.async.wait_all;\n" : "  cp.async.commit_group;\n  cp.async.wait_group 0;\n";
      // Each thread reads what it has copied itself.
      body += "  ld.shared.b32 %v0, [%there];\n  st.global.b32 [%out], %v0;\n";
      for (int k = 4; k < copy.bytes; k += 4) {
        const std::string at = "+" + std::to_string(k) + "]";
        body += "  ld.shared.b32 %v0, [%there" + at + ";\n  st.global.b32 [%out" + at + ", %v0;\n";
      }
      const std::string read = copy.read < 0 ? "" : "  .reg .b32 %read;\n";
      const std::string set =
          copy.read < 0 ? "" : "  mov.u32 %read, " + std::to_string(copy.read) + ";\n";
      const auto source = noise(16 * THREADS);
      expectBytes(body,
                  transfer(transferKernel(
                               "  .reg .b32 %v<4>;\n  .shared .align 16 .b8 shared[1024];\n" + read,
                               set + body),
                           source),
                  prefixes(source, copy.read < 0 ? copy.bytes : copy.read));
    }
  }
}

// wait_group n lets the n newest groups go on: with three groups begun, wait_group 1 has the first
// two landed; the copies of a group land whatever their order.
TEST("cp.async groups land in order") {
  const std::string declarations = "  .reg .b32 %v<4>;\n  .shared .align 16 .b8 shared[3072];\n";
  const std::string body = R"(
  mov.u64 %there, shared;
  add.u64 %there, %there, %wide;
  cp.async.ca.shared.global [%there], [%in], 4;
  cp.async.commit_group;
  cp.async.ca.shared.global [%there+1024], [%in+4], 4;
  cp.async.commit_group;
  cp.async.ca.shared.global [%there+2048], [%in+8], 4;
  cp.async.commit_group;
  cp.async.wait_group 2;
  ld.shared.b32 %v0, [%there];
  cp.async.wait_group 1;
  ld.shared.b32 %v1, [%there+1024];
  cp.async.wait_group 0;
  ld.shared.b32 %v2, [%there+2048];
  mov.b32 %v3, 0;
  st.global.v4.b32 [%out], {%v0, %v1, %v2, %v3};
)";
  const auto source = noise(16 * THREADS);
  expectBytes("groups", transfer(transferKernel(declarations, body), source), prefixes(source, 12));
}
