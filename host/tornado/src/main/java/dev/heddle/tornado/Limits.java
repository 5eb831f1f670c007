package dev.heddle.tornado;

import dev.heddle.core.DType;
import dev.heddle.core.Operation;
import dev.heddle.core.Refusal;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.RecipeLimits;
import dev.heddle.tornado.kernels.Tensors;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import uk.ac.manchester.tornado.api.types.arrays.TornadoNativeArray;

/** What keeps a recipe from running on a TornadoVM device, checked before anything is allocated. */
final class Limits {
  /** The limits that TornadoVM tells. */
  static final RecipeLimits TOLD =
      new RecipeLimits(
          "work-groups",
          "local memory",
          new RecipeLimits.Names(
              "getMaxAllocMemory",
              "tornado.device.memory",
              "getDeviceMaxWorkGroupSize",
              "getDeviceLocalMemorySize"));

  /** Elements of a payload: its bands are in the same array, whose length is an int. */
  private static final long MAX_PAYLOAD = Integer.MAX_VALUE - 8L - 2L * Tensors.BAND;

  /** So that an index and one step more are still an int. */
  private static final long MAX_WORK_ITEMS = 1 << 30;

  private Limits() {}

  /** The first limit that the recipe passes. */
  static Optional<Refusal> refusal(TornadoTarget target, Operation operation, Recipe recipe) {
    List<TensorSpec> tensors = new ArrayList<>(operation.tensors());
    tensors.addAll(recipe.scratchTensors());
    return tensors.stream()
        .flatMap(spec -> tooLong(spec).stream())
        .findFirst()
        .or(() -> TOLD.refusal(target.device(), operation, recipe, bandBytes(DType.FP32)))
        .or(() -> workItems(target, recipe))
        .or(() -> workSize(recipe))
        .or(() -> RecipeLimits.privateMemory(target.device(), recipe));
  }

  /** Refuses a tensor that does not fit one of TornadoVM's arrays. */
  static Optional<Refusal> tooLong(TensorSpec spec) {
    return RecipeLimits.unless(
        spec.shape().elements() <= MAX_PAYLOAD,
        "arrayLength",
        "%s %s has %d elements; an array of TornadoVM's holds at most %d beside its guard bands",
        spec.name(),
        spec.shape(),
        spec.shape().elements(),
        MAX_PAYLOAD);
  }

  /** Bytes of a guard band, and half of the header that TornadoVM's arrays have. */
  static int bandBytes(DType dtype) {
    return Tensors.BAND * dtype.bytes() + (int) TornadoNativeArray.ARRAY_HEADER / 2;
  }

  /**
   * TornadoVM lets the driver choose in place of a group that the device can't run along an axis,
   * and the kernel computes garbage.
   */
  private static Optional<Refusal> workItems(TornadoTarget target, Recipe recipe) {
    for (Recipe.Launch launch : recipe.launches()) {
      for (int axis = 0; axis < launch.local().size(); axis++) {
        long limit = target.workItems().get(axis);
        int wanted = launch.local().get(axis);
        if (wanted > limit) {
          return Optional.of(
              new Refusal(
                  "workGroupSize",
                  "%s wants work-groups of %d along axis %d; %s runs at most %d there"
                      .formatted(recipe.file(), wanted, axis, target.device().name(), limit)));
        }
      }
    }
    return Optional.empty();
  }

  /** {@code @Parallel} loops count in ints and step by the work-items along an axis. */
  private static Optional<Refusal> workSize(Recipe recipe) {
    for (Recipe.Launch launch : recipe.launches()) {
      for (long size : launch.globalSize()) {
        if (size > MAX_WORK_ITEMS) {
          return Optional.of(
              new Refusal(
                  "gridSize",
                  "%s needs %d work-items along an axis; its loops count to %d"
                      .formatted(launch.kernel(), size, MAX_WORK_ITEMS)));
        }
      }
    }
    return Optional.empty();
  }
}
