package dev.heddle.tornado.kernels;

import static dev.heddle.tornado.kernels.HeadsArgs.BATCH;
import static dev.heddle.tornado.kernels.HeadsArgs.INNER;
import static dev.heddle.tornado.kernels.HeadsArgs.OUTER;
import static dev.heddle.tornado.kernels.HeadsArgs.WIDTH;

import uk.ac.manchester.tornado.api.annotations.Parallel;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

public final class HeadsTranspose {
  private HeadsTranspose() {}

  // ---- transpose -------------------------------------------------------------------------------

  public static void headsTranspose(
      FloatArray x, ShortArray xBits, FloatArray y, ShortArray yBits, IntArray args, int dtype) {
    int batch = args.get(BATCH);
    int outer = args.get(OUTER);
    int inner = args.get(INNER);
    int width = args.get(WIDTH);
    int rows = outer * inner;
    for (@Parallel int b = 0; b < batch; b++) {
      for (@Parallel int row = 0; row < rows; row++) {
        for (@Parallel int e = 0; e < width; e++) {
          int o = row / inner;
          int i = row % inner;
          int plane = b * rows;
          int source = plane + o * inner + i;
          int target = plane + i * outer + o;
          Storage.copy(x, xBits, source * width + e, y, yBits, target * width + e, dtype);
        }
      }
    }
  }
}
