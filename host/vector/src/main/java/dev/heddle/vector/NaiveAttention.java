package dev.heddle.vector;

import static dev.heddle.vector.Lanes.LANES;
import static dev.heddle.vector.Lanes.broadcast;
import static dev.heddle.vector.Lanes.load;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;
import java.util.Arrays;
import java.util.Map;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import org.jspecify.annotations.Nullable;

/**
 * {@code attention_naive}: the definition, row by row, for reading. A task is one query: its
 * scores, their softmax, the weighted sum of the values. The scores {@code [B, H_Q, SEQLEN_Q,
 * SEQLEN_K]} stay in memory.
 */
final class NaiveAttention implements HostSession.Kernel {
  private final AttentionProblem problem;
  private final AttentionShape shape;
  private final Span q;
  private final Span k;
  private final Span v;
  private final Span out;
  private final @Nullable Span lse;
  private final Workers workers;
  private final float[] scores;

  NaiveAttention(AttentionProblem problem, Map<String, Span> tensors, Workers workers) {
    this.problem = problem;
    this.shape = problem.shape();
    this.q = Tensors.get(tensors, "q");
    this.k = Tensors.get(tensors, "k");
    this.v = Tensors.get(tensors, "v");
    this.out = Tensors.get(tensors, "out");
    this.lse = tensors.get("lse");
    this.workers = workers;
    this.scores = new float[Math.toIntExact(shape.scores().elements())];
  }

  static long scratchBytes(AttentionShape shape) {
    return shape.scores().elements() * Float.BYTES;
  }

  @Override
  public long scratchBytes() {
    return (long) scores.length * Float.BYTES;
  }

  @Override
  public void run() {
    workers.run(shape.batch() * shape.headsQ() * shape.seqlenQ(), (worker, row) -> attend(row));
  }

  private void attend(int row) {
    int i = row % shape.seqlenQ();
    int firstKv = shape.kvHead(row / shape.seqlenQ()) * shape.seqlenK();
    int first = problem.mask().firstKey(i, shape);
    int end = problem.mask().endKey(i, shape);
    int s = row * shape.seqlenK();

    // m is the largest score before its scale, whose sign goes into the scores.
    float scale = Math.abs(problem.softmaxScale());
    float sign = Math.signum(problem.softmaxScale());
    float m = Float.NEGATIVE_INFINITY;
    for (int j = first; j < end; j++) {
      int key = k.offset() + (firstKv + j) * shape.headDim();
      float score = sign * dot(q.offset() + row * shape.headDim(), key);
      scores[s + j] = score;
      m = Math.max(m, score);
    }

    float l = 0;
    for (int j = first; j < end; j++) {
      // Subtracted before it is scaled: never above 0, and rounded by a part of itself, not of m.
      float p = (float) Math.exp(scale * (scores[s + j] - m));
      scores[s + j] = p;
      l += p;
    }
    if (lse != null) {
      lse.array()[lse.offset() + row] =
          first < end ? (float) ((double) scale * m + Math.log(l)) : Float.NEGATIVE_INFINITY;
    }

    int to = out.offset() + row * shape.headDimV();
    Arrays.fill(out.array(), to, to + shape.headDimV(), 0);
    for (int j = first; j < end; j++) {
      addScaled(scores[s + j] / l, v.offset() + (firstKv + j) * shape.headDimV(), to);
    }
    Rounding.round(problem.dtype(), out.array(), to, shape.headDimV());
  }

  /** The product of a query and a key. */
  private float dot(int query, int key) {
    int full = shape.headDim() - shape.headDim() % LANES;
    FloatVector products = broadcast(0);
    for (int d = 0; d < full; d += LANES) {
      products = load(q.array(), query + d).fma(load(k.array(), key + d), products);
    }
    float sum = products.reduceLanes(VectorOperators.ADD);
    for (int d = full; d < shape.headDim(); d++) {
      sum = Math.fma(q.array()[query + d], k.array()[key + d], sum);
    }
    return sum;
  }

  /** {@code out += p * value}. */
  private void addScaled(float p, int value, int to) {
    int full = shape.headDimV() - shape.headDimV() % LANES;
    for (int d = 0; d < full; d += LANES) {
      load(v.array(), value + d)
          .fma(broadcast(p), load(out.array(), to + d))
          .intoArray(out.array(), to + d);
    }
    for (int d = full; d < shape.headDimV(); d++) {
      out.array()[to + d] = Math.fma(p, v.array()[value + d], out.array()[to + d]);
    }
  }
}
