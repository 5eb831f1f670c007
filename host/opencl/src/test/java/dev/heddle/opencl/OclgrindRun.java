package dev.heddle.opencl;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Blocks;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionOptions.Dropout;
import dev.heddle.core.AttentionOptions.ScoreStage;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.UpdateRule;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.RotaryEmbedding.Pairing;
import dev.heddle.reference.KernelTrial;
import dev.heddle.reference.Mutation;
import dev.heddle.reference.Verdict;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;

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
            ? new Mutation("planted", args[0], args[1], args[2]).files(OpenClBackend.RESOURCES)
            : OpenClBackend.RESOURCES;
    OpenClBackend backend = new OpenClBackend(files, false);
    Device device =
        ((Probe.Available) backend.probe())
            .devices().stream().filter(Device::emulated).findFirst().orElseThrow();
    for (Operation operation : operations()) {
      for (String algorithm : backend.algorithms(device, operation)) {
        if (!faulty || algorithm.equals(args[3])) {
          Plan plan = backend.plan(device, operation, algorithm);
          Verdict verdict =
              KernelTrial.of(operation, inputs -> change(operation, inputs))
                  .verdict(backend, device, plan);
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
    Stream<Operation> everyType =
        DType.FLOATING.stream()
            .flatMap(dtype -> wide().stream().map(operation -> operation.withDtype(dtype)));
    return Stream.concat(everyType, optional().stream()).toList();
  }

  /** Attention with every option; the options read no operands, so one storage type does. */
  private static List<Operation> optional() {
    AttentionProblem problem =
        AttentionProblem.of(new AttentionShape(2, 2, 1, 19, 37, 9, 5))
            .withMask(BandMask.causal(BandMask.Alignment.BOTTOM_RIGHT))
            .withOptions(
                AttentionOptions.NONE
                    .withKeyLengths(true)
                    .withMask(Broadcast.FULL)
                    .withBias(Broadcast.MATRIX)
                    .withAlibi(true)
                    .withSoftcap(3)
                    .withSinks(true)
                    .withBlocks(new Blocks(8, 16, true, true))
                    .withDropout(new Dropout(0.3f, 7)));
    return List.of(
        problem,
        new AttentionStage(
            AttentionStage.Stage.SOFTMAX,
            problem.withOptions(problem.options().withScoreOutput(ScoreStage.BIASED))));
  }

  /** Of attention: lengths within the keys, and masks of which a third hides. */
  private static void change(Operation operation, Map<String, HostTensor> inputs) {
    if (!(operation instanceof AttentionProblem || operation instanceof AttentionStage)) {
      return;
    }
    inputs.forEach((name, tensor) -> {
      for (int i = 0; i < tensor.size(); i++) {
        switch (tensor.dtype()) {
          case INT32 -> tensor.set(i, i == 0 ? 23 : 37);
          case BOOL -> tensor.set(i, i % 3 == 1 ? 0 : 1);
          default -> {}
        }
      }
    });
  }

  private static List<Operation> wide() {
    AttentionProblem ragged =
        AttentionProblem.of(new AttentionShape(1, 2, 1, 19, 37, 9, 5))
            .withMask(new BandMask(7, 2, BandMask.Alignment.BOTTOM_RIGHT));
    List<Operation> operations =
        new ArrayList<>(
            List.of(
                ragged,
                new LinearProblem(5, 19, 18, true, DType.FP32),
                new HeadsTranspose(1, 3, 5, 7, DType.FP32),
                new CacheAppend(2, 2, 9, 3, 7, DType.FP32),
                new RotaryEmbedding(2, 2, 5, 13, 10, Pairing.INTERLEAVED, 6, DType.FP32),
                new RotaryEmbedding(1, 2, 5, 13, 10, Pairing.HALF_SPLIT, 6, DType.FP32),
                LinearAttention.of(new AttentionShape(2, 2, 1, 7, 7, 9, 5), UpdateRule.GATED_DELTA)
                    .withInitialState(true),
                LinearAttention.of(new AttentionShape(2, 2, 1, 7, 7, 9, 5), UpdateRule.GATED)
                    .withDecayPerDim(true)
                    .withInitialState(true)
                    .kernelised()));
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      operations.add(new AttentionStage(stage, ragged.withLse(false)));
    }
    return operations;
  }
}
