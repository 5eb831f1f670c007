package dev.heddle.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ShapeTest {

  @Test
  void productsAndRows() {
    Shape shape = Shape.of(2, 3, 5);
    assertThat(shape.rank()).isEqualTo(3);
    assertThat(shape.elements()).isEqualTo(30);
    assertThat(shape.rowLength()).isEqualTo(5);
    assertThat(shape.dim(1)).isEqualTo(3);
    assertThat(shape).hasToString("[2, 3, 5]");
  }

  @Test
  void positionsCountInRowMajorOrder() {
    Shape shape = Shape.of(2, 3, 5);
    int index = 0;
    for (int a = 0; a < 2; a++) {
      for (int b = 0; b < 3; b++) {
        for (int c = 0; c < 5; c++) {
          assertThat(shape.position(index++)).containsExactly(a, b, c);
        }
      }
    }
    assertThatThrownBy(() -> shape.position(30)).isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> shape.position(-1)).isInstanceOf(IndexOutOfBoundsException.class);
    assertThat(Shape.of(1 << 20, 1 << 20).position((1L << 40) - 1))
        .containsExactly((1 << 20) - 1, (1 << 20) - 1);
  }

  @Test
  void dimensionsAreFrozen() {
    List<Integer> dims = new ArrayList<>(List.of(2, 3));
    Shape shape = new Shape(dims);
    dims.set(0, 7);
    assertThat(shape.dims()).containsExactly(2, 3);
  }

  @Test
  void impossibleShapesAreRefused() {
    refused("a shape needs at least one dimension");
    refused("shape [2, 0] has dimension 0; each must be at least 1", 2, 0);
    refused("shape [-3] has dimension -3; each must be at least 1", -3);
    refused("more than 2^60 elements", 1 << 30, 1 << 30, 2);
    assertThat(Shape.of(1 << 30, 1 << 30).elements()).isEqualTo(1L << 60);
  }

  @ParameterizedTest
  @CsvSource({
    "0,1,1,1,1,1,1, batch = 0",
    "1,0,1,1,1,1,1, headsQ = 0",
    "1,1,-1,1,1,1,1, headsKv = -1",
    "1,1,1,0,1,1,1, seqlenQ = 0",
    "1,1,1,1,0,1,1, seqlenK = 0",
    "1,1,1,1,1,0,1, headDim = 0",
    "1,1,1,1,1,1,0, headDimV = 0",
    "1,1,1,536870913,1,1,1, seqlenQ = 536870913; it must be at most 536870912",
    "1,1,1,1,536870913,1,1, seqlenK = 536870913; it must be at most 536870912",
    "1,6,4,1,1,1,1, headsQ = 6 is not a multiple of headsKv = 4",
    "1,2,4,1,1,1,1, headsQ = 2 is not a multiple of headsKv = 4",
  })
  void impossibleAttentionIsRefused(
      int b, int hq, int hkv, int sq, int sk, int d, int dv, String message) {
    assertThatThrownBy(() -> new AttentionShape(b, hq, hkv, sq, sk, d, dv))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(message);
  }

  @Test
  void attentionShapesAndHeads() {
    AttentionShape shape = new AttentionShape(2, 6, 3, 5, 7, 11, 13);
    assertThat(shape.q()).isEqualTo(Shape.of(2, 6, 5, 11));
    assertThat(shape.k()).isEqualTo(Shape.of(2, 3, 7, 11));
    assertThat(shape.v()).isEqualTo(Shape.of(2, 3, 7, 13));
    assertThat(shape.out()).isEqualTo(Shape.of(2, 6, 5, 13));
    assertThat(shape.lse()).isEqualTo(Shape.of(2, 6, 5));
    assertThat(shape.scores()).isEqualTo(Shape.of(2, 6, 5, 7));
    assertThat(shape.groupSize()).isEqualTo(2);
    assertThat(List.of(0, 1, 2, 3, 4, 5)).map(shape::kvHead).containsExactly(0, 0, 1, 1, 2, 2);
    assertThat(shape).hasToString("2,6,3,5,7,11,13");
  }

  @Test
  void impossibleOperationsAreRefused() {
    assertThatThrownBy(() -> new LinearProblem(0, 2, 3, true, DType.FP32))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("shape [0, 2] has dimension 0; each must be at least 1");
    assertThatThrownBy(() -> new LinearProblem(1, -2, 3, true, DType.FP32))
        .hasMessage("shape [1, -2] has dimension -2; each must be at least 1");
    assertThatThrownBy(() -> new LinearProblem(1, 2, 0, false, DType.FP32))
        .hasMessage("shape [2, 0] has dimension 0; each must be at least 1");
    assertThatThrownBy(() -> new HeadsTranspose(1, 2, 0, 3, DType.FP32))
        .hasMessage("shape [1, 2, 0, 3] has dimension 0; each must be at least 1");
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 1, 1));
    for (float scale : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
      assertThatThrownBy(() -> problem.withScale(scale))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("softmaxScale = " + scale + "; it must be a finite number");
    }
  }

  private static void refused(String message, int... dims) {
    assertThatThrownBy(() -> Shape.of(dims))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(message);
  }
}
