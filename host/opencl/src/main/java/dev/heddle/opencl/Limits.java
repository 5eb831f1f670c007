package dev.heddle.opencl;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Refusal;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.kernel.Recipe;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** What keeps a recipe from running on a device, checked before anything is allocated. */
final class Limits {
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
    List<TensorSpec> all = new ArrayList<>(operation.tensors());
    all.addAll(recipe.scratchTensors());
    long total = 0;
    for (TensorSpec spec : all) {
      long bytes = allocation(spec.bytes(), guardBytes);
      Optional<Refusal> refusal = tooLarge(device, spec.name() + " " + spec.shape(), bytes);
      if (refusal.isPresent()) {
        return refusal;
      }
      total = Math.addExact(total, bytes);
    }
    return tooMuch(device, operation.name(), total)
        .or(() -> tooManyRows(operation))
        .or(() -> workGroup(device, recipe))
        .or(() -> localMemory(device, recipe))
        .or(() -> privateMemory(device, recipe));
  }

  /** Refuses a tensor that passes the device's largest allocation. */
  static Optional<Refusal> tooLarge(Device device, String tensor, long bytes) {
    long limit = device.limits().allocationBytes();
    return bytes <= limit
        ? Optional.empty()
        : Optional.of(
            new Refusal(
                "allocationBytes",
                tensor
                    + " takes "
                    + bytes
                    + " bytes; "
                    + device.name()
                    + " allocates at most "
                    + limit
                    + " bytes (CL_DEVICE_MAX_MEM_ALLOC_SIZE)"));
  }

  /** Refuses more bytes than the device has in all. */
  static Optional<Refusal> tooMuch(Device device, String what, long bytes) {
    long limit = device.limits().memoryBytes();
    return bytes <= limit
        ? Optional.empty()
        : Optional.of(
            new Refusal(
                "deviceMemory",
                what
                    + " needs "
                    + bytes
                    + " bytes; "
                    + device.name()
                    + " has "
                    + limit
                    + " bytes (CL_DEVICE_GLOBAL_MEM_SIZE)"));
  }

  /** The kernels count these products in 32 bits. */
  private static Optional<Refusal> tooManyRows(Operation operation) {
    return switch (operation) {
      case AttentionProblem attention -> tooManyHeads(attention);
      case AttentionStage stage -> tooManyHeads(stage.attention());
      case LinearProblem linear -> Optional.empty();
      case HeadsTranspose heads ->
          tooMany("outerInner", "outer * inner", (long) heads.outer() * heads.inner());
    };
  }

  private static Optional<Refusal> tooManyHeads(AttentionProblem attention) {
    return tooMany(
        "batchHeads",
        "batch * headsQ",
        (long) attention.shape().batch() * attention.shape().headsQ());
  }

  private static Optional<Refusal> tooMany(String limit, String product, long value) {
    return value <= Integer.MAX_VALUE
        ? Optional.empty()
        : Optional.of(
            new Refusal(
                limit, product + " = " + value + "; it must be at most " + Integer.MAX_VALUE));
  }

  private static Optional<Refusal> workGroup(Device device, Recipe recipe) {
    int limit = device.limits().workGroupSize();
    return recipe.largestGroup() <= limit
        ? Optional.empty()
        : Optional.of(
            new Refusal(
                "workGroupSize",
                recipe.file()
                    + " wants work-groups of "
                    + recipe.largestGroup()
                    + "; "
                    + device.name()
                    + " runs at most "
                    + limit
                    + " (CL_DEVICE_MAX_WORK_GROUP_SIZE)"));
  }

  private static Optional<Refusal> localMemory(Device device, Recipe recipe) {
    long limit = device.limits().localMemoryBytes();
    return recipe.localBytes() <= limit
        ? Optional.empty()
        : Optional.of(
            new Refusal(
                "localMemoryBytes",
                recipe.file()
                    + " needs "
                    + recipe.localBytes()
                    + " bytes of local memory; "
                    + device.name()
                    + " has "
                    + limit
                    + " (CL_DEVICE_LOCAL_MEM_SIZE)"));
  }

  /**
   * A processor's driver runs a work-group's work-items in turns on one thread, which holds the
   * private arrays of them all; elsewhere each work-item has its own.
   */
  private static Optional<Refusal> privateMemory(Device device, Recipe recipe) {
    boolean together = device.kind() == Device.Kind.CPU;
    long bytes = recipe.privateBytes() * (together ? recipe.largestGroup() : 1);
    return bytes <= PRIVATE_MEMORY_BYTES
        ? Optional.empty()
        : Optional.of(
            new Refusal(
                "privateMemoryBytes",
                recipe.file()
                    + " needs "
                    + bytes
                    + " bytes of private memory per "
                    + (together ? "work-group" : "work-item")
                    + "; at most "
                    + PRIVATE_MEMORY_BYTES
                    + " are trusted to fit a thread's stack"));
  }

  /** Bytes that a payload takes with its guard bands. */
  static long allocation(long payload, int guardBytes) {
    return Math.addExact(payload, 2L * guardBytes);
  }
}
