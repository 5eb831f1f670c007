package dev.heddle.vector;

import static dev.heddle.vector.Lanes.LANES;
import static dev.heddle.vector.Lanes.PANEL;
import static dev.heddle.vector.Lanes.broadcast;
import static dev.heddle.vector.Lanes.load;
import static dev.heddle.vector.Lanes.roundUp;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;
import java.util.Arrays;
import java.util.stream.Stream;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import org.jspecify.annotations.Nullable;

/**
 * {@code attention_softmax}: {@code probabilities = softmax(softmaxScale * scores + mask)} by rows,
 * and lse, with what the options do.
 *
 * <p>A task is one row. Its visible scores are scaled into a buffer that is padded with -inf to
 * whole pairs of panel rows, so that {@link Exp} can take it as a matrix {@code [..][PANEL]}.
 */
final class SoftmaxStage implements HostSession.Kernel {
  /** Rows per task. */
  private static final int ROWS = 16;

  private final AttentionProblem problem;
  private final AttentionShape shape;
  private final ScoreOptions options;
  private final Span scores;
  private final Span probabilities;
  private final @Nullable Span lse;
  private final Workers workers;
  private final Row[] buffers;

  /** Reads scores and writes probabilities, which may be the same memory. */
  SoftmaxStage(
      AttentionProblem problem,
      ScoreOptions options,
      Span scores,
      Span probabilities,
      @Nullable Span lse,
      Workers workers) {
    this.problem = problem;
    this.shape = problem.shape();
    this.options = options;
    this.scores = scores;
    this.probabilities = probabilities;
    this.lse = lse;
    this.workers = workers;
    this.buffers = Stream.generate(Row::new).limit(workers.count()).toArray(Row[]::new);
  }

  static long scratchBytes(AttentionProblem problem, int workers) {
    long own = paddedKeys(problem.shape()) + 2L * PANEL + ScoreOptions.dropoutElements(problem);
    return workers * own * Float.BYTES;
  }

  private static int paddedKeys(AttentionShape shape) {
    return roundUp(shape.seqlenK(), 2 * PANEL);
  }

  @Override
  public void run() {
    int rows = shape.batch() * shape.headsQ() * shape.seqlenQ();
    workers.runRanges(
        rows,
        ROWS,
        (worker, from, to) -> {
          for (int row = from; row < to; row++) {
            buffers[worker].softmax(row);
          }
        });
  }

  @Override
  public long scratchBytes() {
    return Stream.of(buffers)
        .flatMap(row -> Stream.of(row.x, row.zeros, row.sums, row.factors))
        .mapToLong(array -> (long) array.length * Float.BYTES)
        .sum();
  }

  private final class Row {
    private final float[] x = new float[paddedKeys(shape)];
    private final float[] zeros = new float[PANEL];
    private final float[] sums = new float[PANEL];
    private final float[] factors = new float[ScoreOptions.dropoutElements(problem)];

    void softmax(int index) {
      ScoreOptions.Row row = options.row(index);
      int first = row.from();
      int keys = row.to() - first;
      int from = scores.offset() + index * shape.seqlenK();
      int to = probabilities.offset() + index * shape.seqlenK();
      int padded = roundUp(keys, 2 * PANEL);
      // m is the largest score before its scale, whose sign goes into the scores; where options
      // need scaled scores, all of the scale does.
      boolean early = options.needsScaled();
      float scale = early ? 1 : Math.abs(problem.softmaxScale());
      float factor = early ? problem.softmaxScale() : Math.signum(problem.softmaxScale());
      for (int j = 0; j < keys; j++) {
        x[j] = factor * scores.array()[from + first + j];
      }
      Arrays.fill(x, keys, padded, Float.NEGATIVE_INFINITY);
      if (!options.isNone()) {
        row.modify(x, 0);
      }
      float m = Math.max(maximum(padded), row.sink());
      // Where even the largest is -inf, subtracting it would give NaN.
      float reference = m == Float.NEGATIVE_INFINITY ? 0 : m;
      // Subtracted before it is scaled: never above 0, and rounded by a part of itself, not of m.
      for (int j = 0; j < keys; j++) {
        x[j] = scale * (x[j] - reference);
      }
      float l = options.hasSinks() ? (float) Math.exp(row.sink() - reference) : 0;
      for (int c = 0; c < PANEL; c += LANES) {
        Exp.expAndSum(x, c, padded / PANEL, zeros, sums, c);
        l += load(sums, c).reduceLanes(VectorOperators.ADD);
      }
      // Where some key is visible, a sum of 0 means that every score overflowed: that ends in NaN.
      boolean empty = !(l > 0) && !row.seesAny();
      float inverse = empty ? 0 : 1 / l;
      for (int j = 0; j < keys; j++) {
        x[j] *= inverse;
      }
      if (!options.isNone()) {
        row.finish(x, 0, factors);
      }
      Arrays.fill(probabilities.array(), to, to + first, 0);
      System.arraycopy(x, 0, probabilities.array(), to + first, keys);
      Arrays.fill(probabilities.array(), to + first + keys, to + shape.seqlenK(), 0);
      if (lse != null) {
        lse.array()[lse.offset() + index] =
            empty ? row.sink() : (float) ((double) scale * m + Math.log(l));
      }
    }

    /** The largest element; NaN is left to exp. */
    private float maximum(int length) {
      FloatVector max = broadcast(Float.NEGATIVE_INFINITY);
      for (int j = 0; j < length; j += LANES) {
        FloatVector next = load(x, j);
        max = max.blend(next, next.compare(VectorOperators.GT, max));
      }
      return max.reduceLanes(VectorOperators.MAX);
    }
  }
}
