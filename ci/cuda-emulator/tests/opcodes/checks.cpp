// What the emulator must refuse to do: each fault is planted in a small kernel and must be caught,
// and a sibling that differs in nothing but the fault must run.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <new>
#include <optional>

#include "reference.h"

using namespace test;

namespace {

struct Launch {
  std::uint32_t threads = 64;
  std::uint32_t blocks = 1;
  std::uint32_t dynamicShared = 0;
  ptx::Options options = {};
};

constexpr std::size_t WORDS = 256;  // of the buffer that kernels get

// A kernel with a global buffer of WORDS initialised words at %buffer, a fresh one that nothing has
// written at %fresh, 1 KB of shared memory at %shared, and the usual coordinates.
std::string kernel(const std::string &body) {
  return R"(
.visible .entry probe(.param .u64 buffer, .param .u64 fresh, .param .align 16 .b8 block[16])
{
  .shared .align 16 .b8 shared[1024];
  .local .align 16 .b8 local[32];
  .reg .pred %p<8>;
  .reg .b16 %h<4>;
  .reg .b32 %r<16>, %tid, %lane, %warp, %mine;
  .reg .b64 %rd<8>, %buffer, %fresh;
  ld.param.u64 %buffer, [buffer];
  ld.param.u64 %fresh, [fresh];
  mov.u32 %tid, %tid.x;
  mov.u32 %lane, %laneid;
  mov.u32 %warp, %warpid;
  mov.u32 %mine, shared;
  shl.b32 %r0, %tid, 2;
  add.u32 %mine, %mine, %r0;
)" + body +
         "\n  ret;\n}\n";
}

std::optional<ptx::Trap> runProbe(const std::string &body, const Launch &launch) {
  const Code code(kernel(body));
  const std::vector<std::uint32_t> zeros(WORDS);
  const Buffer<std::uint32_t> buffer(zeros);
  const Buffer<std::uint32_t> fresh(WORDS);
  const std::uint64_t block[2] = {};
  try {
    code.run("probe", {launch.blocks, 1, 1}, {launch.threads, 1, 1}, launch.dynamicShared,
             launch.options, buffer.address(), fresh.address(), block);
  } catch (const ptx::Trap &trap) {
    return trap;
  }
  return std::nullopt;
}

void expectRuns(const std::string &body, const Launch &launch = {}) {
  const auto trap = runProbe(body, launch);
  check(!trap, __FILE__, __LINE__,
        [&] { return "trapped: " + std::string(trap->what()) + "\n" + body; });
}

void expectTrap(const std::string &body, ptx::CudaError code, const std::string &message,
                const Launch &launch = {}) {
  const auto trap = runProbe(body, launch);
  check(trap.has_value(), __FILE__, __LINE__, [&] { return "ran without a trap:\n" + body; });
  if (!trap) return;
  check(trap->code == code && trap->message.find(message) != std::string::npos, __FILE__, __LINE__,
        [&] {
          return "trapped with " + show(static_cast<int>(trap->code)) + " " + trap->message +
                 ", not with " + show(static_cast<int>(code)) + " and '" + message + "'\n" + body;
        });
  // Every trap says where it was.
  check(trap->kernel == "probe" && trap->ptxLine > 0, __FILE__, __LINE__,
        [&] { return std::string("no place: ") + trap->what(); });
}

constexpr auto ILLEGAL = ptx::CudaError::IllegalAddress;
constexpr auto MISALIGNED = ptx::CudaError::MisalignedAddress;
constexpr auto FAILED = ptx::CudaError::LaunchFailed;
constexpr auto TIMEOUT = ptx::CudaError::LaunchTimeout;

// Threads of one warp, or of all but one, go through a piece of code.
std::string onlyWarp(int warp, const std::string &body) {
  const std::string label = "SKIP_" + std::to_string(warp) + "_" + std::to_string(body.size());
  return "{ setp.ne.u32 %p6, %warp, " + std::to_string(warp) + ";\n@%p6 bra " + label + ";\n" +
         body + "\n" + label + ": }\n";
}

std::string onlyLane(int lane, const std::string &body) {
  return "{ setp.eq.u32 %p7, %lane, " + std::to_string(lane) + ";\n@%p7 " + body + " }\n";
}

}  // namespace

// ---- Bounds and alignment ------------------------------------------------------------------------

TEST("global memory: bounds") {
  expectRuns("ld.global.b32 %r1, [%buffer+1020];");
  expectTrap("ld.global.b32 %r1, [%buffer+1024];", ILLEGAL, "out of bounds");
  expectTrap("ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%buffer+1024];", ILLEGAL, "out of bounds");
  expectTrap("ld.global.b32 %r1, [%buffer+-4];", ILLEGAL, "out of bounds");
  expectRuns("st.global.b32 [%buffer+1020], %tid;", {1});
  expectTrap("st.global.b32 [%buffer+1024], %tid;", ILLEGAL, "out of bounds");
  expectTrap("mov.u64 %rd1, 0; ld.global.b32 %r1, [%rd1];", ILLEGAL, "out of bounds");
  expectTrap("mov.u64 %rd1, 0; st.b32 [%rd1], %r0;", ILLEGAL, "out of bounds");
  // One lane is enough, and it is the one that is named.
  const std::string last =
      "mul.wide.u32 %rd1, %tid, 4; add.u64 %rd1, %buffer, %rd1; st.global.b32 [%rd1], %tid;";
  expectRuns(last, {256});
  const auto trap = runProbe(last, {288});
  CHECK(trap && trap->code == ILLEGAL);
  if (trap) CHECK_EQUAL(trap->thread.x, 256u);
}

// The last bytes of an allocation that is no multiple of the access.
TEST("global memory: an access that begins inside and ends outside") {
  const std::vector<std::uint32_t> zeros(5);
  const Buffer<std::uint32_t> buffer(zeros);
  for (const char *access :
       {"ld.global.v2.b32 {%v0, %v1}, [%buffer+16];", "st.global.b64 [%buffer+16], %buffer;"}) {
    const Code code(
        ".visible .entry crosses(.param .u64 buffer) { .reg .b32 %v<2>; .reg .b64 %buffer; "
        "ld.param.u64 %buffer, [buffer]; " +
        std::string(access) + " ret; }");
    bool caught = false;
    try {
      code.run("crosses", {1, 1, 1}, {1, 1, 1}, 0, {}, buffer.address());
    } catch (const ptx::Trap &trap) {
      caught = trap.code == ILLEGAL;
    }
    CHECK(caught);
  }
}

// Where address and size add up to 0, after an access that is right: its allocation is remembered.
TEST("global memory: the last bytes of the address space") {
  const std::string right = "ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%buffer];\nbar.sync 0;\n";
  Launch unchecked;
  unchecked.options.checkUninitialised = false;
  for (Launch launch : {Launch{}, unchecked}) {
    launch.threads = 1;
    for (const char *access :
         {"ld.global.b32 %r1, [%rd1+-4];", "ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd1+-16];",
          "ld.b32 %r1, [%rd1+-4];", "st.global.b32 [%rd1+-4], %tid;",
          "st.global.v4.b32 [%rd1+-16], {%tid, %tid, %tid, %tid};", "st.b32 [%rd1+-4], %tid;",
          "atom.global.add.u32 %r1, [%rd1+-4], 1;", "red.global.add.u32 [%rd1+-4], 1;",
          "cp.async.ca.shared.global [shared], [%rd1+-4], 4;",
          "cp.async.ca.shared.global [shared], [%rd1+-16], 16;",
          "mov.u32 %r1, 8; cp.async.ca.shared.global [shared], [%rd1+-16], 16, %r1;"}) {
      expectTrap(right + "mov.u64 %rd1, 0;\n" + access, ILLEGAL, "out of bounds", launch);
    }
  }
}

TEST("global memory: freed") {
  const Code code(R"(
.visible .entry reads(.param .u64 from) {
  .reg .b64 %from; .reg .b32 %v;
  ld.param.u64 %from, [from]; ld.global.b32 %v, [%from]; ret;
}
)");
  const std::vector<std::uint32_t> zeros(4);
  std::uint64_t freed;
  {
    const Buffer<std::uint32_t> buffer(zeros);
    freed = buffer.address();
    code.run("reads", {1, 1, 1}, {1, 1, 1}, 0, {}, freed);
  }
  bool caught = false;
  try {
    code.run("reads", {1, 1, 1}, {1, 1, 1}, 0, {}, freed);
  } catch (const ptx::Trap &trap) {
    caught = trap.code == ILLEGAL;
  }
  CHECK(caught);
}

TEST("global memory: alignment") {
  expectRuns("ld.global.b16 %h1, [%buffer+2];");
  expectTrap("ld.global.b32 %r1, [%buffer+2];", MISALIGNED, "misaligned");
  expectRuns("ld.global.v2.b32 {%r1, %r2}, [%buffer+8];");
  expectTrap("ld.global.v2.b32 {%r1, %r2}, [%buffer+4];", MISALIGNED, "misaligned");
  expectTrap("st.global.v4.b32 [%buffer+8], {%r0, %r0, %r0, %r0};", MISALIGNED, "misaligned");
  expectTrap("st.global.b64 [%buffer+4], %buffer;", MISALIGNED, "misaligned");
}

TEST("shared memory: bounds and alignment") {
  expectRuns("st.shared.b32 [shared+1020], %tid;", {1});
  expectTrap("st.shared.b32 [shared+1024], %tid;", ILLEGAL, "out of bounds", {1});
  expectTrap("ld.shared.b32 %r1, [shared+1024];", ILLEGAL, "out of bounds", {1});
  expectTrap("ld.shared.b32 %r1, [shared+-4];", ILLEGAL, "out of bounds", {1});
  expectTrap("st.shared.b32 [shared+2], %tid;", MISALIGNED, "misaligned", {1});
  expectTrap("st.shared.v2.b32 [shared+4], {%tid, %tid};", MISALIGNED, "misaligned", {1});
  // Dynamic shared memory lies behind, and is part of what may be touched.
  Launch withDynamic{1};
  withDynamic.dynamicShared = 16;
  expectRuns("st.shared.b32 [shared+1036], %tid;", withDynamic);
  expectTrap("st.shared.b32 [shared+1040], %tid;", ILLEGAL, "out of bounds", withDynamic);
  // The same through a generic address.
  expectTrap("mov.u64 %rd1, shared; cvta.shared.u64 %rd1, %rd1; st.b32 [%rd1+1024], %tid;", ILLEGAL,
             "out of bounds", {1});
}

TEST("local memory and parameters: bounds") {
  expectRuns("st.local.b32 [local+28], %tid; ld.local.b32 %r1, [local+28];");
  expectTrap("st.local.b32 [local+32], %tid;", ILLEGAL, "out of bounds");
  expectTrap("ld.local.b32 %r1, [local+32];", ILLEGAL, "out of bounds");
  expectTrap("st.local.b32 [local+2], %tid;", MISALIGNED, "misaligned");
  expectRuns("ld.param.b32 %r1, [block+12];");
  expectTrap("ld.param.b32 %r1, [block+16];", ILLEGAL, "out of bounds");
}

TEST("parameters cannot be written") {
  for (const char *type : {"b8", "u8", "s8", "b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64",
                           "u64", "s64", "f64"}) {
    const int bits = std::atoi(type + 1);
    const std::string value = bits <= 16 ? "%h0" : bits == 32 ? "%tid" : "%buffer";
    for (const int count : {1, 2, 4}) {
      if (bits * count > 128) continue;
      std::string list = value;
      for (int k = 1; k < count; ++k) list += ", " + value;
      const std::string vector = count == 1 ? "" : ".v" + std::to_string(count);
      const std::string opcode = "st.param" + vector + "." + type;
      expectTrap(opcode + " [block], " + (count == 1 ? value : "{" + list + "}") + ";", ILLEGAL,
                 "parameters");
      executedOpcodes().insert(opcode);
    }
  }
}

// ---- Uninitialised reads -------------------------------------------------------------------------

TEST("global memory: read before it is written") {
  const std::string read = "ld.global.b32 %r1, [%fresh];";
  expectTrap(read, FAILED, "uninitialised");
  expectRuns("st.global.b32 [%fresh], %r0; " + read);
  // Half of it is not enough.
  expectTrap("st.global.b16 [%fresh], %h0; " + read, FAILED, "uninitialised");
  expectRuns("st.global.b16 [%fresh], %h0; st.global.b16 [%fresh+2], %h0; " + read);
  Launch unchecked;
  unchecked.options.checkUninitialised = false;
  expectRuns(read, unchecked);
}

TEST("shared memory: read before it is written") {
  const std::string read = "ld.shared.b32 %r1, [%mine];";
  expectTrap(read, FAILED, "uninitialised");
  expectRuns("st.shared.b32 [%mine], %r0; " + read);
  expectTrap("st.shared.b16 [%mine], %h0; " + read, FAILED, "uninitialised");
  expectTrap("st.shared.b8 [%mine+2], %h0; ld.shared.u8 %r1, [%mine+1];", FAILED, "uninitialised");
  Launch unchecked;
  unchecked.options.checkUninitialised = false;
  expectRuns(read, unchecked);
}

// ---- Races ---------------------------------------------------------------------------------------

TEST("races between warps") {
  // Thread t writes word t and reads that of the other warp.
  const std::string exchange = "xor.b32 %r2, %r0, 128; mov.u32 %r3, shared; add.u32 %r2, %r2, %r3;";
  const std::string write = "st.shared.b32 [%mine], %tid;";
  const std::string read = "ld.shared.b32 %r1, [%r2];";
  const std::string initialise = "st.shared.b32 [%mine], 0; bar.sync 0;";
  expectTrap(initialise + exchange + write + read, FAILED, "race");
  expectRuns(exchange + write + "bar.sync 0;" + read);
  // A barrier of the warp alone does not order warps.
  expectTrap(initialise + exchange + write + "bar.warp.sync -1;" + read, FAILED, "race");
  // What was read may not be overwritten before all have read.
  expectTrap(exchange + write + "bar.sync 0;" + read + write, FAILED, "race");
  expectRuns(exchange + write + "bar.sync 0;" + read + "bar.sync 0;" + write);
  // Two writers of one word, even of the same value.
  expectTrap("st.shared.b32 [shared], 1;", FAILED, "race");
  expectRuns(onlyWarp(0, onlyLane(0, "st.shared.b32 [shared], 1;")) + "bar.sync 0;" +
             onlyWarp(1, onlyLane(0, "st.shared.b32 [shared], 1;")));
  Launch unchecked;
  unchecked.options.checkRaces = false;
  expectRuns(exchange + write + read, {64, 1, 0, [] {
                                         ptx::Options options;
                                         options.checkRaces = false;
                                         options.checkUninitialised = false;
                                         return options;
                                       }()});
  expectRuns("st.shared.b32 [shared], 1;", unchecked);
  // Neighbouring bytes are different places, and each of them is watched.
  const std::string bytes =
      "cvt.u16.u32 %h1, %tid; mov.u32 %r2, shared; add.u32 %r2, %r2, %tid; st.shared.b8 [%r2], "
      "%h1;";
  expectRuns(bytes);
  for (const char *byte : {"[shared]", "[shared+1]", "[shared+31]"}) {
    expectTrap(
        bytes + "\n" + onlyWarp(1, onlyLane(0, "ld.shared.u8 %r1, " + std::string(byte) + ";")),
        FAILED, "race");
  }
  expectTrap("st.shared.b8 [shared+1], %h1;", FAILED, "race");
}

TEST("races within a warp") {
  const Launch warp{32};
  // Each lane writes its word and reads that of its neighbour.
  const std::string neighbour = "xor.b32 %r2, %r0, 4; mov.u32 %r3, shared; add.u32 %r2, %r2, %r3;";
  const std::string write = "st.shared.b32 [%mine], %tid;";
  const std::string read = "ld.shared.b32 %r1, [%r2];";
  expectTrap(neighbour + write + read, FAILED, "race", warp);
  expectRuns(neighbour + write + "bar.warp.sync -1;" + read, warp);
  expectRuns(neighbour + write + "bar.sync 0;" + read, warp);
  // Lanes meet in a shuffle or a vote, but their accesses are not ordered by it.
  expectTrap(neighbour + write + "shfl.sync.bfly.b32 %r4, %tid, 1, 31, -1;" + read, FAILED, "race",
             warp);
  expectTrap(neighbour + write + "vote.sync.any.pred %p1, %p2, -1;" + read, FAILED, "race", warp);
  // A lane may read its own word at any time.
  expectRuns(write + "ld.shared.b32 %r1, [%mine];", warp);
  // Overwriting what a neighbour has read.
  expectTrap(neighbour + write + "bar.warp.sync -1;" + read + write, FAILED, "race", warp);
  expectRuns(neighbour + write + "bar.warp.sync -1;" + read + "bar.warp.sync -1;" + write, warp);
}

TEST("races among some lanes") {
  const Launch warp{32};
  // Lanes 0..3 write and meet; one of them may read then, a fifth may not.
  const std::string four =
      "st.shared.b32 [%mine], %tid; setp.lt.u32 %p1, %lane, 4;\n@%p1 bar.warp.sync 15;\n";
  expectRuns(four + onlyLane(1, "ld.shared.b32 %r1, [shared];"), warp);
  expectTrap(four + onlyLane(4, "ld.shared.b32 %r1, [shared];"), FAILED, "race", warp);
  expectRuns(four + "bar.warp.sync -1;\n" + onlyLane(4, "ld.shared.b32 %r1, [shared];"), warp);
}

TEST("races with lanes that have read before the last barrier of some") {
  const Launch warp{32};
  const auto read = [](int lane) { return onlyLane(lane, "ld.shared.b32 %r1, [shared];"); };
  const auto write = [](int lane) { return onlyLane(lane, "st.shared.b32 [shared], 1;"); };
  const std::string begin =
      "st.shared.b32 [%mine], %tid; bar.sync 0; setp.lt.u32 %p1, %lane, 4; setp.lt.u32 %p2, %lane, "
      "8;\n";
  const std::string four = "@%p1 bar.warp.sync 15;\n";
  const std::string eight = "@%p2 bar.warp.sync 255;\n";
  // Lane 5 has not met lane 1, though lane 0 has read after it.
  expectTrap(begin + read(5) + four + read(0) + four + write(1), FAILED, "lane 5", warp);
  expectRuns(begin + read(3) + four + read(0) + four + write(1), warp);
  expectRuns(begin + read(5) + four + read(0) + eight + write(1), warp);
  expectRuns(begin + read(5) + eight + read(0) + four + write(1), warp);
  // All read, meet in groups, and one goes on with its own copy of the word.
  expectRuns(begin + "@%p2 ld.shared.b32 %r1, [shared];\n" + eight + read(0) + write(0), warp);
  expectTrap(begin + "@%p2 ld.shared.b32 %r1, [shared];\n" + four + read(0) + write(0), FAILED,
             "read by lane 4", warp);
}

TEST("races with lanes that have exited") {
  const Launch warp{32};
  // The upper half reads or not, and goes; the lower half meets, and one of it writes.
  const auto leave = [](const std::string &first) {
    return "st.shared.b32 [%mine], %tid; bar.sync 0; setp.ge.u32 %p1, %lane, 16;\n" + first +
           "@%p1 exit;\nbar.warp.sync 65535;\n" + onlyLane(1, "st.shared.b32 [shared], 1;");
  };
  expectRuns(leave(""), warp);
  expectRuns(leave(onlyLane(7, "ld.shared.b32 %r1, [shared];")), warp);
  expectTrap(leave(onlyLane(20, "ld.shared.b32 %r1, [shared];")), FAILED, "read by lane 20", warp);
}

TEST("races with readers of several warps") {
  const Launch four{128};
  const auto read = [](int warp) {
    return onlyWarp(warp, onlyLane(0, "ld.shared.b32 %r1, [shared];"));
  };
  const std::string begin = "st.shared.b32 [%mine], %tid; bar.sync 0; setp.lt.u32 %p1, %warp, 3;\n";
  const std::string meet = "@%p1 bar.sync 1, 96;\n";
  const std::string write = onlyWarp(2, onlyLane(0, "st.shared.b32 [shared], 1;"));
  expectRuns(begin + read(0) + read(1) + meet + write, four);
  expectTrap(begin + read(0) + read(3) + meet + write, FAILED, "of warp 3", four);
  expectTrap(begin + read(3) + read(1) + meet + write, FAILED, "of warp 3", four);
  expectTrap(begin + read(0) + read(1) + write, FAILED, "of warp 0", four);
  // One of the readers reads late, behind a barrier of its own.
  expectRuns(begin + read(0) + onlyWarp(1, "bar.warp.sync -1;") + read(1) + meet + write, four);
  expectTrap(begin + read(0) + meet + read(1) + write, FAILED, "of warp 1", four);
}

TEST("races with atomics of several lanes") {
  const Launch warp{32};
  const std::string add = "st.shared.b32 [%mine], 0; bar.sync 0; red.shared.add.u32 [shared], 1;\n";
  // The last lane's own atomic does not order those of the others before its read.
  for (const int lane : {0, 31}) {
    const std::string read = onlyLane(lane, "ld.shared.b32 %r1, [shared];");
    const std::string write = onlyLane(lane, "st.shared.b32 [shared], 1;");
    expectTrap(add + read, FAILED, "race", warp);
    expectTrap(add + write, FAILED, "race", warp);
    expectRuns(add + "bar.warp.sync -1;\n" + read + write, warp);
  }
}

TEST("races and barriers of some warps") {
  const Launch four{128};
  const std::string write = "st.shared.b32 [%mine], %tid;\n";
  const std::string meet = "setp.lt.u32 %p1, %warp, 2;\n@%p1 bar.sync 1, 64;\n";
  // Word 0 is warp 0's; warp 1 has met it at barrier 1, warp 2 has not.
  const std::string read = onlyLane(0, "ld.shared.b32 %r1, [shared];");
  expectRuns(write + meet + onlyWarp(1, read), four);
  expectTrap(write + meet + onlyWarp(2, read), FAILED, "race", four);
  expectRuns(write + meet + "bar.sync 0;\n" + onlyWarp(2, read), four);
  // A producer arrives, a consumer waits: the consumer may read then, but what it writes after is
  // not ordered before the producer's next step.
  const Launch two{64};
  const std::string produce =
      onlyWarp(0, onlyLane(0, "st.shared.b32 [shared], 5;") + "bar.arrive 1, 64;");
  const std::string consume = "bar.sync 1, 64;\n" + onlyLane(0, "ld.shared.b32 %r1, [shared];");
  expectRuns(produce + onlyWarp(1, consume), two);
  expectTrap(onlyWarp(0, onlyLane(0, "st.shared.b32 [shared], 5;")) +
                 onlyWarp(1, onlyLane(0, "ld.shared.b32 %r1, [shared];")),
             FAILED, "race", two);
  expectTrap(
      produce + onlyWarp(1, consume) + onlyWarp(0, onlyLane(1, "st.shared.b32 [shared], 6;")),
      FAILED, "race", two);
}

TEST("ldmatrix: races, alignment, uninitialised rows") {
  const Launch warp{32};
  // 32 lanes write 16 bytes each, matrix rows; x1 reads the rows of lanes 0..7.
  const std::string fill =
      "shl.b32 %r2, %lane, 4; mov.u32 %r3, shared; add.u32 %r2, %r2, %r3;\n"
      "st.shared.v4.b32 [%r2], {%lane, %lane, %lane, %lane};\n";
  const std::string load = "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r4}, [%r2];";
  expectTrap(fill + load, FAILED, "race", warp);
  expectRuns(fill + "bar.warp.sync -1;\n" + load, warp);
  expectTrap(fill + "bar.warp.sync -1;\nadd.u32 %r2, %r2, 8;\n" + load, MISALIGNED, "misaligned",
             warp);
  expectTrap(fill + "bar.warp.sync -1;\nadd.u32 %r2, %r2, 512;\n" + load, FAILED, "uninitialised",
             warp);
  expectTrap(fill + "bar.warp.sync -1;\nadd.u32 %r2, %r2, 1024;\n" + load, ILLEGAL, "out of bounds",
             warp);
  // The addresses of lanes that give no row don't matter.
  expectRuns(
      fill + "bar.warp.sync -1;\nsetp.ge.u32 %p1, %lane, 8;\n@%p1 mov.u32 %r2, 999999;\n" + load,
      warp);
  const std::string load4 = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4, %r5, %r6, %r7}, [%r2];";
  expectTrap(
      fill + "bar.warp.sync -1;\nsetp.ge.u32 %p1, %lane, 8;\n@%p1 mov.u32 %r2, 999999;\n" + load4,
      MISALIGNED, "misaligned", warp);
}

// ---- cp.async ------------------------------------------------------------------------------------

TEST("cp.async: data is not there before the wait") {
  const std::string begin =
      "mul.wide.u32 %rd1, %tid, 4; add.u64 %rd1, %buffer, %rd1;\n"
      "cp.async.ca.shared.global [%mine], [%rd1], 4;\n";
  const std::string read = "ld.shared.b32 %r1, [%mine];\n";
  expectTrap(begin + read, FAILED, "cp.async");
  expectTrap(begin + "cp.async.commit_group;\n" + read, FAILED, "cp.async");
  expectTrap(begin + "cp.async.commit_group;\ncp.async.wait_group 1;\n" + read, FAILED, "cp.async");
  expectRuns(begin + "cp.async.commit_group;\ncp.async.wait_group 0;\n" + read);
  // wait_group waits for groups: what no commit has closed goes on.
  expectTrap(begin + "cp.async.wait_group 0;\n" + read, FAILED, "cp.async");
  expectRuns(begin + "cp.async.wait_all;\n" + read);
  // A barrier is no wait, and a wait is no barrier.
  expectTrap(begin + "bar.sync 0;\n" + read, FAILED, "cp.async");
  const std::string neighbour =
      "xor.b32 %r2, %r0, 128; mov.u32 %r3, shared; add.u32 %r2, %r2, %r3;\n";
  const std::string readOther = "ld.shared.b32 %r1, [%r2];\n";
  expectTrap("st.shared.b32 [%mine], 0; bar.sync 0;\n" + neighbour + begin +
                 "cp.async.wait_all;\n" + readOther,
             FAILED, "race");
  expectTrap(neighbour + begin + "bar.sync 0;\ncp.async.wait_all;\n" + readOther, FAILED, "");
  expectRuns(neighbour + begin + "cp.async.wait_all;\nbar.sync 0;\n" + readOther);
  // Nor may anybody write where a copy is under way.
  expectTrap(begin + "st.shared.b32 [%mine], 0;\ncp.async.wait_all;\n", FAILED, "cp.async");
  // Without the race detector, a read too early still is one.
  Launch unchecked;
  unchecked.options.checkRaces = false;
  unchecked.options.checkUninitialised = false;
  expectTrap(begin + read, FAILED, "cp.async", unchecked);
}

TEST("cp.async: bounds, alignment, uninitialised source") {
  const auto copy = [](const std::string &to, const std::string &from, const std::string &size) {
    return "cp.async.ca.shared.global [" + to + "], [" + from + "], " + size +
           ";\ncp.async.wait_all;\n";
  };
  const Launch one{1};
  expectRuns(copy("shared+1008", "%buffer+1008", "16"), one);
  expectTrap(copy("shared+1020", "%buffer", "8"), MISALIGNED, "misaligned", one);
  expectTrap(copy("shared+1024", "%buffer", "16"), ILLEGAL, "out of bounds", one);
  expectTrap(copy("shared", "%buffer+1024", "16"), ILLEGAL, "out of bounds", one);
  expectTrap(copy("shared", "%buffer+4", "16"), MISALIGNED, "misaligned", one);
  expectTrap(copy("shared", "%fresh", "4"), FAILED, "uninitialised", one);
  // What is not read need not exist.
  expectRuns("mov.u32 %r1, 0;\n" + copy("shared", "%buffer+1024", "16, %r1"), one);
  expectRuns("mov.u32 %r1, 8;\n" + copy("shared", "%buffer+1008", "16, %r1"), one);
  expectTrap("mov.u32 %r1, 8;\n" + copy("shared", "%buffer+1024", "16, %r1"), ILLEGAL,
             "out of bounds", one);
  // More than fits is undefined, and is what a subtraction that went below 0 asks for.
  expectRuns("mov.u32 %r1, 16;\n" + copy("shared", "%buffer", "16, %r1"), one);
  for (const char *tooMany : {"17", "-8", "-1"}) {
    expectTrap(
        "mov.u32 %r1, " + std::string(tooMany) + ";\n" + copy("shared", "%buffer", "16, %r1"),
        FAILED, "which is to read", one);
  }
}

// ---- Barriers, warps, the end --------------------------------------------------------------------

TEST("barriers that never open") {
  expectTrap(onlyWarp(0, "bar.sync 1;") + onlyWarp(1, "bar.sync 2;"), FAILED, "deadlock");
  expectRuns("bar.sync 1;\nbar.sync 2;\n");
  expectTrap(onlyWarp(0, "bar.sync 1, 64;"), FAILED, "deadlock");
  // Threads that have ended are not waited for.
  expectRuns("setp.eq.u32 %p1, %warp, 1;\n@%p1 exit;\nbar.sync 0;\n");
  // Half a warp cannot wait at another place than its other half.
  expectTrap("setp.lt.u32 %p1, %lane, 16;\n@%p1 bra A;\nbar.sync 0;\nbra B;\nA: bar.sync 0;\nB:",
             FAILED, "");
  expectTrap("bar.sync 16;", FAILED, "barrier 16");
  expectTrap("bar.sync 0, 40;", FAILED, "multiple of 32");
}

TEST("members of a warp that never come") {
  const Launch warp{32};
  expectRuns("shfl.sync.bfly.b32 %r1, %tid, 1, 31, -1;", warp);
  // Lanes 16..31 are named, and have gone elsewhere for good.
  expectTrap(
      "setp.ge.u32 %p1, %lane, 16;\n@%p1 bra A;\nshfl.sync.bfly.b32 %r1, %tid, 1, 31, -1;\nbra B;\n"
      "A: bar.warp.sync 0xffff0000;\nbar.sync 0;\nB:",
      FAILED, "", warp);
  // A lane that does not name itself, or takes from one that is not there.
  expectTrap("shfl.sync.bfly.b32 %r1, %tid, 1, 31, 1;", FAILED, "member mask", warp);
  const std::string even =
      "and.b32 %r2, %lane, 1; setp.eq.u32 %p1, %r2, 0;\n@%p1 shfl.sync.bfly.b32 %r1, %tid, ";
  expectTrap(even + "1, 31, 0x55555555;", FAILED, "does not take part", warp);
  expectRuns(even + "2, 31, 0x55555555;", warp);
  // mma and ldmatrix need the whole warp.
  const std::string mma =
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%r4, %r5, %r6, %r7}, {%r8, %r9}, {%r10}, "
      "{%r11, %r12, %r13, %r14};";
  expectRuns(mma, warp);
  expectTrap(mma, FAILED, "all 32 lanes", {16});
  expectTrap("setp.lt.u32 %p1, %lane, 31;\n@%p1 " + mma, FAILED, "", warp);
}

TEST("a kernel that does not end") {
  Launch limited{32};
  limited.options.instructionLimit = 100'000;
  expectTrap("LOOP: bra LOOP;", TIMEOUT, "timeout", limited);
  expectTrap("LOOP: setp.eq.u32 %p1, %lane, 40;\n@!%p1 bra LOOP;", TIMEOUT, "timeout", limited);
  expectRuns(
      "mov.u32 %r1, 0;\nLOOP: add.u32 %r1, %r1, 1;\nsetp.lt.u32 %p1, %r1, 1000;\n@%p1 bra LOOP;",
      limited);
}

TEST("trap and brkpt") {
  expectTrap("trap;", FAILED, "trap");
  expectTrap("brkpt;", FAILED, "");
  executedOpcodes().insert({"trap", "brkpt"});
  expectRuns("setp.gt.u32 %p1, %tid, 1000;\n@%p1 trap;");
}

// ---- What a trap says ----------------------------------------------------------------------------

// No more memory for this process than it has plus so many bytes.
class MemoryLimit {
 public:
  explicit MemoryLimit(std::size_t more) {
    getrlimit(RLIMIT_AS, &before_);
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit limit = before_;
    limit.rlim_cur = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) + more;
    setrlimit(RLIMIT_AS, &limit);
  }
  ~MemoryLimit() { setrlimit(RLIMIT_AS, &before_); }

 private:
  rlimit before_ = {};
};

// An error inside a worker must come back to the one who launched, and not end the process.
TEST("a launch for which there is no memory, or no thread") {
  Launch launch{32, 64};
  launch.options.workers = 64;
  // A thread's stack takes 8 MB.
  {
    const MemoryLimit limit(std::size_t{4} << 20);
    expectRuns("st.shared.b32 [%mine], %tid;", launch);
  }
  launch.dynamicShared = 1u << 30;
  launch.options.workers = 4;
  bool refused = false;
  {
    const MemoryLimit limit(std::size_t{256} << 20);
    try {
      runProbe("st.shared.b32 [%mine], %tid;", launch);
    } catch (const std::bad_alloc &) {
      refused = true;
    }
  }
  CHECK(refused);
  expectRuns("st.shared.b32 [%mine], %tid;");
}

TEST("a trap names its place") {
  const std::string text = R"(.visible .entry stray(.param .u64 buffer)
{
  .reg .pred %p;
  .reg .b32 %r<4>;
  .reg .b64 %buffer;
  .loc 1 41 3
  ld.param.u64 %buffer, [buffer];
  mov.u32 %r1, %ctaid.y;
  setp.lt.u32 %p, %r1, 2;
  @%p bra END;
  .loc 1 42 7
  st.global.b32 [%buffer+4096], %r1;
END:
  ret;
}
.file 1 "/somewhere/kernels/stray.cu"
)";
  const Code code(text);
  const std::vector<std::uint32_t> zeros(16);
  const Buffer<std::uint32_t> buffer(zeros);
  for (const unsigned workers : {1u, 2u, 4u}) {
    ptx::Options options;
    options.workers = workers;
    bool thrown = false;
    try {
      code.run("stray", {3, 4, 1}, {8, 2, 1}, 0, options, buffer.address());
    } catch (const ptx::Trap &trap) {
      thrown = true;
      CHECK_EQUAL(trap.kernel, "stray");
      // The first block that trapped, however many workers there are.
      CHECK_EQUAL(trap.block.x, 0u);
      CHECK_EQUAL(trap.block.y, 2u);
      CHECK_EQUAL(trap.thread.x, 0u);
      CHECK_EQUAL(trap.thread.y, 0u);
      CHECK_EQUAL(trap.ptxLine, 15);  // three lines of directives stand before the text
      CHECK_EQUAL(trap.source, "stray.cu:42");
      const std::string what = trap.what();
      for (const char *part :
           {"stray", "block (0,2,0)", "thread (0,0,0)", "15", "stray.cu:42", "out of bounds"}) {
        check(what.find(part) != std::string::npos, __FILE__, __LINE__,
              [&] { return std::string(part) + " is not in: " + what; });
      }
    }
    CHECK(thrown);
  }
}

// ---- What cannot be loaded -----------------------------------------------------------------------

namespace {

void expectRefused(const std::string &body, const std::string &message, int line = 0) {
  bool refused = false;
  try {
    const Code code(body);
  } catch (const ptx::PtxError &error) {
    refused = true;
    check(std::string(error.what()).find(message) != std::string::npos &&
              (line == 0 || error.line == line),
          __FILE__, __LINE__,
          [&] { return std::string("says: ") + error.what() + ", not '" + message + "'"; });
  }
  check(refused, __FILE__, __LINE__, [&] { return "was loaded:\n" + body; });
}

}  // namespace

TEST("PTX that is refused when it is loaded") {
  const Code good(kernel("add.u32 %r1, %r1, %r2;"));
  CHECK(good.module().kernel("probe") != nullptr);
  CHECK(good.module().kernel("nothing") == nullptr);
  CHECK_EQUAL(good.module().version(), 70);
  CHECK_EQUAL(good.module().target(), 80);
  expectRefused(
      ".visible .entry k()\n{\n  .reg .b32 %r<3>;\n  frobnicate.u32 %r1, %r2;\n  ret;\n}\n",
      "frobnicate", 7);
  expectRefused(kernel("add.f17 %r1, %r1, %r2;"), "add.f17");
  expectRefused(kernel("add.u32 %r1, %r1, %r99;"), "%r99");
  expectRefused(kernel("add.u32 %r1, %r1;"), "operands");
  expectRefused(kernel("add.u32 %r1, %r1, %rd1;"), "64 bits");
  expectRefused(kernel("add.u32 %r1, %r1, %p1;"), "predicate");
  expectRefused(kernel("@%r1 add.u32 %r1, %r1, %r2;"), "predicate");
  expectRefused(kernel("bra NOWHERE;"), "NOWHERE");
  expectRefused(kernel("A: A: bra A;"), "twice");
  expectRefused(kernel(".reg .b32 %r1;"), "twice");
  expectRefused(kernel("ld.shared.b32 %r1, [buffer];"), "space");
  expectRefused(kernel("call nobody;"), "nobody");
  expectRefused(
      kernel("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r4, %r5, %r6, %r7}, {%r8, %r9}, "
             "{%r10}, {%r11, %r12, %r13, %r14};"),
      "vector of 4");
  expectRefused(kernel("cp.async.cg.shared.global [shared], [%buffer], 8;"), "16 bytes");
  expectRefused(kernel("add.u32 %r1, %r1, %r2"), "");
  expectRefused(".visible .entry k() {", "");
}

TEST("atomics: bounds, alignment, races") {
  expectRuns("red.global.add.u32 [%buffer], 1;");
  expectTrap("red.global.add.u32 [%buffer+1024], 1;", ILLEGAL, "out of bounds");
  expectTrap("red.global.add.u32 [%buffer+2], 1;", MISALIGNED, "misaligned");
  expectTrap("red.global.add.u32 [%fresh], 1;", FAILED, "uninitialised");
  expectTrap("atom.shared.add.u32 %r1, [shared+1024], 1;", ILLEGAL, "out of bounds");
  expectTrap("atom.shared.add.u32 %r1, [shared], 1;", FAILED, "uninitialised");
  expectTrap("mov.u64 %rd1, local; cvta.local.u64 %rd1, %rd1; atom.add.u32 %r1, [%rd1], 1;",
             ILLEGAL, "local");
  // Atomics do not race with each other, but with plain accesses.
  const std::string clear =
      onlyWarp(0, onlyLane(0, "st.shared.b32 [shared], 0;")) + "bar.sync 0;\n";
  const std::string count = "red.shared.add.u32 [shared], 1;\n";
  expectRuns(clear + count + "bar.sync 0;\nld.shared.b32 %r1, [shared];");
  expectTrap(clear + count + "ld.shared.b32 %r1, [shared];", FAILED, "race");
  // Nor may the thread look that was the last of several.
  expectTrap(clear + onlyWarp(1, count + onlyLane(31, "ld.shared.b32 %r1, [shared];")), FAILED,
             "race");
  expectRuns(clear +
             onlyWarp(1, onlyLane(31, count) + onlyLane(31, "ld.shared.b32 %r1, [shared];")));
  expectTrap(onlyWarp(0, onlyLane(0, "st.shared.b32 [shared], 0;")) + count, FAILED, "");
}
