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
 * and lse.
 *
 * <p>A task is one row. Its visible scores are scaled into a buffer that is padded with -inf to
 * whole pairs of panel rows, so that {@link Exp} can take it as a matrix {@code [..][PANEL]}.
 */
final class SoftmaxStage implements HostSession.Kernel {
  /** Rows per task. */
  private static final int ROWS = 16;

  private final AttentionProblem problem;
  private final AttentionShape shape;
  private final Span scores;
  private final Span probabilities;
  private final @Nullable Span lse;
  private final Workers workers;
  private final Row[] buffers;

  /** Reads scores and writes probabilities, which may be the same memory. */
  SoftmaxStage(
      AttentionProblem problem,
      Span scores,
      Span probabilities,
      @Nullable Span lse,
      Workers workers) {
    this.problem = problem;
    this.shape = problem.shape();
    this.scores = scores;
    this.probabilities = probabilities;
    this.lse = lse;
    this.workers = workers;
    this.buffers = Stream.generate(Row::new).limit(workers.count()).toArray(Row[]::new);
  }

  static long scratchBytes(AttentionShape shape, int workers) {
    return (long) workers * (paddedKeys(shape) + 2L * PANEL) * Float.BYTES;
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
        .mapToLong(row -> (row.x.length + row.zeros.length + row.sums.length) * (long) Float.BYTES)
        .sum();
  }

  private final class Row {
    private final float[] x = new float[paddedKeys(shape)];
    private final float[] zeros = new float[PANEL];
    private final float[] sums = new float[PANEL];

    void softmax(int row) {
      int i = row % shape.seqlenQ();
      int first = problem.mask().firstKey(i, shape);
      int keys = problem.mask().visibleKeys(i, shape);
      int from = scores.offset() + row * shape.seqlenK();
      int to = probabilities.offset() + row * shape.seqlenK();
      if (keys == 0) {
        Arrays.fill(probabilities.array(), to, to + shape.seqlenK(), 0);
        writeLse(row, Float.NEGATIVE_INFINITY);
        return;
      }
      int padded = roundUp(keys, 2 * PANEL);
      // m is the largest score before its scale, whose sign goes into the scores.
      float scale = Math.abs(problem.softmaxScale());
      float sign = Math.signum(problem.softmaxScale());
      for (int j = 0; j < keys; j++) {
        x[j] = sign * scores.array()[from + first + j];
      }
      Arrays.fill(x, keys, padded, Float.NEGATIVE_INFINITY);
      float m = maximum(padded);
      // Where even the largest is -inf, subtracting it would give NaN.
      float reference = m == Float.NEGATIVE_INFINITY ? 0 : m;
      // Subtracted before it is scaled: never above 0, and rounded by a part of itself, not of m.
      for (int j = 0; j < keys; j++) {
        x[j] = scale * (x[j] - reference);
      }
      float l = 0;
      for (int c = 0; c < PANEL; c += LANES) {
        Exp.expAndSum(x, c, padded / PANEL, zeros, sums, c);
        l += load(sums, c).reduceLanes(VectorOperators.ADD);
      }
      // Some key is visible: a sum of 0 means that every score overflowed, which has to end in NaN.
      float inverse = 1 / l;
      Arrays.fill(probabilities.array(), to, to + first, 0);
      for (int j = 0; j < keys; j++) {
        probabilities.array()[to + first + j] = x[j] * inverse;
      }
      Arrays.fill(probabilities.array(), to + first + keys, to + shape.seqlenK(), 0);
      writeLse(row, (float) ((double) scale * m + Math.log(l)));
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

    private void writeLse(int row, float value) {
      if (lse != null) {
        lse.array()[lse.offset() + row] = value;
      }
    }
  }
}
