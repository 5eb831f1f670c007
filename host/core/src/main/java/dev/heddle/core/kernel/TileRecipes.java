package dev.heddle.core.kernel;

import static dev.heddle.core.kernel.Siblings.groups;
import static dev.heddle.core.kernel.Siblings.value;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.LinearProblem;
import java.util.SortedMap;

/**
 * Recipes of the GPU-shaped siblings whose tiles lie in local memory one float after the other, as
 * {@code cl/local_tiles.h} lays them out, with the memory that the kernels' headers state. In CUDA
 * the tiles lie otherwise.
 */
public final class TileRecipes {
  private TileRecipes() {}

  /** {@code attention_flash}. */
  public static Recipe flash(
      String file, AttentionProblem attention, SortedMap<String, Integer> tunables) {
    AttentionShape shape = attention.shape();
    int blockM = value(tunables, "BLOCK_M");
    int blockN = value(tunables, "BLOCK_N");
    int threadsN = value(tunables, "THREADS_N");
    long vStride = groups(shape.headDimV(), threadsN) * threadsN;
    long localFloats =
        blockM * (shape.headDim() + 1L)
            + Math.max(shape.headDim() * (blockN + 1L), blockN * vStride)
            + blockM * (blockN + 1L)
            + (long) blockM * threadsN;
    long rowsEach = blockM / value(tunables, "THREADS_M");
    long privateFloats = rowsEach * (vStride / threadsN + blockN / threadsN + 5);
    return Siblings.flash(file, "attention_flash", attention, tunables, Siblings.threads(tunables))
        .withMemory(4 * localFloats, 4 * privateFloats);
  }

  /** {@code attention_naive} and {@code attention_staged}. */
  public static Recipe inStages(
      String file,
      AttentionProblem attention,
      String algorithm,
      SortedMap<String, Integer> tunables) {
    return withTiles(Siblings.inStages(file, attention, algorithm, tunables), algorithm, tunables);
  }

  /** One of their stages alone. */
  public static Recipe stage(
      String file, AttentionStage stage, String algorithm, SortedMap<String, Integer> tunables) {
    return withTiles(Siblings.stage(file, stage, algorithm, tunables), algorithm, tunables);
  }

  private static Recipe withTiles(
      Recipe recipe, String algorithm, SortedMap<String, Integer> tunables) {
    return algorithm.equals("naive")
        ? recipe
        : recipe.withMemory(
            Math.max(localBytes(tunables), 4L * value(tunables, "SOFTMAX_THREADS")),
            privateBytes(tunables));
  }

  /** {@code linear_tiled}. */
  public static Recipe linear(
      String file, LinearProblem linear, SortedMap<String, Integer> tunables) {
    return Siblings.linear(file, "linear_tiled", linear, tunables, Siblings.threads(tunables))
        .withMemory(localBytes(tunables), privateBytes(tunables));
  }

  /** Local memory of a pair of tiles. */
  private static long localBytes(SortedMap<String, Integer> tunables) {
    long blockK = value(tunables, "BLOCK_K");
    return 4
        * (value(tunables, "BLOCK_M") * (blockK + 1) + blockK * (value(tunables, "BLOCK_N") + 1L));
  }

  /** Private memory of a work-item's share of a product. */
  private static long privateBytes(SortedMap<String, Integer> tunables) {
    long rowsEach = value(tunables, "BLOCK_M") / value(tunables, "THREADS_M");
    long columnsEach = value(tunables, "BLOCK_N") / value(tunables, "THREADS_N");
    return 4 * rowsEach * (columnsEach + 2);
  }
}
