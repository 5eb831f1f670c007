package dev.heddle.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ChainTest {
  private static final LinearProblem LINEAR = new LinearProblem(6, 4, 8, false, DType.FP32);
  private static final HeadsTranspose HEADS = new HeadsTranspose(1, 6, 2, 4, DType.FP32);
  private static final TensorSpec X = new TensorSpec("x", Shape.of(6, 4), DType.FP32);
  private static final TensorSpec W = new TensorSpec("w", Shape.of(4, 8), DType.FP32);
  private static final Chain.Step PROJECT =
      new Chain.Step(LINEAR, Map.of("x", "x", "weight", "w"), Map.of("y", "projected"));
  private static final Chain.Step SPLIT =
      new Chain.Step(HEADS, Map.of("x", "projected"), Map.of("y", "heads"));

  @Test
  void aTensorMayBeSeenUnderAnotherShape() {
    Chain chain = new Chain("two", List.of(X, W), List.of(PROJECT, SPLIT), List.of("heads"));
    assertThat(chain.tensors())
        .containsExactly(
            X,
            W,
            new TensorSpec("projected", Shape.of(6, 8), DType.FP32),
            new TensorSpec("heads", Shape.of(1, 2, 6, 4), DType.FP32));
    assertThat(chain.tensor("heads").shape()).isEqualTo(Shape.of(1, 2, 6, 4));
    assertThat(chain.flops()).isEqualTo(2 * 6 * 4 * 8);
    assertThatThrownBy(() -> chain.tensor("missing"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("the chain has no tensor 'missing'");
  }

  @Test
  void ofOneOperationKeepsItsNames() {
    Chain chain = Chain.of(LINEAR);
    assertThat(chain.inputs()).isEqualTo(LINEAR.inputs());
    assertThat(chain.outputs()).containsExactly("y");
  }

  @Test
  void anotherTypeGoesThroughTheWholeChain() {
    Chain chain = new Chain("two", List.of(X, W), List.of(PROJECT, SPLIT), List.of("heads"));
    Chain half = chain.withDtype(DType.FP16);
    assertThat(half.tensors()).allMatch(spec -> spec.dtype() == DType.FP16);
    assertThat(half.tensors().stream().map(TensorSpec::shape).toList())
        .isEqualTo(chain.tensors().stream().map(TensorSpec::shape).toList());
    assertThat(half.withDtype(DType.FP32)).isEqualTo(chain);
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 4, 8));
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      AttentionStage operation = new AttentionStage(stage, problem);
      assertThat(Chain.of(operation).withDtype(DType.BF16))
          .as("%s, whose matrices stay fp32", stage)
          .isEqualTo(Chain.of(operation.withDtype(DType.BF16)));
    }
  }

  @Test
  void whatDoesNotFitIsNamed() {
    refused(
        "heads reads 'projected', which nothing has written",
        List.of(X, W),
        List.of(SPLIT, PROJECT));
    refused(
        "linear wants fp32 weight [4, 8] but 'w' is fp32 w [4, 9]",
        List.of(X, new TensorSpec("w", Shape.of(4, 9), DType.FP32)),
        List.of(PROJECT));
    refused(
        "linear wants fp32 x [6, 4] but 'x' is bf16 x [6, 4]",
        List.of(new TensorSpec("x", Shape.of(6, 4), DType.BF16), W),
        List.of(PROJECT));
    refused(
        "linear has no tensor bound to 'weight'",
        List.of(X, W),
        List.of(new Chain.Step(LINEAR, Map.of("x", "x"), Map.of("y", "projected"))));
    refused(
        "linear has no tensor bound to 'y'",
        List.of(X, W),
        List.of(new Chain.Step(LINEAR, Map.of("x", "x", "weight", "w"), Map.of())));
    refused("the chain has two tensors named 'x'", List.of(X, X), List.of());
    refused(
        "the chain has two tensors named 'x'",
        List.of(X, W),
        List.of(new Chain.Step(LINEAR, Map.of("x", "x", "weight", "w"), Map.of("y", "x"))));
    refused("the chain has no tensor 'heads' to return", List.of(X, W), List.of(PROJECT));
  }

  private static void refused(String message, List<TensorSpec> inputs, List<Chain.Step> steps) {
    assertThatThrownBy(() -> new Chain("wrong", inputs, steps, List.of("heads")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }
}
