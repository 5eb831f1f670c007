package dev.heddle.vector;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionOptions.ScoreStage;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.HostSession.Span;
import java.util.Arrays;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What the options of an attention problem do to its scores, for every algorithm of this backend:
 * the formulas of {@link AttentionOptions}, row by row.
 *
 * <p>The scores of a {@link Row} may lie one after another, as in a score matrix, or a stride
 * apart, as in the transposed tiles of {@link FlashAttention}.
 */
final class ScoreOptions {
  /** Keys whose dropout is drawn at once. */
  static final int DROPOUT_KEYS = 128;

  private final AttentionProblem problem;
  private final AttentionShape shape;
  private final AttentionOptions options;
  private final @Nullable Span keyLengths;
  private final @Nullable Span mask;
  private final @Nullable Span bias;
  private final @Nullable Span blockMask;
  private final @Nullable Span alibiSlopes;
  private final @Nullable Span sinks;
  private final @Nullable Span scoreOutput;

  /**
   * The options of a problem.
   *
   * @param tensors the operation's, of which the options' are picked by name
   */
  ScoreOptions(AttentionProblem problem, Map<String, Span> tensors) {
    this.problem = problem;
    shape = problem.shape();
    options = problem.options();
    keyLengths = tensors.get("key_lengths");
    mask = tensors.get("mask");
    bias = tensors.get("bias");
    blockMask = tensors.get("block_mask");
    alibiSlopes = tensors.get("alibi_slopes");
    sinks = tensors.get("sinks");
    scoreOutput = tensors.get("score_output");
  }

  /** Memory that drawing a problem's dropout takes per worker, elements. */
  static int dropoutElements(AttentionProblem problem) {
    return problem.options().dropout().isNone() ? 0 : DROPOUT_KEYS;
  }

  /** Whether there are none, so that a row is its band and scores stay as they are. */
  boolean isNone() {
    return options.isNone();
  }

  @Nullable Span mask() {
    return mask;
  }

  @Nullable Span bias() {
    return bias;
  }

  /** Whether keys are hidden by blocks. */
  boolean hasBlocks() {
    return blockMask != null;
  }

  /** Keys of a block. */
  int blockKeys() {
    return options.blocks().orElseThrow().keys();
  }

  /** First key of the block in which a key lies. */
  int blockStart(int key) {
    return key - key % blockKeys();
  }

  /** Whether some key within the band may be hidden. */
  boolean hidesWithinBand() {
    return mask != null || bias != null || blockMask != null;
  }

  private boolean softcaps() {
    return options.softcap() != 0;
  }

  /** Whether some probabilities are dropped. */
  boolean drops() {
    return !options.dropout().isNone();
  }

  /** Whether each head has a sink. */
  boolean hasSinks() {
    return sinks != null;
  }

  /**
   * Whether scores must be scaled before anything else: what they meet is in the unit of logits, or
   * the scale is 0 and would make NaN of a hidden one.
   */
  boolean needsScaled() {
    return softcaps()
        || bias != null
        || alibiSlopes != null
        || sinks != null
        || scoreOutput != null
        || problem.softmaxScale() == 0;
  }

  /** Applies the softcap to scaled scores, in whatever order they lie. */
  void softcap(float[] x, int at, int length) {
    if (softcaps()) {
      Tanh.softcap(options.softcap(), x, at, length);
    }
  }

  /** First key within a row's band, as {@link Row#first} but without the rest of the row. */
  int first(int index) {
    return problem.mask().firstKey(index % shape.seqlenQ(), shape.seqlenQ(), keys(index));
  }

  /** One past the last key within a row's band, as {@link Row#end}. */
  int end(int index) {
    return problem.mask().endKey(index % shape.seqlenQ(), shape.seqlenQ(), keys(index));
  }

  /** Keys that a row's sequence has. */
  private int keys(int index) {
    if (keyLengths == null) {
      return shape.seqlenK();
    }
    int batch = index / shape.seqlenQ() / shape.headsQ();
    return (int) keyLengths.array()[keyLengths.offset() + batch];
  }

  /**
   * A row of scores.
   *
   * @param index into the flattened {@code [B, H_Q, SEQLEN_Q]}
   */
  Row row(int index) {
    return new Row(index);
  }

  /** One row of scores: a query of a head. */
  final class Row {
    private final int index;
    private final int query;
    private final int head;
    private final int batch;
    private final int headQ;

    /** The key on the query's diagonal. */
    final int diagonal;

    /** First key within the band. */
    final int first;

    /** One past the last key within the band; not above the first where there is none. */
    final int end;

    /** Where its rows of mask, bias and block mask start; 0 without them. */
    final int maskRow;

    final int biasRow;
    final int blockRow;

    private Row(int index) {
      this.index = index;
      query = index % shape.seqlenQ();
      head = index / shape.seqlenQ();
      batch = head / shape.headsQ();
      headQ = head % shape.headsQ();
      diagonal = query + problem.mask().offset(shape.seqlenQ(), keys(index));
      first = ScoreOptions.this.first(index);
      end = ScoreOptions.this.end(index);
      maskRow = mask == null ? 0 : start(mask, options.mask().orElseThrow());
      biasRow = bias == null ? 0 : start(bias, options.bias().orElseThrow());
      blockRow = blockMask == null ? 0 : start(blockMask, options.blocks().orElseThrow());
    }

    private int start(Span tensor, Broadcast layout) {
      int row = head(layout.batch(), layout.heads());
      row = layout.rows() ? row * shape.seqlenQ() + query : row;
      return tensor.offset() + row * shape.seqlenK();
    }

    private int start(Span tensor, AttentionOptions.Blocks layout) {
      int rows = Math.ceilDiv(shape.seqlenQ(), layout.rows());
      int row = head(layout.batch(), layout.heads()) * rows + query / layout.rows();
      return tensor.offset() + row * Math.ceilDiv(shape.seqlenK(), layout.keys());
    }

    private int head(boolean batches, boolean heads) {
      int at = batches ? batch : 0;
      return heads ? at * shape.headsQ() + headQ : at;
    }

    /** First of the keys whose scores are needed. */
    int from() {
      return wantsHiddenScores() ? 0 : first;
    }

    /** One past the last of the keys whose scores are needed; not below the first. */
    int to() {
      return wantsHiddenScores() ? shape.seqlenK() : Math.max(first, end);
    }

    /** The score output has those of hidden keys, too, before they are hidden. */
    private boolean wantsHiddenScores() {
      return scoreOutput != null && options.scoreOutput().orElseThrow() != ScoreStage.PROBABILITIES;
    }

    /** Whether a key is hidden; one outside the band always is. */
    boolean hides(int key) {
      return key < first || key >= end || hidesWithinBand(key);
    }

    private boolean hidesWithinBand(int key) {
      return (mask != null && mask.array()[maskRow + key] == 0)
          || (bias != null && bias.array()[biasRow + key] == Float.NEGATIVE_INFINITY)
          || !seesBlockOf(key);
    }

    /** Whether the block of a key is visible. */
    boolean seesBlockOf(int key) {
      return blockMask == null || blockMask.array()[blockRow + key / blockKeys()] != 0;
    }

    /** Whether some key is seen. */
    boolean seesAny() {
      int key = first;
      while (key < end && hidesWithinBand(key)) {
        key = seesBlockOf(key) ? key + 1 : blockStart(key) + blockKeys();
      }
      return key < end;
    }

    /** The sink's logit; -inf where there is none. */
    float sink() {
      return sinks == null ? Float.NEGATIVE_INFINITY : sinks.array()[sinks.offset() + headQ];
    }

    /**
     * All that happens to scaled scores before their softmax: softcap, bias, ALiBi, -inf for what
     * is hidden; on the way they become the score output where that is one of these stages.
     *
     * @param x the scores of the keys {@link #from} to {@link #to}, from {@code at} on
     */
    void modify(float[] x, int at) {
      int keys = to() - from();
      output(ScoreStage.RAW, x, at);
      softcap(x, at, keys);
      output(ScoreStage.SOFTCAPPED, x, at);
      addBias(from(), keys, x, at);
      subtractDistance(from(), keys, x, at);
      Arrays.fill(x, at, at + Math.clamp((long) first - from(), 0, keys), Float.NEGATIVE_INFINITY);
      Arrays.fill(
          x, at + Math.clamp((long) end - from(), 0, keys), at + keys, Float.NEGATIVE_INFINITY);
      hideByMask(from(), keys, x, at, 1, Float.NEGATIVE_INFINITY);
      hideByBlocks(from(), keys, x, at, 1, 1, Float.NEGATIVE_INFINITY);
      output(ScoreStage.BIASED, x, at);
    }

    /**
     * What happens to probabilities before they weigh values: they become the score output where
     * that is this stage, then some are dropped.
     *
     * @param p those of the keys {@link #from} to {@link #to}, from {@code at} on
     * @param factors {@link #DROPOUT_KEYS} elements of scratch memory
     */
    void finish(float[] p, int at, float[] factors) {
      output(ScoreStage.PROBABILITIES, p, at);
      drop(from(), to() - from(), p, at, 1, factors);
    }

    private void output(ScoreStage stage, float[] x, int at) {
      Span output = scoreOutput;
      if (output != null && options.scoreOutput().orElseThrow() == stage) {
        int row = output.offset() + index * shape.seqlenK();
        Arrays.fill(output.array(), row, row + shape.seqlenK(), 0);
        System.arraycopy(x, at, output.array(), row + from(), to() - from());
      }
    }

    /** What ALiBi multiplies distances by; 0 without it. */
    float slope() {
      return alibiSlopes == null ? 0 : alibiSlopes.array()[alibiSlopes.offset() + headQ];
    }

    private void subtractDistance(int key, int keys, float[] x, int at) {
      if (alibiSlopes != null) {
        float slope = slope();
        for (int j = 0; j < keys; j++) {
          x[at + j] -= slope * Math.abs(diagonal - key - j);
        }
      }
    }

    /** -inf hides a score, whatever it is. */
    private void addBias(int key, int keys, float[] x, int at) {
      if (bias != null) {
        float[] added = bias.array();
        for (int j = 0; j < keys; j++) {
          float b = added[biasRow + key + j];
          x[at + j] = b == Float.NEGATIVE_INFINITY ? b : x[at + j] + b;
        }
      }
    }

    /** Zeroes what the options hide, whatever the band does. */
    void clear(int key, int keys, float[] x, int at, int stride) {
      hideByMask(key, keys, x, at, stride, 0);
      hideByBlocks(key, keys, x, at, stride, 1, 0);
      if (bias != null) {
        float[] added = bias.array();
        for (int j = 0; j < keys; j++) {
          if (added[biasRow + key + j] == Float.NEGATIVE_INFINITY) {
            x[at + j * stride] = 0;
          }
        }
      }
    }

    /** Puts {@code hidden} in the place of what the mask hides. */
    private void hideByMask(int key, int keys, float[] x, int at, int stride, float hidden) {
      if (mask != null) {
        float[] flags = mask.array();
        int replaced = Float.floatToRawIntBits(hidden);
        for (int j = 0; j < keys; j++) {
          // All ones where the flag is set: masks may be irregular, and a branch mispredicted.
          int flag = Float.floatToRawIntBits(flags[maskRow + key + j]);
          int visible = (flag | -flag) >> 31;
          int kept = Float.floatToRawIntBits(x[at + j * stride]) & visible;
          x[at + j * stride] = Float.intBitsToFloat(kept | (replaced & ~visible));
        }
      }
    }

    /**
     * Replaces what the block mask hides.
     *
     * @param key the first element's
     * @param keys how many there are
     * @param stride elements from one to the next
     * @param copies how many elements in a row each stands for
     * @param hidden what replaces it
     */
    void hideByBlocks(int key, int keys, float[] x, int at, int stride, int copies, float hidden) {
      int j = 0;
      while (hasBlocks() && j < keys) {
        int next = Math.min(keys, blockStart(key + j) + blockKeys() - key);
        if (!seesBlockOf(key + j)) {
          for (int hiding = j; hiding < next; hiding++) {
            Arrays.fill(x, at + hiding * stride, at + hiding * stride + copies, hidden);
          }
        }
        j = next;
      }
    }

    /**
     * Multiplies probabilities by what dropout leaves of them.
     *
     * @param key the first probability's
     * @param keys how many there are
     * @param stride elements from one to the next
     * @param factors {@link #DROPOUT_KEYS} elements of scratch memory
     */
    void drop(int key, int keys, float[] p, int at, int stride, float[] factors) {
      if (!drops()) {
        return;
      }
      for (int done = 0; done < keys; done += DROPOUT_KEYS) {
        options.dropout().factors(factors, key + done, query, head);
        int count = Math.min(DROPOUT_KEYS, keys - done);
        for (int j = 0; j < count; j++) {
          p[at + (done + j) * stride] *= factors[j];
        }
      }
    }
  }
}
