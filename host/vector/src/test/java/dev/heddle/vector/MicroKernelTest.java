package dev.heddle.vector;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MicroKernelTest {
  private static final float UNTOUCHED = -77;

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 7, 64, 129})
  void multipliesAStripByAPanelAndTouchesNothingElse(int depth) {
    for (int width : new int[] {Lanes.NARROW, Lanes.PANEL}) {
      SplittableRandom random = new SplittableRandom(depth);
      int aOffset = 3;
      int bOffset = 5;
      int cOffset = 7;
      int cStride = Lanes.PANEL + 9;
      float[] a = integers(random, aOffset + depth * Lanes.STRIP);
      float[] b = integers(random, bOffset + depth * Lanes.PANEL);
      float[] c = new float[cOffset + Lanes.STRIP * cStride];
      Arrays.fill(c, UNTOUCHED);
      float[] expected = c.clone();
      for (int r = 0; r < Lanes.STRIP; r++) {
        for (int j = 0; j < width; j++) {
          float sum = 0;
          for (int k = 0; k < depth; k++) {
            sum += a[aOffset + k * Lanes.STRIP + r] * b[bOffset + k * Lanes.PANEL + j];
          }
          expected[cOffset + r * cStride + j] = sum;
        }
      }
      MicroKernel.multiply(a, aOffset, b, bOffset, width, depth, c, cOffset, cStride);
      // Sums of small integers are exact in any order.
      assertThat(c).as("width %d", width).containsExactly(expected);
    }
  }

  private static float[] integers(SplittableRandom random, int length) {
    float[] values = new float[length];
    for (int i = 0; i < length; i++) {
      values[i] = random.nextInt(-8, 9);
    }
    return values;
  }
}
