package dev.heddle.cuda;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * The kernels whose PTX is made when Heddle is built: those that plans choose, on every generation
 * of devices, for problems of common kinds. Whatever else is asked for is compiled when it is run.
 */
final class ShippedKernels {
  private static final List<Integer> HEAD_DIMS = List.of(32, 64, 96, 128, 256);

  /** Queries or rows: few, and many. */
  private static final List<Integer> ROWS = List.of(1, 4096);

  private static final int KEYS = 4096;

  private ShippedKernels() {}

  /** The variants, each once. */
  static List<KernelVariant> variants() {
    CudaBackend planner =
        new CudaBackend(
            CudaBackend.Options.DEFAULT.withLibrary(
                () ->
                    new PtxLibrary(
                        new ShippedPtx("", List.of()),
                        CompilerSearch::forNvcc,
                        PtxCache.ofThisUser())));
    Set<KernelVariant> variants = new LinkedHashSet<>();
    variants.add(planner.peakVariant());
    for (CudaDevice device : generations()) {
      for (Operation operation : operations()) {
        for (String algorithm : Ladder.algorithms(operation)) {
          if (planner.runs(device, operation, algorithm)) {
            variants.add(planner.variant(device, operation, algorithm));
          }
        }
      }
    }
    return List.copyOf(variants);
  }

  private static List<Operation> operations() {
    List<Operation> operations = new ArrayList<>();
    for (DType dtype : DType.values()) {
      for (int rows : ROWS) {
        operations.add(new LinearProblem(rows, 1024, 1024, true, dtype));
        for (int headDim : HEAD_DIMS) {
          AttentionShape shape = new AttentionShape(1, 8, 8, rows, KEYS, headDim, headDim);
          AttentionProblem attention = AttentionProblem.of(shape).withDtype(dtype);
          operations.add(attention);
          operations.add(new AttentionStage(AttentionStage.Stage.SCORES, attention));
        }
      }
      operations.add(new HeadsTranspose(1, KEYS, 8, 64, dtype));
    }
    return operations;
  }

  /**
   * Devices that differ in what a block may have of a multiprocessor.
   *
   * <p>Source: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability": shared
   * memory per block and per multiprocessor, KiB.
   */
  private static List<CudaDevice> generations() {
    return List.of(
        generation(75, 64, 64),
        generation(80, 163, 164),
        generation(86, 99, 100),
        generation(89, 99, 100),
        generation(90, 227, 228),
        generation(100, 227, 228),
        generation(120, 99, 100));
  }

  private static CudaDevice generation(int architecture, int perBlock, int perMultiprocessor) {
    long memory = 1L << 33;
    Device device =
        new Device(
            "cuda",
            0,
            "compute capability " + CudaDevice.computeCapability(architecture),
            "none",
            Device.Kind.GPU,
            false,
            new Device.Limits(memory, memory, perBlock << 10, 1024, 64));
    return new CudaDevice(
        device,
        0,
        architecture,
        11000,
        64,
        48 << 10,
        perBlock << 10,
        perMultiprocessor << 10,
        1 << 16);
  }
}
