// ldmatrix and mma.sync, by the fragment layouts of the PTX ISA. Products are exact; sums are
// rounded to f32 one after another, which no tensor core does (each generation adds in a way of its
// own), so a result agrees with a GPU's to the accuracy of f32 and not bit by bit.

#include <array>
#include <cmath>
#include <cstring>

#include "access.h"
#include "operations.h"

namespace ptx {

namespace {

// ---- ldmatrix ------------------------------------------------------------------------------------

constexpr int SIDE = 8;        // of a matrix
constexpr u32 ROW_BYTES = 16;  // 8 elements of 16 bits

// Lane 8j+i holds the address of row i of matrix j. Of a row, lane 4i+k receives elements 2k and
// 2k+1; transposed, of column i lane 4i+k receives those of rows 2k and 2k+1.
template <int N, bool transpose, bool generic>
void loadMatrices(Warp &warp, const Instruction &instruction, Mask) {
  constexpr Mask ADDRESSES = N == 4 ? ALL_LANES : (Mask{1} << SIDE * N) - 1;
  Addresses addresses = addressesOf(warp, instruction, N);
  if (generic) {
    for (int lane = 0; lane < SIDE * N; lane++) {
      if (spaceOf(addresses[lane]) != Space::Shared) {
        throw Fault{CudaError::IllegalAddress, lane,
                    "ldmatrix from " + hex(addresses[lane]) + ", which is not in shared memory"};
      }
      addresses[lane] -= SHARED_WINDOW;
    }
  }
  checkShared("ldmatrix", warp, addresses, ROW_BYTES, ADDRESSES);
  Block &block = warp.block;
  for (int lane = 0; lane < SIDE * N; lane++) {
    const int row = lane % SIDE;
    // The lanes that receive elements of this row are the ones that read it.
    const Mask readers = transpose ? Mask{0x1111'1111} << row / 2 : Mask{0xf} << 4 * row;
    block.shadow.read(warp.index, static_cast<u32>(addresses[lane]), ROW_BYTES, readers,
                      instruction.line);
  }
  for (int matrix = 0; matrix < N; matrix++) {
    u16 rows[SIDE][SIDE];
    for (int row = 0; row < SIDE; row++) {
      std::memcpy(rows[row], block.shared.data() + addresses[matrix * SIDE + row], ROW_BYTES);
    }
    u32 *d = warp.operand<u32>(instruction, matrix);
    if (!transpose) {
      std::memcpy(d, rows, sizeof rows);
      continue;
    }
    for (int lane = 0; lane < LANES; lane++) {
      const int row = 2 * (lane % 4);
      const int column = lane / 4;
      d[lane] = rows[row][column] | u32{rows[row + 1][column]} << 16;
    }
  }
}

template <int N, bool transpose>
void addLdmatrix(OperationTable &t) {
  const std::string name =
      "ldmatrix.sync.aligned.m8n8.x" + std::to_string(N) + (transpose ? ".trans" : "");
  const Slot d = result<u32>.vector(N);
  Operation shared{
      loadMatrices<N, transpose, false>, {d, addressIn(Space::Shared)}, Flow::WarpAligned};
  shared.accessBytes = ROW_BYTES;
  t.add(name + ".shared.b16", shared);
  Operation generic{
      loadMatrices<N, transpose, true>, {d, addressIn(Space::Generic)}, Flow::WarpAligned};
  generic.accessBytes = ROW_BYTES;
  t.add(name + ".b16", generic);
}

// ---- mma.sync ------------------------------------------------------------------------------------

constexpr int ROWS = 16;    // of A and of the result
constexpr int COLUMNS = 8;  // of B and of the result

// Formats of A and B: how many elements a register holds, and their values.
struct Half {
  static constexpr int PER_REGISTER = 2;
  static f32 element(u32 bits, int k) { return toFloat(f16{static_cast<u16>(bits >> 16 * k)}); }
};
struct Brain {
  static constexpr int PER_REGISTER = 2;
  static f32 element(u32 bits, int k) { return toFloat(bf16{static_cast<u16>(bits >> 16 * k)}); }
};
struct Tensor32 {
  static constexpr int PER_REGISTER = 1;
  // A tensor core does not see the lower 13 bits.
  static f32 element(u32 bits, int) { return bitsAs<f32>(bits & ~0x1fffu); }
};

// One number of each lane.
using Fragment = std::array<f32, LANES>;

// Element k of a register of A or B.
template <class Format>
Fragment elements(Warp &warp, const Instruction &instruction, int operand, int k) {
  const u32 *bits = warp.operand<u32>(instruction, operand);
  Fragment result;
  for (int lane = 0; lane < LANES; lane++) result[lane] = Format::element(bits[lane], k);
  return result;
}

// The product of two numbers in one of these formats has no more bits than f32 holds, so with fma or
// without it the result is the same while the product is in the range of f32, as it always is for
// f16. Beyond (bf16 and tf32 reach 2^256 and 2^-268) fma does not overflow or underflow in between.
// Where the processor has fma it is faster, and elsewhere very slow.
f32 multiplyAdd(f32 a, f32 b, f32 c) {
#ifdef __FMA__
  return std::fma(a, b, c);
#else
  return a * b + c;
#endif
}

// D = A B + C, A of ROWS x DEPTH, B of DEPTH x COLUMNS. In a register of A, lane 4i+k holds of row i
// (or i+8, in every second register) the elements from k * PER_REGISTER on; the registers of B hold
// columns i in the same way; pairs of registers of C and D hold columns 2k and 2k+1 of rows i, i+8.
template <class Format, int DEPTH>
void multiply(Warp &warp, const Instruction &instruction, Mask) {
  constexpr int EACH = Format::PER_REGISTER;
  constexpr int STEP = 4 * EACH;       // of DEPTH that one register of all lanes covers
  constexpr int STEPS = DEPTH / STEP;  // registers of B
  constexpr int A = 4;                 // the operands: 4 of D, A, B, 4 of C
  constexpr int B = A + 2 * STEPS;
  constexpr int C = B + STEPS;

  alignas(64) f32 a[DEPTH][ROWS];
  alignas(64) f32 b[DEPTH][COLUMNS];
  alignas(64) f32 sum[COLUMNS][ROWS];
  for (int step = 0; step < STEPS; step++) {
    for (int each = 0; each < EACH; each++) {
      const int depth = STEP * step + each;
      for (int half = 0; half < 2; half++) {
        const Fragment values = elements<Format>(warp, instruction, A + 2 * step + half, each);
        for (int i = 0; i < 8; i++) {
          for (int k = 0; k < 4; k++) a[depth + EACH * k][8 * half + i] = values[4 * i + k];
        }
      }
      const Fragment values = elements<Format>(warp, instruction, B + step, each);
      for (int i = 0; i < 8; i++) {
        for (int k = 0; k < 4; k++) b[depth + EACH * k][i] = values[4 * i + k];
      }
    }
  }
  for (int part = 0; part < 4; part++) {
    const f32 *c = warp.operand<f32>(instruction, C + part);
    for (int i = 0; i < 8; i++) {
      for (int k = 0; k < 4; k++) sum[2 * k + part % 2][8 * (part / 2) + i] = c[4 * i + k];
    }
  }
  for (int column = 0; column < COLUMNS; column++) {
    alignas(64) f32 sums[ROWS];
    std::memcpy(sums, sum[column], sizeof sums);
    for (int depth = 0; depth < DEPTH; depth++) {
      const f32 factor = b[depth][column];
      for (int row = 0; row < ROWS; row++) {
        sums[row] = multiplyAdd(a[depth][row], factor, sums[row]);
      }
    }
    for (int row = 0; row < ROWS; row++) sum[column][row] = canonical(sums[row]);
  }
  for (int part = 0; part < 4; part++) {
    f32 *d = warp.operand<f32>(instruction, part);
    for (int i = 0; i < 8; i++) {
      for (int k = 0; k < 4; k++) d[4 * i + k] = sum[2 * k + part % 2][8 * (part / 2) + i];
    }
  }
}

template <class Format, int DEPTH>
void addMma(OperationTable &t, const std::string &type) {
  constexpr int STEPS = DEPTH / (4 * Format::PER_REGISTER);
  t.add("mma.sync.aligned.m16n8k" + std::to_string(DEPTH) + ".row.col.f32." + type + "." + type +
            ".f32",
        {multiply<Format, DEPTH>,
         {result<f32>.vector(4), input<u32>.vector(2 * STEPS), input<u32>.vector(STEPS),
          input<f32>.vector(4)},
         Flow::WarpAligned});
}

}  // namespace

void addMatrixOperations(OperationTable &t) {
  addLdmatrix<1, false>(t);
  addLdmatrix<2, false>(t);
  addLdmatrix<4, false>(t);
  addLdmatrix<1, true>(t);
  addLdmatrix<2, true>(t);
  addLdmatrix<4, true>(t);
  addMma<Half, 8>(t, "f16");
  addMma<Half, 16>(t, "f16");
  addMma<Brain, 8>(t, "bf16");
  addMma<Brain, 16>(t, "bf16");
  addMma<Tensor32, 4>(t, "tf32");
  addMma<Tensor32, 8>(t, "tf32");
}

}  // namespace ptx
