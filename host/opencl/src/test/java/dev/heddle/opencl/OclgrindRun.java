package dev.heddle.opencl;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Planner;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Probe;
import dev.heddle.core.Session;
import dev.heddle.core.TensorSpec;
import dev.heddle.reference.Expectation;
import dev.heddle.reference.FlashAttentionPolicy;
import dev.heddle.reference.Verdict;
import dev.heddle.reference.Verifier;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * Runs every kernel on small problems under Oclgrind, in a JVM of its own: the simulator can't
 * share a process with other OpenCL drivers. What it finds, it prints; a line per verdict follows.
 *
 * <p>Without guard bands, so that the simulator sees where each tensor ends.
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
            ? new Mutation("planted", args[0], args[1], args[2]).files()
            : KernelSource.RESOURCES;
    OpenClBackend backend = new OpenClBackend(files, false);
    Device device =
        ((Probe.Available) backend.probe())
            .devices().stream().filter(Device::emulated).findFirst().orElseThrow();
    for (Operation operation : operations()) {
      for (String algorithm : backend.algorithms(device, operation)) {
        if (!faulty || algorithm.equals(args[3])) {
          Verdict verdict = verdict(backend, device, operation, algorithm);
          System.out.println(VERDICT + operation.name() + " " + algorithm + " " + verdict.label());
        }
      }
    }
    if (backend.liveObjects().total() != 0) {
      throw new AssertionError("left on the device: " + backend.liveObjects());
    }
  }

  private static List<Operation> operations() {
    AttentionProblem ragged =
        AttentionProblem.of(new AttentionShape(1, 2, 1, 19, 37, 9, 5))
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

  private static Verdict verdict(
      OpenClBackend backend, Device device, Operation operation, String algorithm) {
    Chain chain = Chain.of(operation);
    Map<String, HostTensor> inputs = new HashMap<>();
    for (TensorSpec spec : chain.inputs()) {
      inputs.put(
          spec.name(), HostTensor.gaussian(spec.shape(), spec.dtype(), spec.name().hashCode()));
    }
    Planner planner = new Planner(backend, device);
    try (Session session = backend.open(device);
        PreparedChain prepared =
            PreparedChain.prepare(session, chain, o -> planner.plan(o, algorithm), inputs)) {
      return new Verifier(new FlashAttentionPolicy())
          .verify(prepared, Expectation.of(chain, inputs));
    }
  }
}
