package dev.heddle.tornado.kernels;

import static dev.heddle.tornado.kernels.LinearArgs.IN_FEATURES;
import static dev.heddle.tornado.kernels.LinearArgs.OUT_FEATURES;
import static dev.heddle.tornado.kernels.LinearArgs.ROWS;

import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

public final class LinearTiled {
  private LinearTiled() {}

  // ---- kernel ----------------------------------------------------------------------------------

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
    int rowsEach = blockM / threadsM;
    int columnsEach = blockN / threadsN;
    int xStride = blockK + 1;
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
