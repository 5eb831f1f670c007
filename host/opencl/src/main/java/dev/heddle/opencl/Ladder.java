package dev.heddle.opencl;

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
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Siblings;
import dev.heddle.core.kernel.TileRecipes;
import java.util.List;
import java.util.Set;
import java.util.SortedMap;

/** The rungs that the OpenCL kernels offer for each operation, and the recipe of each. */
final class Ladder {
  /** The storage types in which every rung runs. */
  static final Set<DType> DTYPES = Set.copyOf(DType.FLOATING);

  /** The rungs that keep the scores in memory. */
  private static final Set<String> IN_STAGES = Set.of("naive", "staged");

  private static final List<Integer> ALONE = List.of(1, 1, 1);

  private Ladder() {}

  /** Rungs for an operation on a device, slowest first. */
  static List<String> algorithms(ClDevice device, Operation operation) {
    boolean processor = device.runsProcessorKernels();
    return switch (operation) {
      case AttentionProblem attention ->
          processor
              ? List.of("naive", "staged", "flash", "flash_cpu")
              : List.of("naive", "staged", "flash");
      case AttentionStage stage -> List.of("naive", "staged");
      case LinearProblem linear -> processor ? List.of("tiled", "cpu") : List.of("tiled");
      case HeadsTranspose heads -> List.of("transpose");
      case CacheAppend cache -> List.of("append");
      case RotaryEmbedding rotary -> List.of("embedding");
      case LinearAttention linear -> List.of("recurrent");
    };
  }

  /**
   * The options of attention that a rung has: all, but for the scores where they are in no memory.
   */
  static Set<AttentionOption> options(String algorithm) {
    return IN_STAGES.contains(algorithm) ? AttentionOption.ALL : AttentionOption.WITHOUT_SCORES;
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
              Siblings.withOptions(attention(file, attention, algorithm, tunables), attention);
          case AttentionStage stage ->
              Siblings.withOptions(TileRecipes.stage(file, stage, algorithm, tunables), stage);
          case LinearProblem linear ->
              algorithm.equals("tiled")
                  ? TileRecipes.linear(file, linear, tunables)
                  : linearCpu(file, linear, tunables);
          case HeadsTranspose heads -> Siblings.heads(file, heads, tunables);
          case CacheAppend cache -> Siblings.cacheAppend(file, cache, tunables);
          case RotaryEmbedding rotary -> Siblings.rotaryEmbedding(file, rotary, tunables);
          case LinearAttention linear -> Siblings.linearAttention(file, linear, tunables);
        };
    return recipe.withMacro("DTYPE", Siblings.code(operation.dtype()));
  }

  private static Recipe attention(
      String file,
      AttentionProblem attention,
      String algorithm,
      SortedMap<String, Integer> tunables) {
    return switch (algorithm) {
      case "flash" -> TileRecipes.flash(file, attention, tunables);
      case "flash_cpu" -> flashCpu(file, attention, tunables);
      default -> TileRecipes.inStages(file, attention, algorithm, tunables);
    };
  }

  /**
   * Iterations of all its loops together, at most, that a work-item makes in one of a rung's
   * kernels whose loops are as long as the keys; 0 for other kernels.
   */
  static long loopIterations(Operation operation, Recipe recipe) {
    return switch (operation) {
      case AttentionProblem attention -> loopIterations(attention, recipe);
      case AttentionStage stage -> loopIterations(stage.attention(), recipe);
      case LinearAttention linear -> loopIterations(linear);
      default -> 0;
    };
  }

  private static long loopIterations(AttentionProblem attention, Recipe recipe) {
    AttentionShape shape = attention.shape();
    long keys = shape.seqlenK();
    SortedMap<String, Integer> macros = recipe.macros();
    return switch (recipe.file()) {
      // Maximum, sum, probabilities, and whether options leave any key.
      case "attention_naive.cl" -> 4 * (keys + 1);
      // What the compiler unrolls of a product of tiles is its own affair: 8 for each key are more
      // than were met (9000 keys pass on llvmpipe, 22000 do not).
      case "attention_staged.cl" -> 8 * keys;
      case "attention_flash.cl" -> {
        int threads = value(macros, "THREADS_M") * value(macros, "THREADS_N");
        int blockN = value(macros, "BLOCK_N");
        long loads = (long) blockN * (shape.headDim() + shape.headDimV()) / threads + 4;
        // The product with K is a loop over the head, that with V one over the tile's keys.
        yield Siblings.groups(keys, blockN) * (loads + shape.headDim() + blockN + 10);
      }
      default -> 0;
    };
  }

  private static long loopIterations(LinearAttention linear) {
    AttentionShape shape = linear.shape();
    // A loop over the head takes a last iteration in which it ends.
    long overTheHead = shape.headDim() + 1L;
    int passes =
        1
            + (linear.rule().isGated() ? 1 : 0)
            + (linear.rule().isDelta() ? 1 : 0)
            + shape.groupSize();
    long eachToken = passes * overTheHead + 3L * shape.groupSize() + 4;
    return shape.seqlenK() * eachToken + 5 * overTheHead;
  }

  // ---- processors

  private static Recipe flashCpu(
      String file, AttentionProblem attention, SortedMap<String, Integer> tunables) {
    AttentionShape shape = attention.shape();
    // The sums that the kernel's header states.
    long blockN = value(tunables, "BLOCK_N");
    long privateFloats =
        value(tunables, "BLOCK_M") * (shape.headDim() + shape.headDimV() + blockN)
            + widened(
                attention,
                Math.max(
                    value(tunables, "UNROLL_K") * (long) shape.headDim(),
                    blockN * shape.headDimV()));
    return Siblings.flash(file, "attention_flash_cpu", attention, tunables, ALONE)
        .withMemory(0, 4 * privateFloats);
  }

  private static Recipe linearCpu(
      String file, LinearProblem linear, SortedMap<String, Integer> tunables) {
    return Siblings.linear(file, "linear_cpu", linear, tunables, ALONE)
        .withMemory(0, panelPrivateBytes(linear, tunables));
  }

  /** Private memory of a panel and the rows that it is multiplied into, as linear_cpu states it. */
  private static long panelPrivateBytes(LinearProblem linear, SortedMap<String, Integer> tunables) {
    long blockN = value(tunables, "BLOCK_N");
    long blockK = value(tunables, "BLOCK_K");
    long privateFloats =
        blockN * (blockK + value(tunables, "BLOCK_M"))
            + widened(linear, value(tunables, "UNROLL_M") * blockK + blockN);
    return 4 * privateFloats;
  }

  /** Elements that a processor's kernel keeps widened: none where they are fp32 as they are. */
  private static long widened(Operation operation, long elements) {
    return operation.dtype() == DType.FP32 ? 0 : elements;
  }
}
