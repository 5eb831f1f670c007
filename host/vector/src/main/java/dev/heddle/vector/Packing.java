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
   * Packs columns into strips, from column {@code at} of the strips on: {@code strips[c / 4][at +
   * j][c % 4] = matrix[j][c]}. Lanes of columns past the last are left as they are.
   *
   * <p>One strip after another, though the matrix is then read in pieces: the strips lie far apart,
   * often by a power of two, and writing to all of them in turn would fight over a few cache sets.
   *
   * @param rows rows of the matrix that are packed
   * @param columns how many columns there are, and elements from one row to the next
   * @param depth rows that a strip has room for
   */
  static void columnsToStrips(
      float[] matrix, int offset, int rows, int columns, float[] strips, int depth, int at) {
    for (int c = 0; c < columns; c += STRIP) {
      int strip = (c * depth) + at * STRIP;
      if (c + STRIP <= columns) {
        for (int j = 0; j < rows; j++) {
          int from = offset + j * columns + c;
          strips[strip + j * STRIP] = matrix[from];
          strips[strip + j * STRIP + 1] = matrix[from + 1];
          strips[strip + j * STRIP + 2] = matrix[from + 2];
          strips[strip + j * STRIP + 3] = matrix[from + 3];
        }
      } else {
        for (int j = 0; j < rows; j++) {
          for (int r = 0; r < columns - c; r++) {
            strips[strip + j * STRIP + r] = matrix[offset + j * columns + c + r];
          }
        }
      }
    }
  }

  /** Zeroes row {@code at} of every strip. */
  static void zeroStripRow(float[] strips, int columns, int depth, int at) {
    for (int c = 0; c < columns; c += STRIP) {
      int row = (c * depth) + at * STRIP;
      Arrays.fill(strips, row, row + STRIP, 0);
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
