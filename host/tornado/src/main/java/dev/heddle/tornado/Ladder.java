package dev.heddle.tornado;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Siblings;
import dev.heddle.core.kernel.TileRecipes;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.SortedMap;

/** The rungs that the kernels in Java offer for each operation, and the recipe of each. */
final class Ladder {
  private Ladder() {}

  /** Rungs for an operation, slowest first; the same on every device. */
  static List<String> algorithms(Operation operation) {
    return switch (operation) {
      case AttentionProblem attention -> List.of("naive", "staged", "flash");
      case AttentionStage stage -> List.of("naive", "staged");
      case LinearProblem linear -> List.of("naive", "tiled");
      case HeadsTranspose heads -> List.of("transpose");
      case CacheAppend cache -> List.of();
      case RotaryEmbedding rotary -> List.of();
      case LinearAttention linear -> List.of();
    };
  }

  /**
   * The hand-written kernel file that computes the same as a kernel file in Java; none for {@code
   * linear_naive}.
   */
  static Optional<String> sibling(String file, boolean cuda) {
    String name =
        file.replace(".java", "").replaceAll("(?<=.)(?=[A-Z])", "_").toLowerCase(Locale.ROOT);
    return name.equals("linear_naive")
        ? Optional.empty()
        : Optional.of(cuda ? "cuda/" + name + ".cu" : "cl/" + name + ".cl");
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
              algorithm.equals("flash")
                  ? TileRecipes.flash(file, attention, tunables)
                  : TileRecipes.inStages(file, attention, algorithm, tunables);
          case AttentionStage stage -> TileRecipes.stage(file, stage, algorithm, tunables);
          case LinearProblem linear ->
              algorithm.equals("naive")
                  ? Siblings.linearNaive(file, linear)
                  : TileRecipes.linear(file, linear, tunables);
          case HeadsTranspose heads -> Siblings.heads(file, heads, tunables);
          case CacheAppend cache -> throw Siblings.absent(cache);
          case RotaryEmbedding rotary -> throw Siblings.absent(rotary);
          case LinearAttention linear -> throw Siblings.absent(linear);
        };
    return recipe.withMacro("DTYPE", Siblings.code(operation.dtype()));
  }
}
