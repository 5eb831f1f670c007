// linear_naive: a linear layer as its definition reads, in parallel loops.
//
//   y[i][o] = sum_x x[i][x] weight[x][o] + bias[o]
//
// Shapes (row-major): x [ROWS, IN_FEATURES]   weight [IN_FEATURES, OUT_FEATURES]
//   bias [OUT_FEATURES] or absent   y [ROWS, OUT_FEATURES]
//
//          IN_FEATURES            OUT_FEATURES
//         +-----------+          +------------+
//   ROWS  |     x     | x weight |     .      |  one iteration per element
//         +-----------+          +------------+
//
// Launch: any grid at all, for an iteration belongs to the work-item of its number modulo the size
//   of the grid. The axes are the @Parallel loops: on a processor the rows are axis 0, elsewhere
//   the columns.
// FLOPs: 2 ROWS IN_FEATURES OUT_FEATURES.
// Bytes: nothing is reused on purpose: 2 elements read per multiply-add.
// Numerics: fp32 arithmetic, fused multiply-adds in index order, the bias added last; inputs in 16
//   bits become fp32 as they are read, by some 20 operations each in bf16, and y is rounded once.
// Limits: tensors of less than 2^31 elements, guard bands included.
// Source: the definition.
package dev.heddle.tornado.kernels;

import static dev.heddle.tornado.kernels.LinearArgs.IN_FEATURES;
import static dev.heddle.tornado.kernels.LinearArgs.OUT_FEATURES;
import static dev.heddle.tornado.kernels.LinearArgs.ROWS;

import uk.ac.manchester.tornado.api.annotations.Parallel;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

/** A linear layer as its definition reads. */
public final class LinearNaive {
  private LinearNaive() {}

  // ---- kernel ----------------------------------------------------------------------------------

  /** y of x, weight and, where there is one, bias. */
  public static void linearNaive(
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
      int hasBias) {
    int rows = args.get(ROWS);
    int inFeatures = args.get(IN_FEATURES);
    int outFeatures = args.get(OUT_FEATURES);
    for (@Parallel int i = 0; i < rows; i++) {
      for (@Parallel int o = 0; o < outFeatures; o++) {
        float sum = 0.0f;
        for (int d = 0; d < inFeatures; d++) {
          sum +=
              Storage.load(x, xBits, i * inFeatures + d, dtype)
                  * Storage.load(weight, weightBits, d * outFeatures + o, dtype);
        }
        if (hasBias != 0) {
          sum += Storage.load(bias, biasBits, o, dtype);
        }
        Storage.store(y, yBits, i * outFeatures + o, sum, dtype);
      }
    }
  }
}
