// Products of 16 x 16 by 16 x 8 blocks on tensor cores, fp16 or bf16 with fp32 accumulation, and the
// loads that bring their operands from shared memory: mma.sync.m16n8k16 and ldmatrix.
//
// A warp holds a block in its lanes' registers. With g = lane / 4 and t = lane % 4, and two elements
// that are neighbours in a row sharing a register:
//
//   a [16 x 16]   k  2t,2t+1   2t+8,2t+9     b [16 x 8]  n   g      d [16 x 8]   n  2t   2t+1
//        row g        a[0]       a[2]         k 2t,2t+1     b0          row g      d[0]  d[1]
//        row g + 8    a[1]       a[3]         k 2t+8,2t+9   b1          row g + 8  d[2]  d[3]
//
// So d of one product, rounded and packed, is a of the next without moving between lanes: columns
// 0-7 of a are one d, columns 8-15 the next.
//
// ldmatrix reads four 8 x 8 matrices: lane l gives the address of row l % 8 of matrix l / 8 and gets
// elements (g, 2t), (g, 2t + 1) of all four, or (2t, g), (2t + 1, g) with .trans. Where lane l points
// to row l % 16 and column 8 (l / 16) of a row-major 16 x 16 block, the four registers are
//
//   load_block             a of the block itself, or b of two products with the block's transpose:
//                          (x[0], x[2]) for its rows 0-7 and (x[1], x[3]) for its rows 8-15
//   load_block_transposed  b of two products with the block: (x[0], x[1]) for its columns 0-7 and
//                          (x[2], x[3]) for its columns 8-15
#ifndef HEDDLE_MMA_H
#define HEDDLE_MMA_H

#include "storage.h"

FORCE_INLINE void load_block(unsigned (&x)[4], const unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(address)
               : "memory");
}

FORCE_INLINE void load_block_transposed(unsigned (&x)[4], const unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(address)
               : "memory");
}

#if DTYPE == FP16
#define MMA_INSTRUCTION "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
#else
#define MMA_INSTRUCTION "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
#endif

// d = a b
FORCE_INLINE void multiply(float (&d)[4], const unsigned (&a)[4], const unsigned b0,
                           const unsigned b1) {
  asm(MMA_INSTRUCTION "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.0f));
}

// d += a b
FORCE_INLINE void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned b0,
                               const unsigned b1) {
  asm(MMA_INSTRUCTION "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif
