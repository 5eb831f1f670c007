package dev.heddle.cuda;

import static dev.heddle.core.kernel.Siblings.groups;
import static dev.heddle.core.kernel.Siblings.same;
import static dev.heddle.core.kernel.Siblings.value;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.Shape;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Recipe.Launch;
import dev.heddle.core.kernel.Siblings;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;

/** The rungs that the CUDA kernels offer for each operation, and the recipe of each. */
final class Ladder {
  private static final Set<DType> FP32 = Set.of(DType.FP32);
  private static final Set<DType> HALVES = Set.of(DType.FP16, DType.BF16);
  private static final Set<DType> ALL = Set.copyOf(DType.FLOATING);

  /**
   * Rows of queries times query heads of a group up to which decoding is what splitkv is for: two
   * of its blocks, of which the second reads the keys again, mostly from the cache.
   */
  private static final long FEW_ROWS = 16;

  /** Keys from which on a few rows do not fill the device by themselves. */
  private static final int MANY_KEYS = 1024;

  private static final int WARP = 32;

  // What cuda/attention_splitkv.cu and cuda/heads_transpose.cu call by the same names.
  private static final int COMBINE_COLUMNS = 32;
  private static final int COMBINE_SPLITS = 32;
  private static final int LANES = 16;
  private static final int ROWS = 16;

  private Ladder() {}

  /**
   * Rungs for an operation, slowest first; the same on every device, which may refuse the higher
   * ones.
   */
  static List<String> algorithms(Operation operation) {
    return switch (operation) {
      case AttentionProblem attention ->
          isDecoding(attention.shape())
              ? List.of("naive", "staged", "flash", "flash_mma", "splitkv")
              : List.of("naive", "staged", "splitkv", "flash", "flash_mma");
      case AttentionStage stage -> List.of("naive", "staged");
      case LinearProblem linear -> List.of("tiled", "mma");
      case HeadsTranspose heads -> List.of("transpose");
      case CacheAppend cache -> List.of("append");
      case RotaryEmbedding rotary -> List.of("embedding");
      case LinearAttention linear -> List.of("recurrent");
    };
  }

  /** The storage types in which a rung runs. */
  static Set<DType> dtypes(Operation operation, String algorithm) {
    return switch (operation) {
      case AttentionProblem attention ->
          switch (algorithm) {
            case "flash_mma" -> HALVES;
            case "splitkv" -> ALL;
            default -> FP32;
          };
      case AttentionStage stage -> FP32;
      case LinearProblem linear -> algorithm.equals("mma") ? HALVES : FP32;
      case HeadsTranspose heads -> ALL;
      case CacheAppend cache -> ALL;
      case RotaryEmbedding rotary -> ALL;
      case LinearAttention linear -> ALL;
    };
  }

  /**
   * The options of attention that a rung has: all, but for the scores where they are in no memory;
   * in splitkv what decoding needs.
   */
  static Set<AttentionOption> options(String algorithm) {
    return switch (algorithm) {
      case "naive", "staged" -> AttentionOption.ALL;
      case "flash" -> AttentionOption.WITHOUT_SCORES;
      case "splitkv" -> Set.of(AttentionOption.KEY_LENGTHS);
      default -> Set.of();
    };
  }

  /**
   * What a rung launches.
   *
   * @param file the rung's kernel file
   * @param tunables a value for every tunable of that file
   */
  static Recipe recipe(
      String file, Operation operation, String algorithm, SortedMap<String, Integer> tunables) {
    Recipe recipe =
        switch (operation) {
          case AttentionProblem attention ->
              switch (algorithm) {
                case "flash" -> flash(file, attention, tunables);
                case "flash_mma" -> flashMma(file, attention, tunables);
                case "splitkv" -> splitKv(file, attention, tunables);
                default ->
                    staged(
                        Siblings.withOptions(
                            Siblings.inStages(file, attention, algorithm, tunables), attention),
                        algorithm,
                        tunables);
              };
          case AttentionStage stage ->
              staged(
                  Siblings.withOptions(Siblings.stage(file, stage, algorithm, tunables), stage),
                  algorithm,
                  tunables);
          case LinearProblem linear ->
              algorithm.equals("mma")
                  ? linearMma(file, linear, tunables)
                  : Siblings.linear(
                          file, "linear_tiled", linear, tunables, Siblings.threads(tunables))
                      .withMemory(tilesBytes(tunables), 0);
          case HeadsTranspose heads -> heads(file, heads, tunables);
          case CacheAppend cache -> Siblings.cacheAppend(file, cache, tunables);
          case RotaryEmbedding rotary -> Siblings.rotaryEmbedding(file, rotary, tunables);
          case LinearAttention linear ->
              Siblings.linearAttention(file, linear, tunables).withMemory(0, 0);
        };
    return dtypes(operation, algorithm).equals(FP32)
        ? recipe
        : recipe.withMacro("DTYPE", Siblings.code(operation.dtype()));
  }

  private static boolean isDecoding(AttentionShape shape) {
    return (long) shape.seqlenQ() * shape.groupSize() <= FEW_ROWS && shape.seqlenK() >= MANY_KEYS;
  }

  // ---- attention

  private static Recipe flash(
      String file, AttentionProblem attention, SortedMap<String, Integer> tunables) {
    AttentionShape shape = attention.shape();
    int blockM = value(tunables, "BLOCK_M");
    int blockN = value(tunables, "BLOCK_N");
    int threadsN = value(tunables, "THREADS_N");
    long qStride = oddStride(shape.headDim());
    long vStride = groups(shape.headDimV(), 4 * threadsN) * 4 * threadsN;
    long pStride = (long) threadsN * (blockN / threadsN | 1);
    long floats = (blockM + blockN) * qStride + blockN * vStride + blockM * pStride;
    return shared(
        Siblings.withOptions(
            Siblings.flash(
                file, "attention_flash", attention, tunables, Siblings.threads(tunables)),
            attention),
        4 * floats);
  }

  private static Recipe flashMma(
      String file, AttentionProblem attention, SortedMap<String, Integer> tunables) {
    AttentionShape shape = attention.shape();
    long rowBytes = 2L * Math.max(shape.headDim(), shape.headDimV());
    long rows =
        value(tunables, "BLOCK_M") + (long) value(tunables, "STAGES") * value(tunables, "BLOCK_N");
    return shared(
        Siblings.flash(file, "attention_flash_mma", attention, tunables, warps(tunables)),
        rowBytes * rows);
  }

  /** The keys in splits, each of which leaves partial sums, and their combination. */
  private static Recipe splitKv(
      String file, AttentionProblem attention, SortedMap<String, Integer> tunables) {
    AttentionShape shape = attention.shape();
    int splits = Math.toIntExact(groups(shape.seqlenK(), value(tunables, "KEYS_PER_SPLIT")));
    int blockM = value(tunables, "BLOCK_M");
    int blockN = value(tunables, "BLOCK_N");
    long pieceBytes = 16;
    long pieceElements = pieceBytes / attention.dtype().bytes();
    long kStride = shape.headDim() / pieceElements | 1;
    long vStride = shape.headDimV() / pieceElements;
    long tileBytes = pieceBytes * blockN * (kStride + vStride) + 4L * blockM * blockN;
    long mergeBytes = 4L * blockM * (shape.headDimV() + 2);
    long sharedBytes =
        4L * blockM * shape.headDim() + value(tunables, "WARPS") * Math.max(tileBytes, mergeBytes);
    Launch parts =
        new Launch(
            "attention_splitkv",
            List.of(
                (long) splits,
                groups((long) shape.seqlenQ() * shape.groupSize(), blockM),
                (long) shape.batch() * shape.headsKv()),
            warps(tunables),
            same("q", "k", "v", "partial_out", "partial_m", "partial_l"));
    Launch combine =
        new Launch(
            "attention_combine",
            List.of(
                shape.seqlenQ() * groups(shape.headDimV(), COMBINE_COLUMNS),
                (long) shape.headsQ(),
                (long) shape.batch()),
            List.of(COMBINE_COLUMNS / 4, COMBINE_SPLITS, 1),
            same("partial_out", "partial_m", "partial_l", "out", "lse"));
    Shape rows = Shape.of(splits, shape.batch(), shape.headsQ(), shape.seqlenQ());
    Recipe first =
        shared(
            Recipe.of(
                file,
                Siblings.macros(attention, tunables),
                List.of(parts),
                Siblings.args(attention)),
            sharedBytes);
    Recipe both = first.withLaunches(List.of(first.launches().getFirst(), combine));
    return Siblings.withKeyLengths(both, attention)
        .withScratch(
            Map.of(
                "partial_out",
                Shape.of(splits, shape.batch(), shape.headsQ(), shape.seqlenQ(), shape.headDimV()),
                "partial_m",
                rows,
                "partial_l",
                rows));
  }

  private static Recipe staged(
      Recipe recipe, String algorithm, SortedMap<String, Integer> tunables) {
    if (algorithm.equals("naive")) {
      return recipe;
    }
    long transposedBytes =
        8
            * (value(tunables, "BLOCK_M") + value(tunables, "BLOCK_N"))
            * oddStride(value(tunables, "BLOCK_K"));
    long softmaxBytes = 4L * value(tunables, "SOFTMAX_THREADS");
    return recipe.withMemory(
        Math.max(Math.max(transposedBytes, softmaxBytes), tilesBytes(tunables)), 0);
  }

  // ---- linear

  private static Recipe linearMma(
      String file, LinearProblem linear, SortedMap<String, Integer> tunables) {
    long rows = value(tunables, "BLOCK_M") + (long) value(tunables, "BLOCK_N");
    return shared(
        Siblings.linear(file, "linear_mma", linear, tunables, warps(tunables)),
        2 * rows * value(tunables, "BLOCK_K") * value(tunables, "STAGES"));
  }

  // ---- heads

  /**
   * Whole runs of elements, {@link #ROWS} of them a block: not the geometry of the OpenCL sibling.
   */
  private static Recipe heads(
      String file, HeadsTranspose heads, SortedMap<String, Integer> tunables) {
    Recipe sibling = Siblings.heads(file, heads, tunables);
    Launch launch = sibling.launches().getFirst();
    return sibling.withLaunches(
        List.of(
            new Launch(
                launch.kernel(),
                List.of(groups((long) heads.outer() * heads.inner(), ROWS), (long) heads.batch()),
                List.of(LANES, ROWS),
                launch.tensors())));
  }

  // ---- shared memory, by the sums that the kernels' headers state

  /** Shared memory that the host sizes; the file checks the sum when it is compiled. */
  private static Recipe shared(Recipe recipe, long bytes) {
    int clamped = (int) Math.min(bytes, Integer.MAX_VALUE);
    return recipe
        .withMacro("SHARED_BYTES", clamped)
        .withLaunches(
            recipe.launches().stream().map(launch -> launch.withDynamicBytes(clamped)).toList())
        .withMemory(bytes, 0);
  }

  /** Two pairs of a tile of rows and a tile of columns, {@code BLOCK_K} deep. */
  private static long tilesBytes(SortedMap<String, Integer> tunables) {
    int blockK = value(tunables, "BLOCK_K");
    return 8
        * (value(tunables, "BLOCK_M") * oddStride(blockK)
            + (long) blockK * value(tunables, "BLOCK_N"));
  }

  /** An odd number of groups of four floats: cuda/local_tiles.h's ODD_STRIDE. */
  private static long oddStride(int columns) {
    return 4L * (columns / 4 | 1);
  }

  private static List<Integer> warps(SortedMap<String, Integer> tunables) {
    return List.of(WARP * value(tunables, "WARPS"), 1, 1);
  }
}
