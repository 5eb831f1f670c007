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
  private final ScoreOptions options;
  private final Span q;
  private final Span k;
  private final Span v;
  private final Span out;
  private final @Nullable Span lse;
  private final Workers workers;
  private final float[] scores;
  private final float[][] factors;

  NaiveAttention(AttentionProblem problem, Map<String, Span> tensors, Workers workers) {
    this.problem = problem;
    this.shape = problem.shape();
    this.options = new ScoreOptions(problem, tensors);
    this.q = Tensors.get(tensors, "q");
    this.k = Tensors.get(tensors, "k");
    this.v = Tensors.get(tensors, "v");
    this.out = Tensors.get(tensors, "out");
    this.lse = tensors.get("lse");
    this.workers = workers;
    this.scores = new float[Math.toIntExact(shape.scores().elements())];
    this.factors = new float[workers.count()][ScoreOptions.dropoutElements(problem)];
  }

  static long scratchBytes(AttentionProblem problem, int workers) {
    long own = ScoreOptions.dropoutElements(problem);
    return (problem.shape().scores().elements() + workers * own) * Float.BYTES;
  }

  @Override
  public long scratchBytes() {
    return (scores.length + (long) factors.length * factors[0].length) * Float.BYTES;
  }

  @Override
  public void run() {
    workers.run(
        shape.batch() * shape.headsQ() * shape.seqlenQ(),
        (worker, row) -> attend(options.row(row), row, factors[worker]));
  }

  private void attend(ScoreOptions.Row row, int index, float[] factorsOfDropout) {
    int firstKv = shape.kvHead(index / shape.seqlenQ()) * shape.seqlenK();
    int from = row.from();
    int end = row.to();
    int s = index * shape.seqlenK();

    // m is the largest score before its scale, whose sign goes into the scores; where options need
    // scaled scores, all of the scale does.
    boolean early = options.needsScaled();
    float scale = early ? 1 : Math.abs(problem.softmaxScale());
    float factor = early ? problem.softmaxScale() : Math.signum(problem.softmaxScale());
    for (int j = from; j < end; j++) {
      int key = k.offset() + (firstKv + j) * shape.headDim();
      scores[s + j] = factor * dot(q.offset() + index * shape.headDim(), key);
    }
    if (!options.isNone()) {
      row.modify(scores, s + from);
    }
    float m = row.sink();
    for (int j = from; j < end; j++) {
      m = Math.max(m, scores[s + j]);
    }

    boolean empty = !row.seesAny();
    float l = options.hasSinks() ? (float) Math.exp(row.sink() - m) : 0;
    for (int j = from; j < end; j++) {
      // Subtracted before it is scaled: never above 0, and rounded by a part of itself, not of m.
      float p = empty ? 0 : (float) Math.exp(scale * (scores[s + j] - m));
      scores[s + j] = p;
      l += p;
    }
    if (lse != null) {
      lse.array()[lse.offset() + index] =
          empty ? row.sink() : (float) ((double) scale * m + Math.log(l));
    }
    for (int j = from; j < end && !empty; j++) {
      scores[s + j] /= l;
    }
    if (!options.isNone()) {
      row.finish(scores, s + from, factorsOfDropout);
    }

    int to = out.offset() + index * shape.headDimV();
    Arrays.fill(out.array(), to, to + shape.headDimV(), 0);
    for (int j = row.first; j < row.end; j++) {
      if (options.isNone() || !row.hides(j)) {
        addScaled(scores[s + j], v.offset() + (firstKv + j) * shape.headDimV(), to);
      }
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
