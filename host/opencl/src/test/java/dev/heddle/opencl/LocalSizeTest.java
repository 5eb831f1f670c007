package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Recipe.Launch;
import dev.heddle.reference.FlashAttentionPolicy;
import dev.heddle.reference.KernelTrial;
import dev.heddle.reference.Verdict;
import dev.heddle.reference.Verifier;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The kernels that say so run under any local size, whichever axis it does not divide. */
class LocalSizeTest {
  private static final OpenClBackend BACKEND = new OpenClBackend();
  private static final AttentionProblem ATTENTION =
      AttentionProblem.of(new AttentionShape(2, 4, 2, 31, 43, 9, 5))
          .withMask(new BandMask(30, 5, BandMask.Alignment.BOTTOM_RIGHT));

  static Stream<Arguments> launches() {
    Operation heads = new HeadsTranspose(4, 13, 5, 33, DType.FP32);
    return Stream.of(List.of(1, 1, 1), List.of(7, 3, 1), List.of(4, 2, 3), List.of(2, 1, 7))
        .flatMap(local ->
            Stream.of(
                Arguments.of(ATTENTION, "naive", local), Arguments.of(heads, "transpose", local)));
  }

  @ParameterizedTest
  @MethodSource("launches")
  void everyLocalSizeGivesTheSame(Operation operation, String algorithm, List<Integer> local) {
    Device device = Processor.of(BACKEND, ATTENTION);
    KernelTrial trial = KernelTrial.of(operation);
    Plan plan = Plan.of(algorithm);
    Recipe recipe = BACKEND.recipe(operation, plan);
    Recipe other =
        recipe.withLaunches(
            recipe.launches().stream().map(launch -> under(launch, local)).toList());
    try (OpenClSession session = (OpenClSession) BACKEND.open(device)) {
      Map<String, DeviceBuffer> tensors = new TreeMap<>();
      for (TensorSpec spec : operation.tensors()) {
        DeviceBuffer tensor = (DeviceBuffer) session.allocate(spec.shape(), spec.dtype());
        tensor.poison();
        HostTensor input = trial.inputs().get(spec.name());
        if (input != null) {
          tensor.write(input);
        }
        tensors.put(spec.name(), tensor);
      }
      session.run(List.of(session.prepare(operation, plan, other, tensors)));
      Map<String, HostTensor> outputs = new HashMap<>();
      trial.chain().outputs().forEach(name -> outputs.put(name, tensors.get(name).read()));
      List<String> broken =
          tensors.entrySet().stream()
              .filter(entry -> !entry.getValue().guardsIntact())
              .map(Map.Entry::getKey)
              .toList();
      assertThat(
              new Verifier(new FlashAttentionPolicy()).judge(trial.expectation(), outputs, broken))
          .isInstanceOf(Verdict.Pass.class);
    }
  }

  /** The launch over the same work-items and as many more as the other local size needs. */
  private static Launch under(Launch launch, List<Integer> local) {
    // The last axis counts heads in both of the shapes that launches have.
    int axes = launch.local().size();
    List<Integer> sizes = new ArrayList<>(local.subList(0, axes - 1));
    sizes.add(local.getLast());
    List<Long> groups = new ArrayList<>();
    long[] global = launch.globalSize();
    for (int axis = 0; axis < axes; axis++) {
      groups.add((global[axis] + sizes.get(axis) - 1) / sizes.get(axis));
    }
    return new Launch(launch.kernel(), groups, sizes, launch.tensors());
  }
}
