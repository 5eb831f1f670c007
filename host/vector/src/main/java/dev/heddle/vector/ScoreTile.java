package dev.heddle.vector;

import static dev.heddle.vector.Lanes.LANES;
import static dev.heddle.vector.Lanes.PANEL;
import static dev.heddle.vector.Lanes.STRIP;
import static dev.heddle.vector.Lanes.broadcast;
import static dev.heddle.vector.Lanes.load;
import static dev.heddle.vector.Lanes.roundUp;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.HostSession.Span;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;

/**
 * What the options do to the tiles of {@link FlashAttention}, {@code S^T [keys][PANEL]} with a
 * query per lane.
 *
 * <p>What is one number for all lanes, or a function of their positions, is a vector operation.
 * Only masks and biases that differ by query are taken lane by lane, {@link Lanes#PANEL} apart: a
 * row of them lies across the tile, and a load and a store per score is what turning it takes.
 */
final class ScoreTile {
  private final ScoreOptions options;
  private final ScoreOptions.Row[] queries = new ScoreOptions.Row[PANEL];

  /** Of the queries, one for each row of the block mask. */
  private final ScoreOptions.Row[] blockRows = new ScoreOptions.Row[PANEL];

  private final float[] slopes;
  private final float[] positions;
  private final float[] factors;
  private int blockRowCount;
  private int lanes;
  private int width;

  /** For tiles of that problem. */
  ScoreTile(AttentionProblem problem, ScoreOptions options) {
    this.options = options;
    slopes = new float[problem.options().alibi() ? PANEL : 0];
    positions = slopes.clone();
    factors = new float[ScoreOptions.dropoutElements(problem)];
  }

  /** Elements that {@link ScoreTile#ScoreTile} allocates. */
  static long elements(AttentionProblem problem) {
    return (problem.options().alibi() ? 2L * PANEL : 0) + ScoreOptions.dropoutElements(problem);
  }

  /** Elements held. */
  long elements() {
    return (long) slopes.length + positions.length + factors.length;
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
    for (int lane = 0; lane < PANEL; lane++) {
      ScoreOptions.Row query = from.row(firstRow + Math.min(lane, rows - 1));
      queries[lane] = query;
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
      if (queries[0].biasRow == queries[PANEL - 1].biasRow) {
        float[] added = bias.array();
        int row = queries[0].biasRow + key;
        for (int j = 0; j < real; j++) {
          add(added[row + j], scores, j * PANEL);
        }
      } else {
        for (int lane = 0; lane < lanes; lane++) {
          queries[lane].addBias(key, real, scores, lane, PANEL);
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

  /** One number on every lane of a row; -inf hides it, whatever it holds. */
  private void add(float bias, float[] scores, int row) {
    if (bias == Float.NEGATIVE_INFINITY) {
      Arrays.fill(scores, row, row + width, bias);
      return;
    }
    FloatVector added = broadcast(bias);
    for (int c = row; c < row + width; c += LANES) {
      load(scores, c).add(added).intoArray(scores, c);
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
      if (queries[0].maskRow == queries[PANEL - 1].maskRow) {
        hideRows(mask.array(), queries[0].maskRow + key, scores, real);
      } else {
        for (int lane = 0; lane < lanes; lane++) {
          queries[lane].hideByMask(key, real, scores, lane, PANEL, Float.NEGATIVE_INFINITY);
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

  private void hideRows(float[] flags, int from, float[] scores, int keys) {
    for (int j = 0; j < keys; j++) {
      if (flags[from + j] == 0) {
        Arrays.fill(scores, j * PANEL, j * PANEL + width, Float.NEGATIVE_INFINITY);
      }
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
