package dev.heddle.core.kernel;

import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Refusal;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.TensorSpec;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * What keeps a recipe from running on a device whatever its language, checked before anything is
 * allocated, and said in the language's own words.
 *
 * @param groups what the language calls work-groups
 * @param localMemory what it calls the memory that a group shares
 * @param names its names of the limits
 */
public record RecipeLimits(String groups, String localMemory, Names names) {

  /**
   * A language's names of the limits.
   *
   * @param allocationBytes of {@link Device.Limits#allocationBytes}
   * @param memoryBytes of {@link Device.Limits#memoryBytes}
   * @param workGroupSize of {@link Device.Limits#workGroupSize}
   * @param localMemoryBytes of {@link Device.Limits#localMemoryBytes}
   */
  public record Names(
      String allocationBytes, String memoryBytes, String workGroupSize, String localMemoryBytes) {}

  /**
   * Most private memory that a driver is trusted to hold for one of its threads, bytes. OpenCL lets
   * nobody ask for it, and no driver refuses more: processors' drivers put private arrays on the
   * stack of the thread that runs the work-group, where too many of them end the process. Threads'
   * stacks are as large as {@code ulimit -s} says, usually 8 MiB, and 2 MiB where it says
   * unlimited; half of that is left to the driver and to the compiler's own spills.
   */
  private static final long PRIVATE_MEMORY_BYTES = 1 << 20;

  /** The first limit that the recipe passes. */
  public Optional<Refusal> refusal(
      Device device, Operation operation, Recipe recipe, int guardBytes) {
    List<TensorSpec> all = new ArrayList<>(operation.tensors());
    all.addAll(recipe.scratchTensors());
    long total = 0;
    for (TensorSpec spec : all) {
      long bytes = allocation(spec.bytes(), guardBytes);
      Optional<Refusal> refusal = tooLarge(device, spec, bytes);
      if (refusal.isPresent()) {
        return refusal;
      }
      total = Math.addExact(total, bytes);
    }
    return tooMuch(device, operation.name(), total)
        .or(() -> tooManyRows(operation))
        .or(() -> groupSize(device, recipe))
        .or(() -> localMemory(device, recipe));
  }

  /** Refuses a tensor that passes the device's largest allocation. */
  public Optional<Refusal> tooLarge(Device device, TensorSpec spec, long bytes) {
    long limit = device.limits().allocationBytes();
    return unless(
        bytes <= limit,
        "allocationBytes",
        "%s %s takes %d bytes; %s allocates at most %d bytes (%s)",
        spec.name(),
        spec.shape(),
        bytes,
        device.name(),
        limit,
        names.allocationBytes);
  }

  /** Refuses more bytes than the device has in all. */
  public Optional<Refusal> tooMuch(Device device, String what, long bytes) {
    long limit = device.limits().memoryBytes();
    return unless(
        bytes <= limit,
        "deviceMemory",
        "%s needs %d bytes; %s has %d bytes (%s)",
        what,
        bytes,
        device.name(),
        limit,
        names.memoryBytes);
  }

  /** The kernels count these products in 32 bits. */
  private static Optional<Refusal> tooManyRows(Operation operation) {
    return switch (operation) {
      case AttentionProblem attention -> tooManyHeads(attention);
      case AttentionStage stage -> tooManyHeads(stage.attention());
      case LinearProblem linear -> Optional.empty();
      case HeadsTranspose heads ->
          tooMany("outerInner", "outer * inner", (long) heads.outer() * heads.inner());
      case CacheAppend cache ->
          tooMany("capacityWidth", "capacity * width", (long) cache.capacity() * cache.width())
              .or(() ->
                  tooMany("batchHeads", "batch * heads", (long) cache.batch() * cache.heads()));
      case RotaryEmbedding rotary ->
          tooMany("batchHeads", "batch * heads", (long) rotary.batch() * rotary.heads());
      case LinearAttention linear -> Optional.empty();
    };
  }

  private static Optional<Refusal> tooManyHeads(AttentionProblem attention) {
    long heads = (long) attention.shape().batch() * attention.shape().headsQ();
    return tooMany("batchHeads", "batch * headsQ", heads)
        .or(() ->
            attention.options().hidesKeys()
                ? tooMany(
                    "maskRows", "batch * headsQ * seqlenQ", heads * attention.shape().seqlenQ())
                : Optional.empty());
  }

  private static Optional<Refusal> tooMany(String limit, String product, long value) {
    return unless(
        value <= Integer.MAX_VALUE,
        limit,
        "%s = %d; it must be at most %d",
        product,
        value,
        Integer.MAX_VALUE);
  }

  private Optional<Refusal> groupSize(Device device, Recipe recipe) {
    int limit = device.limits().workGroupSize();
    return unless(
        recipe.largestGroup() <= limit,
        "workGroupSize",
        "%s wants %s of %d; %s runs at most %d (%s)",
        recipe.file(),
        groups,
        recipe.largestGroup(),
        device.name(),
        limit,
        names.workGroupSize);
  }

  private Optional<Refusal> localMemory(Device device, Recipe recipe) {
    long limit = device.limits().localMemoryBytes();
    return unless(
        recipe.localBytes() <= limit,
        "localMemoryBytes",
        "%s needs %d bytes of %s; %s has %d (%s)",
        recipe.file(),
        recipe.localBytes(),
        localMemory,
        device.name(),
        limit,
        names.localMemoryBytes);
  }

  /**
   * A processor's driver runs a work-group's work-items in turns on one thread, which holds the
   * private arrays of them all; elsewhere each work-item has its own.
   */
  public static Optional<Refusal> privateMemory(Device device, Recipe recipe) {
    boolean together = device.kind() == Device.Kind.CPU;
    long bytes = recipe.privateBytes() * (together ? recipe.largestGroup() : 1);
    return unless(
        bytes <= PRIVATE_MEMORY_BYTES,
        "privateMemoryBytes",
        "%s needs %d bytes of private memory per %s; at most %d are trusted to fit a thread's stack",
        recipe.file(),
        bytes,
        together ? "work-group" : "work-item",
        PRIVATE_MEMORY_BYTES);
  }

  /** Bytes that a payload takes with its guard bands. */
  public static long allocation(long payload, int guardBytes) {
    return Math.addExact(payload, 2L * guardBytes);
  }

  /** Refuses unless a condition holds. */
  @FormatMethod
  public static Optional<Refusal> unless(
      boolean holds, String limit, @FormatString String reason, Object... values) {
    return holds ? Optional.empty() : Optional.of(new Refusal(limit, reason.formatted(values)));
  }
}
