package dev.heddle.opencl;

import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Refusal;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.RecipeLimits;
import java.util.Optional;

/** What keeps a recipe from running on an OpenCL device, checked before anything is allocated. */
final class Limits {
  /** The limits that OpenCL devices tell. */
  static final RecipeLimits TOLD =
      new RecipeLimits(
          "work-groups",
          "local memory",
          new RecipeLimits.Names(
              "CL_DEVICE_MAX_MEM_ALLOC_SIZE",
              "CL_DEVICE_GLOBAL_MEM_SIZE",
              "CL_DEVICE_MAX_WORK_GROUP_SIZE",
              "CL_DEVICE_LOCAL_MEM_SIZE"));

  private Limits() {}

  /** Refuses a kernel whose loops a device would leave before they are done. */
  static Optional<Refusal> loopIterations(ClDevice target, String file, long iterations) {
    return RecipeLimits.unless(
        iterations <= target.loopIterations(),
        "loopIterations",
        "%s takes a work-item through up to %d iterations of its loops; %s ends them after %d",
        file,
        iterations,
        target.device().name(),
        target.loopIterations());
  }

  /** The first limit that the recipe passes. */
  static Optional<Refusal> refusal(
      Device device, Operation operation, Recipe recipe, int guardBytes) {
    return TOLD.refusal(device, operation, recipe, guardBytes)
        .or(() -> RecipeLimits.privateMemory(device, recipe));
  }
}
