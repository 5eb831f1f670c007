package dev.heddle.core;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionStage.Stage;
import dev.heddle.core.BandMask.Alignment;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Operands and costs, counted by hand. */
class OperationTest {
  private static final AttentionProblem PROBLEM =
      AttentionProblem.of(new AttentionShape(2, 4, 2, 3, 5, 8, 16));

  @Test
  void attentionCountsVisiblePairs() {
    // 2 sequences x 4 heads x 15 pairs, each 2 x (8 + 16).
    assertThat(PROBLEM.flops()).isEqualTo(2 * 4 * 15 * 2 * (8 + 16));
    // Causal from the top left corner: 1 + 2 + 3 pairs.
    assertThat(PROBLEM.withMask(BandMask.causal(Alignment.TOP_LEFT)).flops())
        .isEqualTo(2 * 4 * 6 * 2 * (8 + 16));
  }

  @Test
  void attentionOfTheHeadlineSize() {
    // FlashAttention's convention: 4 x SEQLEN^2 x HEAD_DIM x H.
    assertThat(AttentionProblem.of(AttentionShape.square(1, 4, 2048, 64)).flops())
        .isEqualTo(4.0 * 2048 * 2048 * 64 * 4);
  }

  @Test
  void stagesCountWhatEachComputes() {
    AttentionProblem causal = PROBLEM.withMask(BandMask.causal(Alignment.TOP_LEFT));
    assertThat(new AttentionStage(Stage.SCORES, causal).flops()).isEqualTo(2 * 4 * 15 * 2 * 8);
    assertThat(new AttentionStage(Stage.SOFTMAX, causal).flops()).isZero();
    assertThat(new AttentionStage(Stage.VALUES, causal).flops()).isEqualTo(2 * 4 * 6 * 2 * 16);
  }

  @Test
  void linearAndHeads() {
    assertThat(new LinearProblem(3, 5, 7, true, DType.FP32).flops()).isEqualTo(2 * 3 * 5 * 7);
    assertThat(new HeadsTranspose(2, 3, 5, 7, DType.FP32).flops()).isZero();
  }

  @Test
  void compulsoryBytes() {
    // q 192 + k 160 + v 320 + out 384 + lse 24 elements of 4 bytes.
    assertThat(PROBLEM.compulsoryBytes()).isEqualTo(4 * (192 + 160 + 320 + 384 + 24));
    // lse stays fp32 under fp16.
    assertThat(PROBLEM.withDtype(DType.FP16).compulsoryBytes())
        .isEqualTo(2 * (192 + 160 + 320 + 384) + 4 * 24);
    assertThat(new LinearProblem(3, 5, 7, true, DType.FP32).compulsoryBytes())
        .isEqualTo(4 * (15 + 35 + 7 + 21));
    assertThat(new LinearProblem(3, 5, 7, false, DType.FP32).compulsoryBytes())
        .isEqualTo(4 * (15 + 35 + 21));
  }

  @Test
  void operandsByName() {
    assertThat(names(PROBLEM.inputs())).containsExactly("q", "k", "v");
    assertThat(names(PROBLEM.outputs())).containsExactly("out", "lse");
    assertThat(names(PROBLEM.withLse(false).outputs())).containsExactly("out");
    assertThat(names(new LinearProblem(1, 1, 1, true, DType.FP32).inputs()))
        .containsExactly("x", "weight", "bias");
    assertThat(names(new LinearProblem(1, 1, 1, false, DType.FP32).inputs()))
        .containsExactly("x", "weight");
    assertThat(names(new AttentionStage(Stage.SOFTMAX, PROBLEM).outputs()))
        .containsExactly("probabilities", "lse");
    assertThat(new AttentionStage(Stage.VALUES, PROBLEM.withDtype(DType.BF16)).inputs())
        .containsExactly(
            new TensorSpec("probabilities", Shape.of(2, 4, 3, 5), DType.FP32),
            new TensorSpec("v", Shape.of(2, 2, 5, 16), DType.BF16));
  }

  @Test
  void anotherTypeChangesTheOperandsAndNothingElse() {
    List<Operation> operations =
        List.of(
            PROBLEM,
            new AttentionStage(Stage.SOFTMAX, PROBLEM),
            new LinearProblem(3, 5, 7, true, DType.FP32),
            new HeadsTranspose(2, 3, 5, 7, DType.FP32));
    for (Operation operation : operations) {
      for (DType dtype : DType.FLOATING) {
        Operation other = operation.withDtype(dtype);
        assertThat(other.dtype()).isEqualTo(dtype);
        assertThat(other.withDtype(DType.FP32)).isEqualTo(operation);
        assertThat(other.flops()).isEqualTo(operation.flops());
      }
    }
    assertThat(new LinearProblem(3, 5, 7, true, DType.BF16).compulsoryBytes())
        .isEqualTo(2 * (15 + 35 + 7 + 21));
    assertThat(new HeadsTranspose(2, 3, 5, 7, DType.FP16).compulsoryBytes()).isEqualTo(2 * 2 * 210);
    // Of the softmax stage nothing is in the operands' type: 2 x 120 scores and 24 lse.
    assertThat(new AttentionStage(Stage.SOFTMAX, PROBLEM.withDtype(DType.FP16)).compulsoryBytes())
        .isEqualTo(4 * (2 * 120 + 24));
  }

  @Test
  void theDefaultScale() {
    assertThat(PROBLEM.softmaxScale()).isEqualTo((float) (1 / Math.sqrt(8)));
    assertThat(AttentionProblem.defaultScale(64)).isEqualTo(0.125f);
  }

  private static List<String> names(List<TensorSpec> specs) {
    return specs.stream().map(TensorSpec::name).toList();
  }
}
