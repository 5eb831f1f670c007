package dev.heddle.vector;

import static dev.heddle.vector.Lanes.LANES;
import static dev.heddle.vector.Lanes.PANEL;
import static dev.heddle.vector.Lanes.STRIP;
import static dev.heddle.vector.Lanes.broadcast;
import static dev.heddle.vector.Lanes.load;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/** Brings row-major matrices into the layouts that {@link MicroKernel} reads. */
final class Packing {

  private Packing() {}

  /**
   * Packs rows into strips: {@code strips[i / 4][k][i % 4] = matrix[i][k]}; rows past the last are
   * 0.
   *
   * @param stride elements from one row of the matrix to the next
   * @param rows how many rows there are
   * @param depth elements of a row that are packed
   */
  static void rowsToStrips(
      float[] matrix, int offset, int stride, int rows, int depth, float[] strips, int to) {
    for (int i = 0; i < rows; i += STRIP) {
      int row = offset + i * stride;
      int strip = to + i * depth;
      if (i + STRIP <= rows) {
        for (int k = 0; k < depth; k++) {
          strips[strip + k * STRIP] = matrix[row + k];
          strips[strip + k * STRIP + 1] = matrix[row + stride + k];
          strips[strip + k * STRIP + 2] = matrix[row + 2 * stride + k];
          strips[strip + k * STRIP + 3] = matrix[row + 3 * stride + k];
        }
      } else {
        for (int k = 0; k < depth; k++) {
          for (int r = 0; r < STRIP; r++) {
            strips[strip + k * STRIP + r] = i + r < rows ? matrix[row + r * stride + k] : 0;
          }
        }
      }
    }
  }

  /**
   * Packs one row of a matrix as column {@code k} of the strips of its transpose: {@code strips[c /
   * 4][k][c % 4] = matrix[c]}; columns past the last are 0.
   *
   * @param columns elements of the row
   * @param depth columns of each strip
   */
  static void rowToStripColumn(
      float[] matrix, int offset, int columns, float[] strips, int depth, int k) {
    int full = columns - columns % STRIP;
    int to = k * STRIP;
    for (int c = 0; c < full; c += STRIP) {
      strips[to] = matrix[offset + c];
      strips[to + 1] = matrix[offset + c + 1];
      strips[to + 2] = matrix[offset + c + 2];
      strips[to + 3] = matrix[offset + c + 3];
      to += depth * STRIP;
    }
    for (int c = full; c < columns; c++) {
      strips[to + c - full] = matrix[offset + c];
    }
  }

  /**
   * Packs rows as the columns of a panel: {@code panel[k][i] = factor * matrix[i][k]}; columns past
   * the last row are 0.
   *
   * @param rows how many rows there are; at most {@link Lanes#PANEL}
   */
  static void rowsToPanel(
      float[] matrix,
      int offset,
      int stride,
      int rows,
      int depth,
      float factor,
      float[] panel,
      int to) {
    if (rows < PANEL) {
      Arrays.fill(panel, to, to + depth * PANEL, 0);
    }
    for (int i = 0; i < rows; i++) {
      int row = offset + i * stride;
      for (int k = 0; k < depth; k++) {
        panel[to + k * PANEL + i] = factor * matrix[row + k];
      }
    }
  }

  /**
   * Packs columns of a matrix as a panel: {@code panel[k][c] = matrix[k][c]}; columns past the last
   * are 0.
   *
   * @param stride elements from one row of the matrix to the next
   * @param columns how many columns there are; at most {@link Lanes#PANEL}
   */
  static void columnsToPanel(
      float[] matrix, int offset, int stride, int columns, int depth, float[] panel, int to) {
    for (int k = 0; k < depth; k++) {
      int row = to + k * PANEL;
      System.arraycopy(matrix, offset + k * stride, panel, row, columns);
      Arrays.fill(panel, row + columns, row + PANEL, 0);
    }
  }

  /** Whether none of these elements is NaN or infinite. */
  static boolean isFinite(float[] array, int offset, int length) {
    int full = length - length % LANES;
    FloatVector zero = broadcast(0);
    FloatVector nan = zero;
    for (int i = 0; i < full; i += LANES) {
      nan = load(array, offset + i).fma(zero, nan);
    }
    boolean finite = !nan.test(VectorOperators.IS_NAN).anyTrue();
    for (int i = full; i < length; i++) {
      finite &= Float.isFinite(array[offset + i]);
    }
    return finite;
  }
}
