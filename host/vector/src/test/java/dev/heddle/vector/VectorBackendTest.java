package dev.heddle.vector;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.DeviceTensor;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.Session;
import dev.heddle.core.TensorSpec;
import dev.heddle.reference.BackendContract;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class VectorBackendTest extends BackendContract {
  private final VectorBackend backend = new VectorBackend();

  @Override
  protected Backend backend() {
    return backend;
  }

  @Test
  void saysWhatIsMissingWithoutTheModule() {
    Probe probe = backend.probe(ModuleLayer.empty());
    assertThat(probe)
        .isInstanceOfSatisfying(
            Probe.Unavailable.class,
            missing -> {
              assertThat(missing.reason()).contains("--add-modules jdk.incubator.vector");
              assertThat(missing.remedy()).contains("--add-modules jdk.incubator.vector");
            });
  }

  @Test
  void refusesATunableThatItDoesNotHave() {
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 8, 8));
    Plan plan = Plan.of("flash", Map.of("BLOCK_Q", 64));
    assertThat(backend.refusal(device(), problem, plan).orElseThrow().reason()).contains("BLOCK_Q");
  }

  @Test
  void declaresTheScratchThatItHolds() {
    AttentionProblem problem = AttentionProblem.of(new AttentionShape(2, 6, 2, 70, 130, 33, 40));
    List<Operation> operations = new ArrayList<>(List.of(problem));
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      operations.add(new AttentionStage(stage, problem));
    }
    operations.add(new LinearProblem(100, 600, 130, true, DType.FP32));
    Device device = device();
    for (Operation operation : operations) {
      for (String algorithm : backend.algorithms(device, operation)) {
        Plan plan = Plan.of(algorithm);
        try (Session session = backend.open(device)) {
          Map<String, DeviceTensor> tensors = new HashMap<>();
          for (TensorSpec spec : operation.tensors()) {
            tensors.put(spec.name(), session.allocate(spec.shape(), spec.dtype()));
          }
          assertThat(session.prepare(operation, plan, tensors).scratchBytes())
              .as("%s %s", operation.name(), algorithm)
              .isEqualTo(
                  VectorBackend.scratchBytes(operation, plan, device.limits().computeUnits()));
        }
      }
    }
  }

  @Test
  void measuresAPeakThatScalarCodeCouldNotReach() {
    // One lane on one pipe would do 2 flop per cycle: below 12 Gflop/s on any core there is.
    double peak = backend.measurePeakFlops(device()).orElseThrow();
    assertThat(peak).isBetween(12e9, 1e15);
  }

  private Device device() {
    return ((Probe.Available) backend.probe()).devices().getFirst();
  }
}
