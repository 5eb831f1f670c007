package dev.heddle.opencl;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.reference.KernelTrial;
import dev.heddle.reference.Mutation;
import dev.heddle.reference.Verdict;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/**
 * Runs every kernel on small problems under Oclgrind, in a JVM of its own: the simulator can't
 * share a process with other OpenCL drivers. What it finds, it prints; a line per verdict follows.
 *
 * <p>More than one tile of every depth, and none is full. Without guard bands, so that the
 * simulator sees where each tensor ends.
 */
final class OclgrindRun {
  /** Printed before each verdict. */
  static final String VERDICT = "verdict ";

  private OclgrindRun() {}

  /** Arguments: nothing, or the file, original text and replacement of a fault and its rung. */
  public static void main(String[] args) {
    boolean faulty = args.length == 4;
    Function<String, String> files =
        faulty
            ? new Mutation("planted", args[0], args[1], args[2]).files(OpenClBackend.RESOURCES)
            : OpenClBackend.RESOURCES;
    OpenClBackend backend = new OpenClBackend(files, false);
    Device device =
        ((Probe.Available) backend.probe())
            .devices().stream().filter(Device::emulated).findFirst().orElseThrow();
    for (Operation operation : faulty ? wide() : operations()) {
      for (String algorithm : backend.algorithms(device, operation)) {
        if (!faulty || algorithm.equals(args[3])) {
          Plan plan = backend.plan(device, operation, algorithm);
          Verdict verdict = KernelTrial.of(operation).verdict(backend, device, plan);
          System.out.printf(
              "%s%s %s %s %s%n",
              VERDICT, operation.dtype().label(), operation.name(), algorithm, verdict.label());
        }
      }
    }
    if (backend.liveObjects().total() != 0) {
      throw new AssertionError("left on the device: " + backend.liveObjects());
    }
  }

  private static List<Operation> operations() {
    return DType.FLOATING.stream()
        .flatMap(dtype -> wide().stream().map(operation -> operation.withDtype(dtype)))
        .toList();
  }

  private static List<Operation> wide() {
    AttentionProblem ragged =
        AttentionProblem.of(new AttentionShape(1, 2, 1, 19, 37, 17, 5))
            .withMask(new BandMask(7, 2, BandMask.Alignment.BOTTOM_RIGHT));
    List<Operation> operations =
        new ArrayList<>(
            List.of(
                ragged,
                new LinearProblem(5, 19, 18, true, DType.FP32),
                new HeadsTranspose(1, 3, 5, 7, DType.FP32)));
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      operations.add(new AttentionStage(stage, ragged.withLse(false)));
    }
    return operations;
  }
}
