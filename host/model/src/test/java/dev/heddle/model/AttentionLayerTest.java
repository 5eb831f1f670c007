package dev.heddle.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Shape;
import dev.heddle.core.TensorSpec;
import org.junit.jupiter.api.Test;

class AttentionLayerTest {
  private static final AttentionWeights WEIGHTS =
      new AttentionWeights(square(1), square(2), square(3), square(4));

  @Test
  void projectsSplitsAttendsMergesAndProjects() {
    AttentionLayer layer = layer(5);
    Chain chain = layer.chain(AttentionLayer.PROJECTED);
    assertThat(chain.steps())
        .extracting(step -> step.operation().name())
        .containsExactly(
            "linear",
            "linear",
            "linear",
            "heads",
            "heads",
            "heads",
            "attention",
            "heads",
            "linear");
    assertThat(chain.tensor(AttentionLayer.Q).shape()).isEqualTo(Shape.of(1, 12, 5, 32));
    assertThat(chain.tensor(AttentionLayer.OUT).shape()).isEqualTo(Shape.of(1, 12, 5, 32));
    assertThat(chain.tensor(AttentionLayer.PROJECTED).shape()).isEqualTo(Shape.of(5, 384));
    assertThat(layer.problem().softmaxScale()).isEqualTo((float) (1 / Math.sqrt(32)));
    assertThat(layer.inputs().keySet())
        .containsExactlyInAnyOrderElementsOf(
            chain.inputs().stream().map(TensorSpec::name).toList());
    assertThat(chain.flops())
        .isEqualTo(4 * 2.0 * 5 * 384 * 384 + layer.problem().flops())
        .isEqualTo(
            chain.steps().stream().map(Chain.Step::operation).mapToDouble(Operation::flops).sum());
  }

  @Test
  void refusesWhatIsNoHiddenState() {
    HostTensor narrow = HostTensor.zeros(Shape.of(5, 383), DType.FP32);
    assertThatThrownBy(() -> new AttentionLayer(0, narrow, WEIGHTS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("a hidden state is fp32 [SEQLEN, 384], not fp32 [5, 383]");
    HostTensor halves = HostTensor.zeros(Shape.of(5, 384), DType.FP16);
    assertThatThrownBy(() -> new AttentionLayer(0, halves, WEIGHTS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("a hidden state is fp32 [SEQLEN, 384], not fp16 [5, 384]");
  }

  @Test
  void refusesATensorThatTheChainDoesNotHave() {
    assertThatThrownBy(() -> layer(5).chain("scores"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("the chain has no tensor 'scores' to return");
  }

  private static AttentionLayer layer(int seqlen) {
    return new AttentionLayer(
        0, HostTensor.zeros(Shape.of(seqlen, MiniLm.HIDDEN), DType.FP32), WEIGHTS);
  }

  private static Projection square(float value) {
    return new Projection(
        HostTensor.zeros(Shape.of(MiniLm.HIDDEN, MiniLm.HIDDEN), DType.FP32).fill(value),
        HostTensor.zeros(Shape.of(MiniLm.HIDDEN), DType.FP32));
  }
}
