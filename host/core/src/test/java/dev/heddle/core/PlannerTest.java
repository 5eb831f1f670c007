package dev.heddle.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class PlannerTest {
  private static final LinearProblem LINEAR = new LinearProblem(2, 3, 4, false, DType.FP32);

  private final PlantedBackend backend = new PlantedBackend();
  private final Planner planner = new Planner(backend, PlantedBackend.DEVICE);

  @Test
  void theHighestRungThatIsNotRefused() {
    assertThat(planner.plan(LINEAR)).isEqualTo(Plan.of("high", Map.of("BLOCK_M", 4)));
    backend.refused.add("high");
    assertThat(planner.plan(LINEAR)).isEqualTo(Plan.of("middle", Map.of("BLOCK_M", 6)));
    backend.refused.add("middle");
    assertThat(planner.plan(LINEAR).algorithm()).isEqualTo("low");
  }

  @Test
  void whenAllRefuseTheHighestSaysWhy() {
    backend.refused.addAll(List.of("low", "middle", "high"));
    assertThatThrownBy(() -> planner.plan(LINEAR))
        .isInstanceOfSatisfying(
            UnsupportedProblemException.class,
            e -> assertThat(e.refusal()).isEqualTo(new Refusal("planned", "high is refused")))
        .hasMessage("planned: high is refused");
  }

  @Test
  void anOperationWithoutLadderIsRefused() {
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 2, 2));
    Operation stage = new AttentionStage(AttentionStage.Stage.SCORES, problem);
    assertThatThrownBy(() -> planner.plan(stage))
        .isInstanceOf(UnsupportedProblemException.class)
        .hasMessage("operation: planted:0 has no attention_scores");
  }

  @Test
  void aChosenRungIsKeptEvenIfRefused() {
    backend.refused.add("middle");
    assertThat(planner.plan(LINEAR, "middle").algorithm()).isEqualTo("middle");
    assertThat(planner.refusal(LINEAR, "middle"))
        .contains(new Refusal("planned", "middle is refused"));
    assertThat(planner.refusal(LINEAR, "low")).isEmpty();
    assertThatThrownBy(() -> planner.plan(LINEAR, "higher"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("planted:0 has no algorithm 'higher' for linear; it has low, middle, high");
  }

  @Test
  void plansAreFrozenAndNameTheirKernel() {
    TreeMap<String, Integer> tunables = new TreeMap<>(Map.of("BLOCK_M", 32));
    Plan plan = new Plan("flash", tunables);
    tunables.put("BLOCK_M", 64);
    assertThat(plan.tunables()).isEqualTo(Map.of("BLOCK_M", 32));
    assertThatThrownBy(() -> plan.tunables().put("BLOCK_N", 1))
        .isInstanceOf(UnsupportedOperationException.class);
    assertThat(plan.kernelName(LINEAR)).isEqualTo("linear_flash");
  }
}
