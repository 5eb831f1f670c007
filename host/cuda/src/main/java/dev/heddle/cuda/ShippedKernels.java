package dev.heddle.cuda;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.UpdateRule;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.RotaryEmbedding.Pairing;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/**
 * The variants whose PTX the jar ships: those that are planned for the usual head dimensions, with
 * attention's options and without, in every storage type, on the device generations that there are.
 */
final class ShippedKernels {
  private static final List<Integer> HEAD_DIMS = List.of(32, 64, 96, 128, 256);

  /** Sequence lengths that differ in what is planned for them: a decoded token, and long texts. */
  private static final List<Integer> LENGTHS = List.of(1, 64, 512, 4096);

  /** With any option kernels take all of them. */
  private static final List<AttentionOptions> OPTIONS =
      List.of(AttentionOptions.NONE, AttentionOptions.NONE.withKeyLengths(true));

  /**
   * A generation of devices.
   *
   * @param architecture its compute capability, times ten
   * @param shared shared memory that a block may have, KiB
   */
  private record Generation(int architecture, int shared) {
    CudaDevice device() {
      int sharedBytes = shared << 10;
      long memory = 8L << 30;
      Device device =
          new Device(
              "cuda",
              0,
              "a GPU",
              "none, compute capability " + CudaDevice.computeCapability(architecture),
              Device.Kind.GPU,
              false,
              new Device.Limits(memory, memory, sharedBytes, 1024, 1));
      return new CudaDevice(
          device, 0, architecture, 0, 1, 48 << 10, sharedBytes, sharedBytes + 1024, 65536);
    }
  }

  private static final List<Generation> GENERATIONS =
      List.of(
          new Generation(75, 64),
          new Generation(80, 163),
          new Generation(86, 99),
          new Generation(90, 227),
          new Generation(120, 99));

  private ShippedKernels() {}

  /** A made-up device of every generation. */
  static List<CudaDevice> devices() {
    return GENERATIONS.stream().map(Generation::device).toList();
  }

  /** What is planned for made-up devices of every generation, each variant once. */
  static List<KernelVariant> variants() {
    List<CudaDevice> devices = devices();
    CudaBackend backend = new CudaBackend(devices);
    Set<KernelVariant> variants = new LinkedHashSet<>();
    variants.add(backend.variant(backend.peakRecipe(1)));
    for (Operation operation : operations()) {
      for (CudaDevice device : devices) {
        for (String algorithm : backend.algorithms(device.device(), operation)) {
          Plan plan = backend.plan(device.device(), operation, algorithm);
          if (backend.refusal(device.device(), operation, plan).isEmpty()) {
            variants.add(backend.variant(backend.recipe(operation, plan)));
          }
        }
      }
    }
    return List.copyOf(variants);
  }

  private static List<Operation> operations() {
    List<Operation> operations = new ArrayList<>();
    for (DType dtype : DType.FLOATING) {
      for (int length : LENGTHS) {
        for (int headDim : HEAD_DIMS) {
          for (AttentionOptions options : OPTIONS) {
            AttentionProblem attention =
                AttentionProblem.of(new AttentionShape(1, 1, 1, length, 4096, headDim, headDim))
                    .withDtype(dtype)
                    .withOptions(options);
            operations.add(attention);
            Stream.of(AttentionStage.Stage.values())
                .forEach(stage -> operations.add(new AttentionStage(stage, attention)));
          }
        }
        operations.add(new LinearProblem(length, 1024, 1024, true, dtype));
      }
      operations.add(new HeadsTranspose(1, 8, 8, 64, dtype));
      operations.add(new CacheAppend(1, 8, 4096, 1, 64, dtype));
      operations.add(new RotaryEmbedding(1, 8, 8, 64, 64, Pairing.HALF_SPLIT, 4096, dtype));
      operations.add(linearAttention(64, dtype));
      operations.add(linearAttention(128, dtype));
      // With its normaliser a state of 128 rows does not fit a thread's registers.
      operations.add(linearAttention(64, dtype).kernelised());
    }
    return operations;
  }

  private static LinearAttention linearAttention(int headDim, DType dtype) {
    return LinearAttention.of(AttentionShape.square(1, 1, 8, headDim), UpdateRule.LINEAR)
        .withDtype(dtype);
  }
}
