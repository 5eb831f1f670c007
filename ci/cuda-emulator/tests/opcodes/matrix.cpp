// ldmatrix and mma.sync. Which lane holds which element is written down here from the tables of the
// PTX ISA ("Matrix Fragments for mma..."), not from the emulator.
#include <functional>
#include <random>

#include "reference.h"

using namespace test;

namespace {

constexpr int LANES = 32;

// Where element i of the fragment of a lane lies in the matrix.
struct Place {
  int row, column;
};
using Layout = std::function<Place(int lane, int i)>;

int groupId(int lane) { return lane >> 2; }
int inGroup(int lane) { return lane % 4; }

// Multiplicand formats: bits of an element, and the value that the tensor core sees.
struct Multiplicand {
  const char *type;
  int bits;
  std::function<std::uint32_t(double)> encode;
  std::function<double(std::uint32_t)> decode;
};

const Multiplicand F16{
    "f16", 16, [](double x) { return std::uint32_t{encode(x, HALF_FORMAT)}; },
    [](std::uint32_t bits) { return decode(static_cast<std::uint16_t>(bits), HALF_FORMAT); }};
const Multiplicand BF16{
    "bf16", 16, [](double x) { return std::uint32_t{encode(x, BFLOAT_FORMAT)}; },
    [](std::uint32_t bits) { return decode(static_cast<std::uint16_t>(bits), BFLOAT_FORMAT); }};
const Multiplicand TF32{"tf32", 32,
                        [](double x) {
                          const auto bits = bitCast<std::uint32_t>(static_cast<float>(x));
                          return bits & 0xffffe000u;
                        },
                        [](std::uint32_t bits) { return bitCast<float>(bits); }};

struct Shape {
  const Multiplicand &multiplicand;
  int depth;
  Layout a;
  Layout b;
};

// Accumulators: the same for all m16n8 shapes.
Place accumulator(int lane, int i) {
  return {i < 2 ? groupId(lane) : groupId(lane) + 8, inGroup(lane) * 2 + (i & 1)};
}

const Shape SHAPES[] = {
    {F16, 16,
     [](int lane, int i) {
       const int row = (i >= 0 && i < 2) || (i >= 4 && i < 6) ? groupId(lane) : groupId(lane) + 8;
       return Place{row, inGroup(lane) * 2 + (i & 1) + (i < 4 ? 0 : 8)};
     },
     [](int lane, int i) {
       return Place{inGroup(lane) * 2 + (i & 1) + (i < 2 ? 0 : 8), groupId(lane)};
     }},
    {F16, 8,
     [](int lane, int i) {
       return Place{i < 2 ? groupId(lane) : groupId(lane) + 8, inGroup(lane) * 2 + (i & 1)};
     },
     [](int lane, int i) {
       return Place{inGroup(lane) * 2 + i, groupId(lane)};
     }},
    {TF32, 8,
     [](int lane, int i) {
       return Place{i == 0 || i == 2 ? groupId(lane) : groupId(lane) + 8,
                    i < 2 ? inGroup(lane) : inGroup(lane) + 4};
     },
     [](int lane, int i) {
       return Place{i == 0 ? inGroup(lane) : inGroup(lane) + 4, groupId(lane)};
     }},
    {TF32, 4,
     [](int lane, int i) {
       return Place{i == 0 ? groupId(lane) : groupId(lane) + 8, inGroup(lane)};
     },
     [](int lane, int) {
       return Place{inGroup(lane), groupId(lane)};
     }},
};

// The registers of one operand: element i of a lane lies in register i / (elements of a register),
// the first of them in the lower half. In memory: register by register, 32 lanes each.
std::vector<std::uint32_t> fragments(const Layout &layout, int elements, int bits,
                                     const std::function<std::uint32_t(Place)> &element) {
  const int each = 32 / bits;
  std::vector<std::uint32_t> registers(static_cast<std::size_t>(elements / each * LANES));
  for (int lane = 0; lane < LANES; ++lane) {
    for (int i = 0; i < elements; ++i) {
      registers[static_cast<std::size_t>(i / each * LANES + lane)] |= element(layout(lane, i))
                                                                      << bits * (i % each);
    }
  }
  return registers;
}

std::string list(const char *name, int count) {
  std::string text = "{";
  for (int k = 0; k < count; ++k)
    text += (k == 0 ? "" : ", ") + std::string(name) + std::to_string(k);
  return text + "}";
}

// One warp: loads the registers of A, B and C, multiplies, stores those of D.
std::string mmaKernel(const Shape &shape, const std::string &type) {
  const int registersOfA = 16 * shape.depth * shape.multiplicand.bits / 32 / LANES;
  const int registersOfB = 8 * shape.depth * shape.multiplicand.bits / 32 / LANES;
  std::string text = R"(
.visible .entry multiply(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d)
{
  .reg .b32 %lane, %a<4>, %b<2>;
  .reg .f32 %c<4>, %d<4>;
  .reg .b64 %pa, %pb, %pc, %pd, %offset;
  mov.u32 %lane, %laneid;
  mul.wide.u32 %offset, %lane, 4;
)";
  for (const char *matrix : {"a", "b", "c", "d"}) {
    text += std::string("  ld.param.u64 %p") + matrix + ", [" + matrix + "];\n  add.u64 %p" +
            matrix + ", %p" + matrix + ", %offset;\n";
  }
  const auto load = [&](const char *matrix, int count) {
    for (int k = 0; k < count; ++k) {
      text += std::string("  ld.global.b32 %") + matrix + std::to_string(k) + ", [%p" + matrix +
              "+" + std::to_string(128 * k) + "];\n";
    }
  };
  load("a", registersOfA);
  load("b", registersOfB);
  load("c", 4);
  text += "  mma.sync.aligned.m16n8k" + std::to_string(shape.depth) + ".row.col.f32." + type + "." +
          type + ".f32 " + list("%d", 4) + ", " + list("%a", registersOfA) + ", " +
          list("%b", registersOfB) + ", " + list("%c", 4) + ";\n";
  for (int k = 0; k < 4; ++k) {
    text += "  st.global.f32 [%pd+" + std::to_string(128 * k) + "], %d" + std::to_string(k) + ";\n";
  }
  return text + "  ret;\n}\n";
}

// accept(actual, exact, sum of magnitudes) for each element of the result.
void multiply(const Shape &shape, const Multiplicand &format, const std::function<double()> &next,
              const std::function<bool(double, double, double)> &accept) {
  const Code code(mmaKernel(shape, format.type));
  std::vector<std::vector<std::uint32_t>> a(16, std::vector<std::uint32_t>(shape.depth));
  std::vector<std::vector<std::uint32_t>> b(shape.depth, std::vector<std::uint32_t>(8));
  std::vector<std::vector<float>> c(16, std::vector<float>(8));
  for (auto &row : a) {
    for (std::uint32_t &element : row) element = format.encode(next());
  }
  for (auto &row : b) {
    for (std::uint32_t &element : row) element = format.encode(next());
  }
  for (auto &row : c) {
    for (float &element : row) element = static_cast<float>(next());
  }
  const Buffer<std::uint32_t> bufferA(fragments(shape.a, 16 * shape.depth / LANES, format.bits,
                                                [&](Place p) { return a[p.row][p.column]; }));
  const Buffer<std::uint32_t> bufferB(fragments(shape.b, 8 * shape.depth / LANES, format.bits,
                                                [&](Place p) { return b[p.row][p.column]; }));
  const Buffer<std::uint32_t> bufferC(fragments(
      accumulator, 4, 32, [&](Place p) { return bitCast<std::uint32_t>(c[p.row][p.column]); }));
  const Buffer<std::uint32_t> bufferD(4 * LANES);
  code.run("multiply", {1, 1, 1}, {LANES, 1, 1}, 0, {}, bufferA.address(), bufferB.address(),
           bufferC.address(), bufferD.address());
  const auto d = bufferD.read();
  for (int lane = 0; lane < LANES; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const Place place = accumulator(lane, i);
      double exact = c[place.row][place.column];
      double magnitude = std::fabs(exact);
      for (int k = 0; k < shape.depth; ++k) {
        const double term = format.decode(a[place.row][k]) * format.decode(b[k][place.column]);
        exact += term;
        magnitude += std::fabs(term);
      }
      const std::uint32_t bits = d[static_cast<std::size_t>(i * LANES + lane)];
      const double actual = bitCast<float>(bits);
      if (std::isnan(actual)) CHECK_EQUAL(bits, 0x7fff'ffffu);
      check(accept(actual, exact, magnitude), __FILE__, __LINE__, [&] {
        return std::string("mma k") + std::to_string(shape.depth) + " " + format.type + ": row " +
               std::to_string(place.row) + ", column " + std::to_string(place.column) + " is " +
               show(actual) + ", not " + show(exact);
      });
    }
  }
}

void forAllShapes(const std::function<void(const Shape &, const Multiplicand &)> &act) {
  for (const Shape &shape : SHAPES) {
    act(shape, shape.multiplicand);
    // bf16 fragments are those of f16.
    if (&shape.multiplicand == &F16) act(shape, BF16);
  }
}

}  // namespace

// Integers small enough for every sum to be exact: an element in a wrong place shows.
TEST("mma.sync, fragment layouts") {
  std::mt19937 random(5);
  forAllShapes([&](const Shape &shape, const Multiplicand &format) {
    for (int round = 0; round < 4; ++round) {
      multiply(
          shape, format,
          [&] { return static_cast<double>(static_cast<int>(random() % 201) - 100); },
          [](double actual, double exact, double) { return actual == exact; });
    }
  });
}

// Of sums in fp32 in some order: a few units of the sum of magnitudes.
TEST("mma.sync, random fragments against double") {
  std::mt19937 random(6);
  std::normal_distribution<double> normal;
  forAllShapes([&](const Shape &shape, const Multiplicand &format) {
    for (int round = 0; round < 20; ++round) {
      multiply(
          shape, format, [&] { return normal(random); },
          [&](double actual, double exact, double magnitude) {
            return std::fabs(actual - exact) <= shape.depth * std::ldexp(magnitude, -23);
          });
    }
  });
}

TEST("mma.sync, infinities, NaN, subnormals") {
  std::mt19937 random(7);
  forAllShapes([&](const Shape &shape, const Multiplicand &format) {
    const auto sparse = [&](double special) {
      return [&random, special] {
        return random() % 20 == 0 ? special : static_cast<double>(random() % 7);
      };
    };
    // 0 * inf and inf - inf are NaN, and NaN stays.
    for (const double special : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
      multiply(shape, format, sparse(special), [](double actual, double exact, double) {
        return actual == exact || (std::isnan(actual) && std::isnan(exact));
      });
    }
    // Subnormal multiplicands count.
    const double tiny = std::ldexp(1, format.type == std::string("f16") ? -24 : -130);
    multiply(shape, format, sparse(tiny), [](double actual, double exact, double magnitude) {
      return std::fabs(actual - exact) <= std::ldexp(magnitude, -20);
    });
  });
}

// Source: PTX ISA, "ldmatrix": addresses of row i of matrix j come from lane 8j + i; lane T receives
// of each matrix elements 2(T % 4) and 2(T % 4) + 1 of row T / 4, or with .trans of column T / 4.
TEST("ldmatrix") {
  constexpr int ROWS = 64;  // of 8 elements each in shared memory
  std::mt19937 random(8);
  for (const int count : {1, 2, 4}) {
    for (const bool transposed : {false, true}) {
      for (const bool generic : {false, true}) {
        const std::string opcode = "ldmatrix.sync.aligned.m8n8.x" + std::to_string(count) +
                                   (transposed ? ".trans" : "") + (generic ? "" : ".shared") +
                                   ".b16";
        std::string text = R"(
.visible .entry loads(.param .u64 rows, .param .u64 addresses, .param .u64 out)
{
  .shared .align 16 .b8 shared[1024];
  .reg .b32 %lane, %address, %v<4>;
  .reg .b64 %rows, %addresses, %out, %offset, %there;
  ld.param.u64 %rows, [rows];
  ld.param.u64 %addresses, [addresses];
  ld.param.u64 %out, [out];
  mov.u32 %lane, %laneid;
  mul.wide.u32 %offset, %lane, 16;
  add.u64 %rows, %rows, %offset;
  mov.u64 %there, shared;
  add.u64 %there, %there, %offset;
  ld.global.v4.b32 {%v0, %v1, %v2, %v3}, [%rows];
  st.shared.v4.b32 [%there], {%v0, %v1, %v2, %v3};
  ld.global.v4.b32 {%v0, %v1, %v2, %v3}, [%rows+512];
  st.shared.v4.b32 [%there+512], {%v0, %v1, %v2, %v3};
  bar.sync 0;
  mul.wide.u32 %offset, %lane, 4;
  add.u64 %addresses, %addresses, %offset;
  ld.global.b32 %address, [%addresses];
  cvt.u64.u32 %offset, %address;
  mov.u64 %there, shared;
  add.u64 %there, %there, %offset;
)";
        if (generic) text += "  cvta.shared.u64 %there, %there;\n";
        text += "  " + opcode + " " + list("%v", count) + ", [%there];\n";
        text += "  mul.wide.u32 %offset, %lane, 4;\n  add.u64 %out, %out, %offset;\n";
        for (int k = 0; k < count; ++k) {
          text += "  st.global.b32 [%out+" + std::to_string(128 * k) + "], %v" + std::to_string(k) +
                  ";\n";
        }
        const Code code(text + "  ret;\n}\n");

        std::vector<std::uint16_t> elements(8 * ROWS);
        for (std::size_t k = 0; k < elements.size(); ++k)
          elements[k] = static_cast<std::uint16_t>(k);
        std::vector<std::uint32_t> addresses(LANES);
        for (std::uint32_t &address : addresses) address = 16 * (random() % ROWS);
        const Buffer<std::uint16_t> rows(elements);
        const Buffer<std::uint32_t> addressBuffer(addresses);
        const Buffer<std::uint32_t> out(static_cast<std::size_t>(LANES * count));
        code.run("loads", {1, 1, 1}, {LANES, 1, 1}, 0, {}, rows.address(), addressBuffer.address(),
                 out.address());
        const auto result = out.read();
        for (int matrix = 0; matrix < count; ++matrix) {
          for (int lane = 0; lane < LANES; ++lane) {
            const auto element = [&](int major, int minor) {
              const int row = transposed ? minor : major;
              const int column = transposed ? major : minor;
              return std::uint32_t{elements[addresses[8 * matrix + row] / 2 + column]};
            };
            const std::uint32_t expected =
                element(lane / 4, 2 * (lane % 4)) | element(lane / 4, 2 * (lane % 4) + 1) << 16;
            const std::uint32_t actual = result[static_cast<std::size_t>(LANES * matrix + lane)];
            check(actual == expected, __FILE__, __LINE__, [&] {
              return opcode + ": matrix " + std::to_string(matrix) + ", lane " +
                     std::to_string(lane) + " has " + describe(actual) + ", not " +
                     describe(expected);
            });
          }
        }
      }
    }
  }
}
