package dev.heddle.vector;

import static dev.heddle.vector.Lanes.PANEL;
import static dev.heddle.vector.Lanes.STRIP;
import static dev.heddle.vector.Lanes.roundUp;

import dev.heddle.core.AttentionShape;
import dev.heddle.core.DType;
import dev.heddle.core.HostSession.Span;
import java.util.Arrays;
import java.util.function.IntUnaryOperator;
import java.util.stream.Stream;
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

  /**
   * Which part of each row of A counts. The rest, and the rows of B that only the rest would meet,
   * add nothing whatever they hold.
   */
  interface Visible {
    /**
     * The first element of a row of A that counts.
     *
     * @param row among the rows of all products
     */
    int first(int row);

    /** One past the last element that counts; not above the first where none does. */
    int end(int row);

    /** Whether an element counts. */
    boolean counts(int row, int element);

    /**
     * Zeroes what does not count between the first and the last element that do.
     *
     * @param from the first of the elements to look at
     * @param elements how many there are
     * @param strips where they lie, from {@code at} on, each {@link Lanes#STRIP} after the one
     *     before
     */
    void clear(int row, int from, int elements, float[] strips, int at);
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

  /**
   * How many products there are, and of what.
   *
   * @param products how many products: A and C are arrays of so many matrices
   * @param matricesOfB how many matrices B is an array of
   * @param matrixOfB which of them each product uses
   */
  record Batch(int products, int matricesOfB, IntUnaryOperator matrixOfB) {
    /** A single product. */
    static final Batch ONE = new Batch(1, 1, product -> 0);

    /** One product per query head, with the key-value head that its group shares. */
    static Batch ofHeads(AttentionShape shape) {
      return new Batch(
          shape.batch() * shape.headsQ(), shape.batch() * shape.headsKv(), shape::kvHead);
    }
  }

  private final Size size;
  private final Batch batch;
  private final Layout layout;
  private final @Nullable Visible visible;
  private final DType stored;
  private final Workers workers;
  private final float[][] panels;
  private final float[][] strips;
  private final float[][] tiles;

  /** Per panel, the rows of B that are packed as zeros and added one by one; for Visible only. */
  private final WildRows[] wildRows;

  /**
   * Plans a batch.
   *
   * @param layout of B; row-major where {@code visible} is given
   * @param visible which part of each row of A counts, or null when all does
   * @param stored storage type of C
   */
  TiledProduct(
      Size size,
      Batch batch,
      Layout layout,
      @Nullable Visible visible,
      DType stored,
      Workers workers) {
    if (visible != null && layout != Layout.ROW_MAJOR) {
      throw new IllegalArgumentException("rows of B are looked through in row-major B only");
    }
    this.size = size;
    this.batch = batch;
    this.layout = layout;
    this.visible = visible;
    this.stored = stored;
    this.workers = workers.forFlops(2.0 * batch.products * size.rows * size.columns * size.depth);
    panels = new float[batch.matricesOfB * size.panels()][size.depth * PANEL];
    wildRows =
        Stream.generate(() -> new WildRows(size.depth))
            .limit(visible == null ? 0 : panels.length)
            .toArray(WildRows[]::new);
    strips = new float[this.workers.count()][size.blockRows() * size.sliceDepth()];
    tiles = new float[this.workers.count()][STRIP * PANEL];
  }

  /**
   * Memory that such a batch holds beyond A, B and C, bytes.
   *
   * @param hides whether only a part of each row of A counts
   */
  static long scratchBytes(Size size, Batch batch, boolean hides, int workers) {
    long panels = (long) batch.matricesOfB * size.panels();
    long panel = (long) size.depth * PANEL * Float.BYTES;
    long own = (long) size.blockRows() * size.sliceDepth() + (long) STRIP * PANEL;
    return panels * (panel + (hides ? WildRows.bytes(size.depth) : 0))
        + workers * own * Float.BYTES;
  }

  /** Memory held beyond A, B and C, bytes. */
  long scratchBytes() {
    return scratchBytes(size, batch, visible != null, workers.count());
  }

  /** Computes every product; C may be anything before. */
  void run(Span a, Span b, @Nullable Span bias, Span c) {
    workers.run(
        panels.length, (worker, task) -> pack(b, task / size.panels(), task % size.panels()));
    int blockRows = Math.ceilDiv(size.rows, BLOCK_M);
    int blockColumns = Math.ceilDiv(size.panels(), PANELS);
    workers.run(
        batch.products * blockRows * blockColumns,
        (worker, task) -> {
          int block = task / blockColumns;
          multiply(
              worker,
              a,
              b,
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
    int index = matrix * size.panels() + panel;
    float[] to = panels[index];
    switch (layout) {
      case ROW_MAJOR ->
          Packing.columnsToPanel(
              b.array(), start + column, size.columns, columns, size.depth, to, 0);
      case TRANSPOSED ->
          Packing.rowsToPanel(
              b.array(), start + column * size.depth, size.depth, columns, size.depth, 1, to, 0);
    }
    if (visible != null) {
      WildRows wild = wildRows[index];
      wild.scan(b.array(), start + column, size.columns, size.depth, columns, 0);
      for (int k = wild.next(0, size.depth); k < size.depth; k = wild.next(k + 1, size.depth)) {
        Arrays.fill(to, k * PANEL, (k + 1) * PANEL, 0);
      }
    }
  }

  private void multiply(
      int worker,
      Span a,
      Span b,
      @Nullable Span bias,
      Span c,
      int product,
      int row,
      int firstPanel) {
    int rows = Math.min(BLOCK_M, size.rows - row);
    int endPanel = Math.min(firstPanel + PANELS, size.panels());
    int firstRow = product * size.rows + row;
    int aStart = a.offset() + firstRow * size.depth;
    int cStart = c.offset() + firstRow * size.columns;
    int matrix = batch.matrixOfB.applyAsInt(product);
    int begin = 0;
    int end = size.depth;
    if (visible != null) {
      begin = size.depth;
      end = 0;
      for (int i = 0; i < rows; i++) {
        begin = Math.min(begin, visible.first(firstRow + i));
        end = Math.max(end, visible.end(firstRow + i));
      }
      // Where nothing is visible one slice of depth 0 still stores the zeros.
      begin = Math.min(begin, end);
    }
    int k = begin;
    do {
      int depth = Math.min(size.blockK, end - k);
      Packing.rowsToStrips(a.array(), aStart + k, size.depth, rows, depth, strips[worker], 0);
      if (visible != null) {
        hide(strips[worker], firstRow, rows, k, depth, visible);
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
              panels[matrix * size.panels() + panel],
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
    if (visible != null) {
      for (int panel = firstPanel; panel < endPanel; panel++) {
        addWildRows(
            a.array(), aStart, b, c.array(), cStart, matrix, panel, rows, firstRow, begin, end,
            visible);
      }
    }
    int column = firstPanel * PANEL;
    int columns = Math.min(endPanel * PANEL, size.columns) - column;
    for (int i = 0; i < rows; i++) {
      Rounding.round(stored, c.array(), cStart + i * size.columns + column, columns);
    }
  }

  /** Zeroes what does not count in a slice of packed rows. */
  private static void hide(
      float[] strips, int firstRow, int rows, int k, int depth, Visible visible) {
    for (int i = 0; i < rows; i++) {
      int at = i / STRIP * STRIP * depth + i % STRIP;
      int first = Math.clamp((long) visible.first(firstRow + i) - k, 0, depth);
      int end = Math.clamp((long) visible.end(firstRow + i) - k, first, depth);
      for (int j = 0; j < first; j++) {
        strips[at + j * STRIP] = 0;
      }
      for (int j = end; j < depth; j++) {
        strips[at + j * STRIP] = 0;
      }
      visible.clear(firstRow + i, k + first, end - first, strips, at + first * STRIP);
    }
  }

  /** Adds the rows of B that were packed as zeros to the rows of C that see them. */
  private void addWildRows(
      float[] a,
      int aStart,
      Span b,
      float[] c,
      int cStart,
      int matrix,
      int panel,
      int rows,
      int firstRow,
      int begin,
      int end,
      Visible visible) {
    WildRows wild = wildRows[matrix * size.panels() + panel];
    int column = panel * PANEL;
    int columns = Math.min(PANEL, size.columns - column);
    for (int k = wild.next(begin, end); k < end; k = wild.next(k + 1, end)) {
      int from = b.offset() + (matrix * size.depth + k) * size.columns + column;
      for (int i = 0; i < rows; i++) {
        if (visible.counts(firstRow + i, k)) {
          float factor = a[aStart + i * size.depth + k];
          int to = cStart + i * size.columns + column;
          for (int j = 0; j < columns; j++) {
            c[to + j] += factor * b.array()[from + j];
          }
        }
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
