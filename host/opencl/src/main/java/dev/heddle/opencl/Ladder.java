package dev.heddle.opencl;

import static dev.heddle.core.kernel.Siblings.groups;
import static dev.heddle.core.kernel.Siblings.value;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Siblings;
import java.util.List;
import java.util.SortedMap;

/** The rungs that the OpenCL kernels offer for each operation, and the recipe of each. */
final class Ladder {
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
    return switch (operation) {
      case AttentionProblem attention ->
          switch (algorithm) {
            case "flash" -> flash(file, attention, tunables);
            case "flash_cpu" -> flashCpu(file, attention, tunables);
            default ->
                staged(
                    Siblings.inStages(file, attention, algorithm, tunables), algorithm, tunables);
          };
      case AttentionStage stage ->
          staged(Siblings.stage(file, stage, algorithm, tunables), algorithm, tunables);
      case LinearProblem linear -> linear(file, linear, algorithm, tunables);
      case HeadsTranspose heads -> Siblings.heads(file, heads, tunables);
    };
  }

  // ---- attention

  private static Recipe flash(
      String file, AttentionProblem attention, SortedMap<String, Integer> tunables) {
    AttentionShape shape = attention.shape();
    int blockM = value(tunables, "BLOCK_M");
    int blockN = value(tunables, "BLOCK_N");
    int threadsN = value(tunables, "THREADS_N");
    long vStride = groups(shape.headDimV(), threadsN) * threadsN;
    // The sums that the kernel's header states.
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

  private static Recipe flashCpu(
      String file, AttentionProblem attention, SortedMap<String, Integer> tunables) {
    AttentionShape shape = attention.shape();
    // The sum that the kernel's header states.
    long privateFloats =
        value(tunables, "BLOCK_M")
            * ((long) shape.headDim() + shape.headDimV() + value(tunables, "BLOCK_N"));
    return Siblings.flash(file, "attention_flash_cpu", attention, tunables, ALONE)
        .withMemory(0, 4 * privateFloats);
  }

  private static Recipe staged(
      Recipe recipe, String algorithm, SortedMap<String, Integer> tunables) {
    return algorithm.equals("naive")
        ? recipe
        : recipe.withMemory(
            Math.max(productLocalBytes(tunables), 4L * value(tunables, "SOFTMAX_THREADS")),
            productPrivateBytes(tunables));
  }

  // ---- linear

  private static Recipe linear(
      String file, LinearProblem linear, String algorithm, SortedMap<String, Integer> tunables) {
    return algorithm.equals("tiled")
        ? Siblings.linear(file, "linear_tiled", linear, tunables, Siblings.threads(tunables))
            .withMemory(productLocalBytes(tunables), productPrivateBytes(tunables))
        : Siblings.linear(file, "linear_cpu", linear, tunables, ALONE)
            .withMemory(0, panelPrivateBytes(tunables));
  }

  // ---- memory

  /** Local memory of a pair of tiles, as the tiled kernels' headers state it. */
  private static long productLocalBytes(SortedMap<String, Integer> tunables) {
    long blockK = value(tunables, "BLOCK_K");
    return 4
        * (value(tunables, "BLOCK_M") * (blockK + 1) + blockK * (value(tunables, "BLOCK_N") + 1L));
  }

  /** Private memory of a work-item's share of a product, as the tiled kernels' headers state it. */
  private static long productPrivateBytes(SortedMap<String, Integer> tunables) {
    long rowsEach = value(tunables, "BLOCK_M") / value(tunables, "THREADS_M");
    long columnsEach = value(tunables, "BLOCK_N") / value(tunables, "THREADS_N");
    return 4 * rowsEach * (columnsEach + 2);
  }

  /** Private memory of a panel and the rows that it is multiplied into, as linear_cpu states it. */
  private static long panelPrivateBytes(SortedMap<String, Integer> tunables) {
    return 4L
        * value(tunables, "BLOCK_N")
        * (value(tunables, "BLOCK_K") + value(tunables, "BLOCK_M"));
  }
}
