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

  /**
   * Most private memory that a driver is trusted to hold for one of its threads, bytes. OpenCL lets
   * nobody ask for it, and no driver refuses more: processors' drivers put private arrays on the
   * stack of the thread that runs the work-group, where too many of them end the process. Threads'
   * stacks are as large as {@code ulimit -s} says, usually 8 MiB, and 2 MiB where it says
   * unlimited; half of that is left to the driver and to the compiler's own spills.
   */
  static final long PRIVATE_MEMORY_BYTES = 1 << 20;

  private Limits() {}

  /** The first limit that the recipe passes. */
  static Optional<Refusal> refusal(
      Device device, Operation operation, Recipe recipe, int guardBytes) {
    return TOLD.refusal(device, operation, recipe, guardBytes)
        .or(() -> privateMemory(device, recipe));
  }

  /**
   * A processor's driver runs a work-group's work-items in turns on one thread, which holds the
   * private arrays of them all; elsewhere each work-item has its own.
   */
  private static Optional<Refusal> privateMemory(Device device, Recipe recipe) {
    boolean together = device.kind() == Device.Kind.CPU;
    long bytes = recipe.privateBytes() * (together ? recipe.largestGroup() : 1);
    return RecipeLimits.unless(
        bytes <= PRIVATE_MEMORY_BYTES,
        "privateMemoryBytes",
        "%s needs %d bytes of private memory per %s; at most %d are trusted to fit a thread's stack",
        recipe.file(),
        bytes,
        together ? "work-group" : "work-item",
        PRIVATE_MEMORY_BYTES);
  }
}
