package dev.heddle.vector;

import static dev.heddle.vector.Lanes.PANEL;
import static dev.heddle.vector.Lanes.STRIP;
import static dev.heddle.vector.Lanes.roundUp;

import dev.heddle.core.HostSession.Span;
import java.util.function.IntUnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A batch of matrix products of one size, {@code C = A B + bias}, by the micro-kernel.
 *
 * <p>B is packed into panels once per run. A task then computes a block of C, {@value #BLOCK_M}
 * rows by {@value #PANELS} panels, in slices of the depth: it packs its slice of A into strips,
 * which stay in L2, and walks them for one panel after another.
 */
final class TiledProduct {
  /** Rows of a block of C. */
  private static final int BLOCK_M = 64;

  /** Panels of a block of C. */
  private static final int PANELS = 4;

  /** Products per slice where only speed counts. */
  static final int BLOCK_K = 512;

  /** Which part of each row of A counts; the rest is taken as 0 whatever it holds. */
  interface Visible {
    /** The first element of a row of A that counts. */
    int first(int row);

    /** One past the last element that counts; not above the first where none does. */
    int end(int row);
  }

  /** How B lies in memory. */
  enum Layout {
    /** {@code B[depth][columns]}. */
    ROW_MAJOR,
    /** {@code B[columns][depth]}. */
    TRANSPOSED
  }

  /**
   * Sizes of one product.
   *
   * @param rows rows of A and C
   * @param columns columns of B and C
   * @param depth columns of A, rows of B
   * @param blockK products per slice: shorter slices cost speed and give smaller rounding errors,
   *     for a sum of sums loses less than one long sum
   */
  record Size(int rows, int columns, int depth, int blockK) {

    private int panels() {
      return Math.ceilDiv(columns, PANEL);
    }

    private int sliceDepth() {
      return Math.min(depth, blockK);
    }

    private int blockRows() {
      return Math.min(roundUp(rows, STRIP), BLOCK_M);
    }
  }

  private final Size size;
  private final int products;
  private final IntUnaryOperator matrixOfB;
  private final Layout layout;
  private final @Nullable Visible visible;
  private final Workers workers;
  private final float[][] panels;
  private final float[][] strips;
  private final float[][] tiles;

  /**
   * Plans a batch.
   *
   * @param products how many products: A and C are arrays of so many matrices
   * @param matricesOfB how many matrices B is an array of
   * @param matrixOfB which of them each product uses
   * @param visible which part of each row of A counts, or null when all does
   */
  TiledProduct(
      Size size,
      int products,
      int matricesOfB,
      IntUnaryOperator matrixOfB,
      Layout layout,
      @Nullable Visible visible,
      Workers workers) {
    this.size = size;
    this.products = products;
    this.matrixOfB = matrixOfB;
    this.layout = layout;
    this.visible = visible;
    this.workers = workers.forWorkOf(2.0 * products * size.rows * size.columns * size.depth);
    panels = new float[matricesOfB * size.panels()][size.depth * PANEL];
    strips = new float[this.workers.count()][size.blockRows() * size.sliceDepth()];
    tiles = new float[this.workers.count()][STRIP * PANEL];
  }

  /** Memory that such a batch holds beyond A, B and C, bytes. */
  static long scratchBytes(Size size, int matricesOfB, int workers) {
    long packed = (long) matricesOfB * size.panels() * size.depth * PANEL;
    long own = (long) size.blockRows() * size.sliceDepth() + STRIP * PANEL;
    return (packed + workers * own) * Float.BYTES;
  }

  /** Memory held beyond A, B and C, bytes. */
  long scratchBytes() {
    long elements = 0;
    for (float[][] arrays : new float[][][] {panels, strips, tiles}) {
      for (float[] array : arrays) {
        elements += array.length;
      }
    }
    return elements * Float.BYTES;
  }

  /** Computes every product; C may be anything before. */
  void run(Span a, Span b, @Nullable Span bias, Span c) {
    workers.run(
        panels.length, (worker, task) -> pack(b, task / size.panels(), task % size.panels()));
    int blockRows = Math.ceilDiv(size.rows, BLOCK_M);
    int blockColumns = Math.ceilDiv(size.panels(), PANELS);
    workers.run(
        products * blockRows * blockColumns,
        (worker, task) -> {
          int block = task / blockColumns;
          multiply(
              worker,
              a,
              bias,
              c,
              block / blockRows,
              block % blockRows * BLOCK_M,
              task % blockColumns * PANELS);
        });
  }

  private void pack(Span b, int matrix, int panel) {
    int column = panel * PANEL;
    int columns = Math.min(PANEL, size.columns - column);
    int start = b.offset() + matrix * size.columns * size.depth;
    float[] to = panels[matrix * size.panels() + panel];
    switch (layout) {
      case ROW_MAJOR ->
          Packing.columnsToPanel(
              b.array(), start + column, size.columns, columns, size.depth, to, 0);
      case TRANSPOSED ->
          Packing.rowsToPanel(
              b.array(), start + column * size.depth, size.depth, columns, size.depth, 1, to, 0);
    }
  }

  private void multiply(
      int worker, Span a, @Nullable Span bias, Span c, int product, int row, int firstPanel) {
    int rows = Math.min(BLOCK_M, size.rows - row);
    int endPanel = Math.min(firstPanel + PANELS, size.panels());
    int aStart = a.offset() + (product * size.rows + row) * size.depth;
    int cStart = c.offset() + (product * size.rows + row) * size.columns;
    int b = matrixOfB.applyAsInt(product) * size.panels();
    int begin = 0;
    int end = size.depth;
    if (visible != null) {
      begin = size.depth;
      end = 0;
      for (int i = 0; i < rows; i++) {
        begin = Math.min(begin, visible.first(row + i));
        end = Math.max(end, visible.end(row + i));
      }
      // Where nothing is visible one slice of depth 0 still stores the zeros.
      begin = Math.min(begin, end);
    }
    int k = begin;
    do {
      int depth = Math.min(size.blockK, end - k);
      Packing.rowsToStrips(a.array(), aStart + k, size.depth, rows, depth, strips[worker], 0);
      if (visible != null) {
        hide(strips[worker], row, rows, k, depth, visible);
      }
      for (int panel = firstPanel; panel < endPanel; panel++) {
        int column = panel * PANEL;
        int columns = Math.min(PANEL, size.columns - column);
        for (int i = 0; i < rows; i += STRIP) {
          int to = cStart + i * size.columns + column;
          boolean whole = columns == PANEL && i + STRIP <= rows;
          boolean direct = whole && k == begin && bias == null;
          MicroKernel.multiply(
              strips[worker],
              i * depth,
              panels[b + panel],
              k * PANEL,
              Lanes.tileWidth(columns),
              depth,
              direct ? c.array() : tiles[worker],
              direct ? to : 0,
              direct ? size.columns : PANEL);
          if (!direct) {
            int tileRows = Math.min(STRIP, rows - i);
            place(tiles[worker], tileRows, columns, k == begin, bias, column, c, to);
          }
        }
      }
      k += size.blockK;
    } while (k < end);
  }

  /** Zeroes what does not count in a slice of packed rows. */
  private static void hide(float[] strips, int row, int rows, int k, int depth, Visible visible) {
    for (int i = 0; i < rows; i++) {
      int at = i / STRIP * STRIP * depth + i % STRIP;
      int first = Math.clamp((long) visible.first(row + i) - k, 0, depth);
      int end = Math.clamp((long) visible.end(row + i) - k, first, depth);
      for (int j = 0; j < first; j++) {
        strips[at + j * STRIP] = 0;
      }
      for (int j = end; j < depth; j++) {
        strips[at + j * STRIP] = 0;
      }
    }
  }

  /** Stores a tile of the first slice, with the bias, or adds that of a later one. */
  private void place(
      float[] tile,
      int rows,
      int columns,
      boolean first,
      @Nullable Span bias,
      int column,
      Span c,
      int to) {
    float[] out = c.array();
    for (int r = 0; r < rows; r++) {
      int from = r * PANEL;
      int row = to + r * size.columns;
      if (!first) {
        for (int j = 0; j < columns; j++) {
          out[row + j] += tile[from + j];
        }
      } else if (bias == null) {
        System.arraycopy(tile, from, out, row, columns);
      } else {
        int add = bias.offset() + column;
        for (int j = 0; j < columns; j++) {
          out[row + j] = tile[from + j] + bias.array()[add + j];
        }
      }
    }
  }
}
