package dev.heddle.cuda;

import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Refusal;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Recipe.Launch;
import dev.heddle.core.kernel.RecipeLimits;
import java.util.List;
import java.util.Optional;

/** What keeps a recipe from running on a CUDA device, checked before anything is allocated. */
final class Limits {
  /** The limits that CUDA devices tell. */
  static final RecipeLimits TOLD =
      new RecipeLimits(
          "blocks",
          "shared memory",
          new RecipeLimits.Names(
              "cuDeviceTotalMem",
              "cuDeviceTotalMem",
              "CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK",
              "CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"));

  /**
   * Most blocks of a grid along x, y and z: the same on every device since compute capability 3.0.
   */
  private static final List<Integer> GRID = List.of(Integer.MAX_VALUE, 65535, 65535);

  private Limits() {}

  /** The first limit that the recipe passes. */
  static Optional<Refusal> refusal(
      Device device, Operation operation, Recipe recipe, int guardBytes) {
    return TOLD.refusal(device, operation, recipe, guardBytes).or(() -> grid(recipe));
  }

  private static Optional<Refusal> grid(Recipe recipe) {
    for (Launch launch : recipe.launches()) {
      for (int axis = 0; axis < launch.groups().size(); axis++) {
        long blocks = launch.groups().get(axis);
        Optional<Refusal> refusal =
            RecipeLimits.unless(
                blocks <= GRID.get(axis),
                "gridSize",
                "%s needs a grid of %d blocks along %s; CUDA launches at most %d there",
                launch.kernel(),
                blocks,
                "xyz".charAt(axis),
                GRID.get(axis));
        if (refusal.isPresent()) {
          return refusal;
        }
      }
    }
    return Optional.empty();
  }
}
