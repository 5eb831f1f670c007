package dev.heddle.vector;

import static dev.heddle.vector.Lanes.PANEL;
import static dev.heddle.vector.Lanes.STRIP;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PackingTest {
  private static final int OFFSET = 3;

  @ParameterizedTest
  @CsvSource({"1,1", "3,5", "4,8", "7,13", "64,64", "65,33"})
  void rowsBecomeStrips(int rows, int depth) {
    int stride = depth + 2;
    float[] matrix = numbered(OFFSET + rows * stride);
    float[] strips = poisoned(Lanes.roundUp(rows, STRIP) * depth + 1);
    Packing.rowsToStrips(matrix, OFFSET, stride, rows, depth, strips, 1);
    for (int i = 0; i < Lanes.roundUp(rows, STRIP); i++) {
      for (int k = 0; k < depth; k++) {
        assertThat(strips[1 + (i / STRIP * depth + k) * STRIP + i % STRIP])
            .isEqualTo(i < rows ? matrix[OFFSET + i * stride + k] : 0);
      }
    }
    assertThat(strips[0]).isNaN();
  }

  @ParameterizedTest
  @CsvSource({"1,1", "3,5", "4,8", "7,13", "64,64"})
  void columnsBecomeStripsAndARowOfThemZero(int columns, int depth) {
    int rows = Math.ceilDiv(depth, 2);
    int at = depth - rows;
    float[] matrix = numbered(OFFSET + rows * columns);
    float[] strips = new float[Lanes.roundUp(columns, STRIP) * depth];
    Packing.columnsToStrips(matrix, OFFSET, rows, columns, strips, depth, at);
    assertStrips(
        strips, columns, depth, (c, k) -> k < at ? 0 : matrix[OFFSET + (k - at) * columns + c]);
    Packing.zeroStripRow(strips, columns, depth, at);
    assertStrips(
        strips, columns, depth, (c, k) -> k <= at ? 0 : matrix[OFFSET + (k - at) * columns + c]);
  }

  private interface Element {
    float at(int column, int k);
  }

  private static void assertStrips(float[] strips, int columns, int depth, Element expected) {
    for (int c = 0; c < Lanes.roundUp(columns, STRIP); c++) {
      for (int k = 0; k < depth; k++) {
        assertThat(strips[(c / STRIP * depth + k) * STRIP + c % STRIP])
            .isEqualTo(c < columns ? expected.at(c, k) : 0);
      }
    }
  }

  @Test
  void rowsBecomeColumnsOfAPanel() {
    int depth = 5;
    int stride = 7;
    for (int rows : new int[] {1, PANEL - 1, PANEL}) {
      float[] matrix = numbered(OFFSET + rows * stride);
      float[] panel = poisoned(2 + depth * PANEL);
      Packing.rowsToPanel(matrix, OFFSET, stride, rows, depth, 2, panel, 2);
      for (int k = 0; k < depth; k++) {
        for (int i = 0; i < PANEL; i++) {
          assertThat(panel[2 + k * PANEL + i])
              .isEqualTo(i < rows ? 2 * matrix[OFFSET + i * stride + k] : 0);
        }
      }
    }
  }

  @Test
  void columnsBecomeAPanel() {
    int depth = 5;
    int stride = PANEL + 7;
    for (int columns : new int[] {1, PANEL - 1, PANEL}) {
      float[] matrix = numbered(OFFSET + depth * stride);
      float[] panel = poisoned(2 + depth * PANEL);
      Packing.columnsToPanel(matrix, OFFSET, stride, columns, depth, panel, 2);
      for (int k = 0; k < depth; k++) {
        for (int c = 0; c < PANEL; c++) {
          assertThat(panel[2 + k * PANEL + c])
              .isEqualTo(c < columns ? matrix[OFFSET + k * stride + c] : 0);
        }
      }
    }
  }

  @Test
  void findsWhatIsNotFiniteWhereverItIs() {
    int length = 2 * Lanes.LANES + 3;
    assertThat(Packing.isFinite(numbered(length), 0, length)).isTrue();
    for (float wild : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
      for (int at = 0; at < length; at++) {
        float[] values = numbered(length);
        values[at] = wild;
        assertThat(Packing.isFinite(values, 0, length)).as("%f at %d", wild, at).isFalse();
      }
    }
  }

  private static float[] numbered(int length) {
    float[] values = new float[length];
    for (int i = 0; i < length; i++) {
      values[i] = i + 1;
    }
    return values;
  }

  private static float[] poisoned(int length) {
    float[] values = new float[length];
    Arrays.fill(values, Float.NaN);
    return values;
  }
}
