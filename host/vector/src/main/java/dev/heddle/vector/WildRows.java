package dev.heddle.vector;

/**
 * Which rows of a matrix hold a NaN or an infinity.
 *
 * <p>Where a product hides rows of its second operand by a weight of 0, such a row would turn even
 * the hidden sums into NaN, for {@code 0 * NaN} and {@code 0 * inf} are NaN. So the product takes
 * them as zeros and adds them afterwards to the sums that see them, and to no other.
 */
final class WildRows {
  private final boolean[] wild;

  /** For a matrix of so many rows. */
  WildRows(int rows) {
    wild = new boolean[rows];
  }

  /** Memory that this holds for a matrix of so many rows, bytes. */
  static long bytes(int rows) {
    return rows;
  }

  /**
   * Looks through some rows.
   *
   * @param stride elements from one row of the matrix to the next
   * @param rows how many rows there are
   * @param length elements of a row that count
   * @param firstRow the number of the first of them
   */
  void scan(float[] matrix, int offset, int stride, int rows, int length, int firstRow) {
    for (int i = 0; i < rows; i++) {
      wild[firstRow + i] = !Packing.isFinite(matrix, offset + i * stride, length);
    }
  }

  /** The first such row from {@code from} on, or {@code end} where none comes before that. */
  int next(int from, int end) {
    int row = from;
    while (row < end && !wild[row]) {
      row++;
    }
    return row;
  }
}
