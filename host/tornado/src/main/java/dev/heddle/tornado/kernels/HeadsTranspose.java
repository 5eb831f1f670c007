// heads_transpose: swaps the two middle axes, to split a projection into heads and merge it back.
//
//   y[b][i][o][:] = x[b][o][i][:]
//
// Shapes (row-major): x [BATCH, OUTER, INNER, WIDTH]   y [BATCH, INNER, OUTER, WIDTH]
//   [B, SEQLEN, H, HEAD_DIM] -> [B, H, SEQLEN, HEAD_DIM] splits, the same call with OUTER and INNER
//   exchanged merges.
//
//   x:  o0 [i0 ----][i1 ----][i2 ----]        y:  i0 [o0 ----][o1 ----]
//       o1 [i0 ----][i1 ----][i2 ----]            i1 [o0 ----][o1 ----]
//          runs of WIDTH elements move whole      i2 [o0 ----][o1 ----]
//
// Launch: any grid at all, for an iteration belongs to the work-item of its number modulo the size
//   of the grid. The axes are the @Parallel loops: on a processor the batch is axis 0, elsewhere
//   the elements of a run, so that neighbouring work-items move neighbouring elements on both
//   sides.
// FLOPs: none. Bytes: each element read once and written once.
// Numerics: bits are copied, NaN included.
// Limits: tensors of less than 2^31 elements, guard bands included.
package dev.heddle.tornado.kernels;

import static dev.heddle.tornado.kernels.HeadsArgs.BATCH;
import static dev.heddle.tornado.kernels.HeadsArgs.INNER;
import static dev.heddle.tornado.kernels.HeadsArgs.OUTER;
import static dev.heddle.tornado.kernels.HeadsArgs.WIDTH;

import uk.ac.manchester.tornado.api.annotations.Parallel;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

/** The exchange of two axes. */
public final class HeadsTranspose {
  private HeadsTranspose() {}

  // ---- transpose -------------------------------------------------------------------------------

  /** y of x. */
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
