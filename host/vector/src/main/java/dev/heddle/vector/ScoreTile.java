package dev.heddle.vector;

import static dev.heddle.vector.Lanes.LANES;
import static dev.heddle.vector.Lanes.PANEL;
import static dev.heddle.vector.Lanes.STRIP;
import static dev.heddle.vector.Lanes.broadcast;
import static dev.heddle.vector.Lanes.load;
import static dev.heddle.vector.Lanes.roundUp;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.HostSession.Span;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * What the options do to the tiles of {@link FlashAttention}, {@code S^T [keys][PANEL]} with a
 * query per lane.
 *
 * <p>All is done a vector of lanes at a time. A mask or bias that differs by query lies across the
 * tile; it is turned first, which takes a load and a store per score and costs more than the rest.
 */
final class ScoreTile {
  private final ScoreOptions options;
  private final ScoreOptions.Row[] queries = new ScoreOptions.Row[PANEL];

  /** Of the queries, one for each row of the block mask. */
  private final ScoreOptions.Row[] blockRows = new ScoreOptions.Row[PANEL];

  private final float[] slopes;
  private final float[] positions;
  private final float[] factors;

  /** A tile of mask or bias, turned. */
  private final float[] turned;

  private int blockRowCount;

  /** Whether all lanes share a row of the mask, and of the bias. */
  private boolean oneMaskRow;

  private boolean oneBiasRow;
  private int lanes;
  private int width;

  /** For tiles of that problem. */
  ScoreTile(AttentionProblem problem, ScoreOptions options) {
    this.options = options;
    slopes = new float[problem.options().alibi() ? PANEL : 0];
    positions = slopes.clone();
    factors = new float[ScoreOptions.dropoutElements(problem)];
    turned = new float[turnedElements(problem)];
  }

  private static int turnedElements(AttentionProblem problem) {
    AttentionOptions options = problem.options();
    boolean may = options.mask().isPresent() || options.bias().isPresent();
    return may ? FlashAttention.BLOCK_N * PANEL : 0;
  }

  /** Elements that {@link ScoreTile#ScoreTile} allocates. */
  static long elements(AttentionProblem problem) {
    return (problem.options().alibi() ? 2L * PANEL : 0)
        + ScoreOptions.dropoutElements(problem)
        + turnedElements(problem);
  }

  /** Elements held. */
  long elements() {
    return (long) slopes.length + positions.length + factors.length + turned.length;
  }

  /**
   * Turns to another block of queries.
   *
   * @param from where the queries' rows are taken from
   * @param firstRow of its first query, among all rows of scores
   * @param rows how many queries it has; lanes past them repeat the last, so that they ask for no
   *     key that nobody needs
   * @param computed lanes that are computed
   */
  void bind(ScoreOptions from, int firstRow, int rows, int computed) {
    lanes = rows;
    width = computed;
    blockRowCount = 0;
    oneMaskRow = true;
    oneBiasRow = true;
    for (int lane = 0; lane < PANEL; lane++) {
      ScoreOptions.Row query = from.row(firstRow + Math.min(lane, rows - 1));
      queries[lane] = query;
      // Every lane counts: where heads share a block, its last query may be the first of the next
      // head.
      oneMaskRow &= query.maskRow == queries[0].maskRow;
      oneBiasRow &= query.biasRow == queries[0].biasRow;
      if (blockRowCount == 0 || query.blockRow != blockRows[blockRowCount - 1].blockRow) {
        blockRows[blockRowCount++] = query;
      }
      if (slopes.length > 0) {
        slopes[lane] = query.slope();
      }
    }
  }

  /** A lane's row of scores. */
  ScoreOptions.Row query(int lane) {
    return queries[lane];
  }

  /**
   * Where the next tile starts: at the first key of which some query sees the block, or at the end.
   *
   * @param from the first key that has not been in a tile
   * @param end one past the last key
   */
  int start(int from, int end) {
    if (!options.hasBlocks()) {
      return from;
    }
    int key = from;
    while (key < end && !seesBlockOf(key)) {
      key = options.blockStart(key) + options.blockKeys();
    }
    return key < end ? key - key % STRIP : end;
  }

  /**
   * Keys of the tile that starts there: up to the last of which some query sees the block.
   *
   * @param end one past the last key
   */
  int keys(int tile, int end) {
    int last = Math.min(tile + FlashAttention.BLOCK_N, end);
    if (options.hasBlocks()) {
      while (!seesBlockOf(last - 1)) {
        last = options.blockStart(last - 1);
      }
    }
    return roundUp(last - tile, STRIP);
  }

  private boolean seesBlockOf(int key) {
    for (int row = 0; row < blockRowCount; row++) {
      if (blockRows[row].seesBlockOf(key)) {
        return true;
      }
    }
    return false;
  }

  /**
   * Softcap, bias and ALiBi.
   *
   * @param key of the first scores
   * @param keys how many rows of scores there are
   * @param real how many of them are those of keys, and not of the padding behind them
   */
  void change(float[] scores, int key, int keys, int real) {
    if (width == PANEL) {
      options.softcap(scores, 0, keys * PANEL);
    } else {
      for (int j = 0; j < keys; j++) {
        options.softcap(scores, j * PANEL, width);
      }
    }
    Span bias = options.bias();
    if (bias != null) {
      float[] added = bias.array();
      if (oneBiasRow) {
        for (int j = 0; j < real; j++) {
          add(scores, j * PANEL, added[queries[0].biasRow + key + j]);
        }
      } else {
        for (int lane = 0; lane < lanes; lane++) {
          turn(added, queries[lane].biasRow + key, real, lane);
        }
        for (int c = 0; c < width; c += LANES) {
          addTurned(scores, c, real);
        }
      }
    }
    if (slopes.length > 0) {
      for (int lane = 0; lane < PANEL; lane++) {
        positions[lane] = queries[lane].diagonal - key;
      }
      for (int c = 0; c < width; c += LANES) {
        subtractDistance(scores, c, real);
      }
    }
  }

  /** Turns a row of mask or bias into a column. */
  private void turn(float[] row, int from, int keys, int lane) {
    for (int j = 0; j < keys; j++) {
      turned[lane + j * PANEL] = row[from + j];
    }
  }

  /** One bias for every lane; -inf hides, whatever the scores are. */
  private void add(float[] scores, int row, float bias) {
    if (bias == Float.NEGATIVE_INFINITY) {
      hideRow(scores, row);
    } else {
      FloatVector added = broadcast(bias);
      for (int c = row; c < row + width; c += LANES) {
        load(scores, c).add(added).intoArray(scores, c);
      }
    }
  }

  private void addTurned(float[] scores, int c, int keys) {
    for (int j = 0; j < keys; j++) {
      int at = c + j * PANEL;
      FloatVector bias = load(turned, at);
      load(scores, at)
          .add(bias)
          .blend(bias, bias.compare(VectorOperators.EQ, Float.NEGATIVE_INFINITY))
          .intoArray(scores, at);
    }
  }

  private void subtractDistance(float[] scores, int c, int keys) {
    FloatVector slope = load(slopes, c);
    FloatVector position = load(positions, c);
    for (int j = 0; j < keys; j++) {
      int at = c + j * PANEL;
      load(scores, at).sub(slope.mul(position.sub(j).abs())).intoArray(scores, at);
    }
  }

  /** Sets scores to -inf that mask or blocks hide. */
  void hide(float[] scores, int key, int real) {
    Span mask = options.mask();
    if (mask != null) {
      float[] flags = mask.array();
      if (oneMaskRow) {
        for (int j = 0; j < real; j++) {
          if (flags[queries[0].maskRow + key + j] == 0) {
            hideRow(scores, j * PANEL);
          }
        }
      } else {
        for (int lane = 0; lane < lanes; lane++) {
          turn(flags, queries[lane].maskRow + key, real, lane);
        }
        for (int c = 0; c < width; c += LANES) {
          hideTurned(scores, c, real);
        }
      }
    }
    if (blockRowCount == 1) {
      queries[0].hideByBlocks(key, real, scores, 0, PANEL, width, Float.NEGATIVE_INFINITY);
    } else {
      for (int lane = 0; lane < lanes; lane++) {
        queries[lane].hideByBlocks(key, real, scores, lane, PANEL, 1, Float.NEGATIVE_INFINITY);
      }
    }
  }

  private void hideTurned(float[] scores, int c, int keys) {
    for (int j = 0; j < keys; j++) {
      int at = c + j * PANEL;
      load(scores, at)
          .blend(Float.NEGATIVE_INFINITY, load(turned, at).compare(VectorOperators.EQ, 0))
          .intoArray(scores, at);
    }
  }

  private void hideRow(float[] scores, int row) {
    for (int c = row; c < row + width; c += LANES) {
      broadcast(Float.NEGATIVE_INFINITY).intoArray(scores, c);
    }
  }

  /** Drops probabilities. */
  void drop(float[] probabilities, int key, int real) {
    if (options.drops()) {
      for (int lane = 0; lane < lanes; lane++) {
        queries[lane].drop(key, real, probabilities, lane, PANEL, factors);
      }
    }
  }
}
