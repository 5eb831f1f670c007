// linear_tiled: a linear layer with both operands tiled through local memory.
//
//   y[i][o] = sum_x x[i][x] weight[x][o] + bias[o]
//
// Shapes (row-major): x [ROWS, IN_FEATURES]   weight [IN_FEATURES, OUT_FEATURES]
//   bias [OUT_FEATURES] or absent   y [ROWS, OUT_FEATURES]
//
//                                BLOCK_K  +------+ weight tile
//                                         |      |
//                                         +------+
//                 x tile BLOCK_K           BLOCK_N
//             +---------+                 +------+
//    BLOCK_M  |         |                 |  y   | one work-group; each work-item owns
//             +---------+                 +------+ BLOCK_M / THREADS_M x BLOCK_N / THREADS_N of it
//
// Work-item (ty, tx) owns the elements in rows ty, ty + THREADS_M, ... and columns tx, tx +
// THREADS_N, ...: neighbours in x read neighbouring words of a tile's row, and all of them the same
// word of a tile's column. With THREADS_N = 1 the columns of a work-item are neighbours, which a
// processor's compiler puts into vectors.
//
// Launch: local (THREADS_N, THREADS_M), groups (ceil(OUT_FEATURES / BLOCK_N), ceil(ROWS /
//   BLOCK_M)).
// FLOPs: 2 ROWS IN_FEATURES OUT_FEATURES.
// Bytes: x is read OUT_FEATURES / BLOCK_N times, weight ROWS / BLOCK_M times, y written once.
// Local memory: 4 (BLOCK_M (BLOCK_K + 1) + BLOCK_K (BLOCK_N + 1)) bytes.
// Private memory: 4 BLOCK_M / THREADS_M (BLOCK_N / THREADS_N + 2) bytes at most.
// Numerics: fp32 arithmetic, fused multiply-adds in index order, the bias added last; inputs in 16
//   bits become fp32 as they enter a tile, and y is rounded once.
// Limits: tensors of less than 2^31 elements, guard bands included.
// Source: the classic blocked product; see Kirk and Hwu, "Programming Massively Parallel
//   Processors".
package dev.heddle.tornado.kernels;

import static dev.heddle.tornado.kernels.LinearArgs.IN_FEATURES;
import static dev.heddle.tornado.kernels.LinearArgs.OUT_FEATURES;
import static dev.heddle.tornado.kernels.LinearArgs.ROWS;

import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

/** A linear layer with both operands tiled through local memory. */
@Tunable(
    name = "BLOCK_M",
    value = 64,
    among = {16, 32, 64, 128},
    meaning = "rows of y per work-group")
@Tunable(
    name = "BLOCK_N",
    value = 64,
    among = {16, 32, 64, 128},
    meaning = "columns of y per work-group")
@Tunable(
    name = "BLOCK_K",
    value = 16,
    among = {8, 16, 32},
    meaning = "depth of a pair of tiles")
@Tunable(
    name = "THREADS_M",
    value = 16,
    among = {8, 16, 32},
    meaning = "work-items along the rows")
@Tunable(
    name = "THREADS_N",
    value = 16,
    among = {1, 8, 16},
    meaning = "work-items along the columns")
@Refused(when = "BLOCK_M % THREADS_M != 0", because = "BLOCK_M must be a multiple of THREADS_M")
@Refused(when = "BLOCK_N % THREADS_N != 0", because = "BLOCK_N must be a multiple of THREADS_N")
public final class LinearTiled {
  private LinearTiled() {}

  // ---- kernel ----------------------------------------------------------------------------------

  /** y of x, weight and, where there is one, bias. */
  public static void linearTiled(
      KernelContext context,
      FloatArray x,
      ShortArray xBits,
      FloatArray weight,
      ShortArray weightBits,
      FloatArray bias,
      ShortArray biasBits,
      FloatArray y,
      ShortArray yBits,
      IntArray args,
      int dtype,
      int blockM,
      int blockN,
      int blockK,
      int threadsM,
      int threadsN,
      int hasBias) {
    int rowsEach = blockM / threadsM; // rows of y that a work-item owns
    int columnsEach = blockN / threadsN; // columns of y that a work-item owns
    int xStride = blockK + 1; // odd: rows start in different banks
    int weightStride = blockN + 1;
    float[] xTile = context.allocateFloatLocalArray(blockM * xStride);
    float[] weightTile = context.allocateFloatLocalArray(blockK * weightStride);
    int tx = context.localIdx;
    int ty = context.localIdy;
    int thread = ty * threadsN + tx;
    int threads = threadsM * threadsN;
    int column0 = context.groupIdx * blockN;
    int row0 = context.groupIdy * blockM;
    int rows = args.get(ROWS);
    int inFeatures = args.get(IN_FEATURES);
    int outFeatures = args.get(OUT_FEATURES);

    float[] acc = new float[rowsEach * columnsEach];
    for (int e = 0; e < rowsEach * columnsEach; e++) {
      acc[e] = 0.0f;
    }

    // The host keeps every tensor below 2^31 elements, so that indices are ints.
    for (int depth = 0; depth < inFeatures; depth += blockK) {
      for (int e = thread; e < blockM * blockK; e += threads) {
        int row = e / blockK;
        int column = e % blockK;
        float value = 0.0f;
        if (row0 + row < rows) {
          if (depth + column < inFeatures) {
            value = Storage.load(x, xBits, (row0 + row) * inFeatures + depth + column, dtype);
          }
        }
        xTile[row * xStride + column] = value;
      }
      for (int e = thread; e < blockK * blockN; e += threads) {
        int row = e / blockN;
        int column = e % blockN;
        float value = 0.0f;
        if (depth + row < inFeatures) {
          if (column0 + column < outFeatures) {
            value =
                Storage.load(
                    weight, weightBits, (depth + row) * outFeatures + column0 + column, dtype);
          }
        }
        weightTile[row * weightStride + column] = value;
      }
      // Read after write: every work-item multiplies what the others have just loaded.
      context.localBarrier();
      for (int d = 0; d < blockK; d++) {
        for (int r = 0; r < rowsEach; r++) {
          float xRd = xTile[(ty + r * threadsM) * xStride + d];
          for (int c = 0; c < columnsEach; c++) {
            acc[r * columnsEach + c] += xRd * weightTile[d * weightStride + tx + c * threadsN];
          }
        }
      }
      // Write after read: the next tiles overwrite what slower work-items may still be reading.
      context.localBarrier();
    }

    for (int r = 0; r < rowsEach; r++) {
      int row = row0 + ty + r * threadsM;
      if (row < rows) {
        for (int c = 0; c < columnsEach; c++) {
          int column = column0 + tx + c * threadsN;
          if (column < outFeatures) {
            float sum = acc[r * columnsEach + c];
            if (hasBias != 0) {
              sum += Storage.load(bias, biasBits, column, dtype);
            }
            Storage.store(y, yBits, row * outFeatures + column, sum, dtype);
          }
        }
      }
    }
  }
}
