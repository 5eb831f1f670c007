package dev.heddle.opencl;

import static dev.heddle.core.kernel.Siblings.value;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Siblings;
import dev.heddle.core.kernel.TileRecipes;
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
            case "flash" -> TileRecipes.flash(file, attention, tunables);
            case "flash_cpu" -> flashCpu(file, attention, tunables);
            default -> TileRecipes.inStages(file, attention, algorithm, tunables);
          };
      case AttentionStage stage -> TileRecipes.stage(file, stage, algorithm, tunables);
      case LinearProblem linear ->
          algorithm.equals("tiled")
              ? TileRecipes.linear(file, linear, tunables)
              : linearCpu(file, linear, tunables);
      case HeadsTranspose heads -> Siblings.heads(file, heads, tunables);
    };
  }

  // ---- processors

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

  private static Recipe linearCpu(
      String file, LinearProblem linear, SortedMap<String, Integer> tunables) {
    return Siblings.linear(file, "linear_cpu", linear, tunables, ALONE)
        .withMemory(0, panelPrivateBytes(tunables));
  }

  /** Private memory of a panel and the rows that it is multiplied into, as linear_cpu states it. */
  private static long panelPrivateBytes(SortedMap<String, Integer> tunables) {
    return 4L
        * value(tunables, "BLOCK_N")
        * (value(tunables, "BLOCK_K") + value(tunables, "BLOCK_M"));
  }
}
