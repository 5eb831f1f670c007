package dev.heddle.tornado.kernels;

import static dev.heddle.tornado.kernels.LinearArgs.IN_FEATURES;
import static dev.heddle.tornado.kernels.LinearArgs.OUT_FEATURES;
import static dev.heddle.tornado.kernels.LinearArgs.ROWS;

import uk.ac.manchester.tornado.api.annotations.Parallel;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

public final class LinearNaive {
  private LinearNaive() {}

  // ---- kernel ----------------------------------------------------------------------------------

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
