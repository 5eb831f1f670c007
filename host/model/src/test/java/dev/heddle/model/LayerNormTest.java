package dev.heddle.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import org.junit.jupiter.api.Test;

class LayerNormTest {
  private static final Shape ROW = Shape.of(4);

  @Test
  void normalisesEachRowThenScalesAndShifts() {
    LayerNorm norm =
        new LayerNorm(HostTensor.of(ROW, 1, 1, 1, 2), HostTensor.of(ROW, 0, 0, 0.5f, -1));
    HostTensor y = norm.of(new double[] {1, 2, 3, 4, 10, 10, 10, 30}, Shape.of(2, 4));
    // Row 0 has mean 2.5 and variance 5/4, row 1 mean 15 and variance 75.
    float a = (float) (0.5 / Math.sqrt(1.25));
    float b = (float) (1.5 / Math.sqrt(1.25));
    float c = (float) (5 / Math.sqrt(75));
    float d = (float) (15 / Math.sqrt(75));
    assertThat(y.floats())
        .containsExactly(
            new float[] {-b, -a, a + 0.5f, 2 * b - 1, -c, -c, -c + 0.5f, 2 * d - 1},
            org.assertj.core.data.Offset.offset(1e-6f));
  }

  @Test
  void aConstantRowGivesTheOffset() {
    LayerNorm norm = new LayerNorm(HostTensor.of(ROW, 1, 1, 1, 1), HostTensor.of(ROW, 1, 2, 3, 4));
    assertThat(norm.of(new double[] {7, 7, 7, 7}, ROW).floats()).containsExactly(1, 2, 3, 4);
  }

  @Test
  void addsTheResidual() {
    LayerNorm norm = new LayerNorm(HostTensor.of(ROW, 1, 1, 1, 1), HostTensor.of(ROW, 0, 0, 0, 0));
    HostTensor sum = norm.ofSum(HostTensor.of(ROW, 1, 0, 3, 0), HostTensor.of(ROW, 0, 2, 0, 4));
    assertThat(sum.floats()).containsExactly(norm.of(new double[] {1, 2, 3, 4}, ROW).floats());
  }

  @Test
  void refusesWhatDoesNotFit() {
    LayerNorm norm = new LayerNorm(HostTensor.of(ROW, 1, 1, 1, 1), HostTensor.of(ROW, 0, 0, 0, 0));
    assertThatThrownBy(() -> norm.of(new double[6], Shape.of(2, 3)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("rows of 3 elements; gamma and beta have 4");
    assertThatThrownBy(
            () -> norm.ofSum(HostTensor.of(ROW, 1, 2, 3, 4), HostTensor.of(Shape.of(1), 1)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("can't add [1] to [4]");
  }
}
