package dev.heddle.vector;

import static dev.heddle.vector.Lanes.LANES;
import static dev.heddle.vector.Lanes.NARROW;
import static dev.heddle.vector.Lanes.broadcast;
import static dev.heddle.vector.Lanes.load;
import static dev.heddle.vector.Lanes.roundUp;

import dev.heddle.core.AttentionShape;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.FeatureMap;
import java.util.Arrays;
import java.util.Map;
import java.util.stream.Stream;
import jdk.incubator.vector.FloatVector;
import org.jspecify.annotations.Nullable;

/**
 * {@code linear_attention_recurrent}: the recurrence, token by token.
 *
 * <p>By every rule the columns of the state are independent: a task is a key-value head and {@link
 * Lanes#NARROW} of its columns, two vectors side by side, which stay in the core's cache. Two rows
 * of the state at a time, so that four sums run at once. What takes exponentials, decay and the
 * feature map, is computed for all tokens before.
 */
final class Recurrence implements HostSession.Kernel {
  /** Elements per task of what is computed before, a multiple of what {@link Gates} takes. */
  private static final int ELEMENTS_PER_TASK = 1 << 14;

  private static final Span NOTHING = new Span(new float[0], 0, 0);

  private final LinearAttention problem;
  private final AttentionShape shape;
  private final int seqlen;
  private final int headDim;
  private final int headDimV;
  private final int decayWidth;
  private final int blocks;
  private final Span q;
  private final Span k;
  private final Span v;
  private final Span decay;
  private final Span beta;
  private final @Nullable Span initialState;
  private final @Nullable Span initialNormaliser;
  private final Span out;
  private final Span state;
  private final @Nullable Span normaliser;
  private final Workers workers;
  private final Span queries;
  private final Span keys;
  private final Span factors;
  private final Gates[] gates;
  private final Walk[] walks;

  Recurrence(LinearAttention problem, Map<String, Span> tensors, Workers workers) {
    this.problem = problem;
    this.shape = problem.shape();
    this.seqlen = shape.seqlenK();
    this.headDim = shape.headDim();
    this.headDimV = shape.headDimV();
    this.decayWidth = problem.decayWidth();
    this.blocks = Math.ceilDiv(headDimV, NARROW);
    this.q = Tensors.get(tensors, "q");
    this.k = Tensors.get(tensors, "k");
    this.v = Tensors.get(tensors, "v");
    this.decay = problem.rule().isGated() ? Tensors.get(tensors, "decay") : NOTHING;
    this.beta = problem.rule().isDelta() ? Tensors.get(tensors, "beta") : NOTHING;
    this.initialState = tensors.get("initial_state");
    this.initialNormaliser = tensors.get("initial_normaliser");
    this.out = Tensors.get(tensors, "out");
    this.state = Tensors.get(tensors, "state");
    this.normaliser = tensors.get("normaliser");
    this.workers = workers;
    this.queries = mapped(q);
    this.keys = mapped(k);
    this.factors = like(decay);
    this.gates = Stream.generate(Gates::new).limit(workers.count()).toArray(Gates[]::new);
    this.walks = Stream.generate(Walk::new).limit(workers.count()).toArray(Walk[]::new);
  }

  /** Where a tensor under the feature map lies: where it is, when it is its own. */
  private Span mapped(Span tensor) {
    return problem.featureMap() == FeatureMap.IDENTITY ? tensor : like(tensor);
  }

  private static Span like(Span tensor) {
    return new Span(new float[tensor.length()], 0, tensor.length());
  }

  static long scratchBytes(LinearAttention problem, int workers) {
    AttentionShape shape = problem.shape();
    long tokens = (long) shape.batch() * shape.headsKv() * shape.seqlenK();
    long mapped =
        problem.featureMap() == FeatureMap.IDENTITY
            ? 0
            : shape.q().elements() + shape.k().elements();
    long rows = rows(shape);
    long each = rows * NARROW + 5 * rows + 2L * NARROW + Gates.FLOATS;
    return Float.BYTES * (tokens * problem.decayWidth() + mapped + workers * each);
  }

  /** Elements of the longest array that is no tensor's size. */
  static long longestArray(AttentionShape shape) {
    return rows(shape) * NARROW;
  }

  /** Rows of the state that are computed: an even number. */
  private static long rows(AttentionShape shape) {
    return shape.headDim() + shape.headDim() % 2L;
  }

  @Override
  public long scratchBytes() {
    long floats = factors.length();
    if (problem.featureMap() != FeatureMap.IDENTITY) {
      floats += (long) queries.length() + keys.length();
    }
    floats += Stream.of(gates).mapToLong(Gates::floats).sum();
    floats += Stream.of(walks).mapToLong(Walk::floats).sum();
    return floats * Float.BYTES;
  }

  @Override
  public void run() {
    if (problem.featureMap() == FeatureMap.ELU_PLUS_ONE) {
      inRanges(q, (worker, from, to) -> gates[worker].eluPlusOne(q, queries, from, to));
      inRanges(k, (worker, from, to) -> gates[worker].eluPlusOne(k, keys, from, to));
    }
    inRanges(decay, (worker, from, to) -> gates[worker].exp(decay, factors, from, to));
    int heads = shape.batch() * shape.headsKv();
    workers.run(
        Math.multiplyExact(heads, blocks),
        (worker, task) -> walks[worker].run(task / blocks, task % blocks * NARROW));
  }

  private void inRanges(Span span, Workers.RangeTask task) {
    if (span.length() > 0) {
      workers.runRanges(span.length(), ELEMENTS_PER_TASK, task);
    }
  }

  /** Some columns of one head's state, on their way through the tokens. */
  private final class Walk {
    private final int rows = Math.toIntExact(rows(shape));
    private final float[] s = new float[rows * NARROW];
    private final float[] z = new float[rows];
    private final float[] query = new float[rows];
    private final float[] key = new float[rows];
    private final float[] fade = new float[rows];
    private final float[] ones = new float[rows];
    private final float[] value = new float[NARROW];
    private final float[] result = new float[NARROW];

    Walk() {
      Arrays.fill(ones, 1);
    }

    long floats() {
      return s.length + 5L * rows + value.length + result.length;
    }

    /** All tokens of one of the {@code B * H_KV} heads. */
    void run(int head, int column) {
      int columns = Math.min(NARROW, headDimV - column);
      begin(head, column, columns);
      for (int t = 0; t < seqlen; t++) {
        int token = head * seqlen + t;
        System.arraycopy(keys.array(), keys.offset() + token * headDim, key, 0, headDim);
        System.arraycopy(v.array(), v.offset() + token * headDimV + column, value, 0, columns);
        float[] gate = gate(token);
        if (problem.normalised()) {
          for (int d = 0; d < headDim; d++) {
            z[d] = Math.fma(z[d], gate[d], key[d]);
          }
        }
        if (problem.rule().isDelta()) {
          find(gate);
          float rate = beta.array()[beta.offset() + betaRow(head) * seqlen + t];
          for (int e = 0; e < columns; e++) {
            value[e] = rate * (value[e] - result[e]);
          }
          gate = ones;
        }
        for (int g = 0; g < shape.groupSize(); g++) {
          int row = (head * shape.groupSize() + g) * seqlen + t;
          System.arraycopy(queries.array(), queries.offset() + row * headDim, query, 0, headDim);
          if (g == 0) {
            writeAndRead(gate);
          } else {
            read();
          }
          store(row, column, columns);
        }
      }
      end(head, column, columns);
    }

    private void begin(int head, int column, int columns) {
      Arrays.fill(s, 0);
      Arrays.fill(z, 0);
      Arrays.fill(value, 0);
      if (initialState != null) {
        for (int d = 0; d < headDim; d++) {
          int row = initialState.offset() + (head * headDim + d) * headDimV + column;
          System.arraycopy(initialState.array(), row, s, d * NARROW, columns);
        }
      }
      if (initialNormaliser != null) {
        int row = initialNormaliser.offset() + head * headDim;
        System.arraycopy(initialNormaliser.array(), row, z, 0, headDim);
      }
    }

    private void end(int head, int column, int columns) {
      for (int d = 0; d < headDim; d++) {
        int row = state.offset() + (head * headDim + d) * headDimV + column;
        System.arraycopy(s, d * NARROW, state.array(), row, columns);
      }
      // The same in each block of columns: the first writes it.
      if (normaliser != null && column == 0) {
        System.arraycopy(z, 0, normaliser.array(), normaliser.offset() + head * headDim, headDim);
      }
    }

    private int betaRow(int head) {
      return problem.betaShared() ? head / shape.headsKv() : head;
    }

    private float[] gate(int token) {
      if (decayWidth == 0) {
        return ones;
      }
      if (decayWidth == 1) {
        Arrays.fill(fade, factors.array()[factors.offset() + token]);
      } else {
        System.arraycopy(factors.array(), factors.offset() + token * headDim, fade, 0, headDim);
      }
      return fade;
    }

    /** {@code S = diag(gate) S}, and what the key finds there. */
    private void find(float[] gate) {
      FloatVector even0 = broadcast(0);
      FloatVector even1 = even0;
      FloatVector odd0 = even0;
      FloatVector odd1 = even0;
      for (int d = 0; d < rows; d += 2) {
        int at = d * NARROW;
        FloatVector a0 = load(s, at).mul(gate[d]);
        FloatVector a1 = load(s, at + LANES).mul(gate[d]);
        FloatVector b0 = load(s, at + NARROW).mul(gate[d + 1]);
        FloatVector b1 = load(s, at + NARROW + LANES).mul(gate[d + 1]);
        a0.intoArray(s, at);
        a1.intoArray(s, at + LANES);
        b0.intoArray(s, at + NARROW);
        b1.intoArray(s, at + NARROW + LANES);
        FloatVector first = broadcast(key[d]);
        FloatVector second = broadcast(key[d + 1]);
        even0 = a0.fma(first, even0);
        even1 = a1.fma(first, even1);
        odd0 = b0.fma(second, odd0);
        odd1 = b1.fma(second, odd1);
      }
      even0.add(odd0).intoArray(result, 0);
      even1.add(odd1).intoArray(result, LANES);
    }

    /** {@code S = diag(gate) S + key^T value}, and what the query finds there. */
    private void writeAndRead(float[] gate) {
      FloatVector value0 = load(value, 0);
      FloatVector value1 = load(value, LANES);
      FloatVector even0 = broadcast(0);
      FloatVector even1 = even0;
      FloatVector odd0 = even0;
      FloatVector odd1 = even0;
      for (int d = 0; d < rows; d += 2) {
        int at = d * NARROW;
        FloatVector firstKey = broadcast(key[d]);
        FloatVector secondKey = broadcast(key[d + 1]);
        FloatVector a0 = value0.fma(firstKey, load(s, at).mul(gate[d]));
        FloatVector a1 = value1.fma(firstKey, load(s, at + LANES).mul(gate[d]));
        FloatVector b0 = value0.fma(secondKey, load(s, at + NARROW).mul(gate[d + 1]));
        FloatVector b1 = value1.fma(secondKey, load(s, at + NARROW + LANES).mul(gate[d + 1]));
        a0.intoArray(s, at);
        a1.intoArray(s, at + LANES);
        b0.intoArray(s, at + NARROW);
        b1.intoArray(s, at + NARROW + LANES);
        FloatVector first = broadcast(query[d]);
        FloatVector second = broadcast(query[d + 1]);
        even0 = a0.fma(first, even0);
        even1 = a1.fma(first, even1);
        odd0 = b0.fma(second, odd0);
        odd1 = b1.fma(second, odd1);
      }
      even0.add(odd0).intoArray(result, 0);
      even1.add(odd1).intoArray(result, LANES);
    }

    /** What another query of the same token finds in the state. */
    private void read() {
      FloatVector even0 = broadcast(0);
      FloatVector even1 = even0;
      FloatVector odd0 = even0;
      FloatVector odd1 = even0;
      for (int d = 0; d < rows; d += 2) {
        int at = d * NARROW;
        FloatVector first = broadcast(query[d]);
        FloatVector second = broadcast(query[d + 1]);
        even0 = load(s, at).fma(first, even0);
        even1 = load(s, at + LANES).fma(first, even1);
        odd0 = load(s, at + NARROW).fma(second, odd0);
        odd1 = load(s, at + NARROW + LANES).fma(second, odd1);
      }
      even0.add(odd0).intoArray(result, 0);
      even1.add(odd1).intoArray(result, LANES);
    }

    private void store(int row, int column, int columns) {
      int to = out.offset() + row * headDimV + column;
      float sum = problem.normalised() ? product(query, z) : 1;
      for (int e = 0; e < columns; e++) {
        out.array()[to + e] = problem.scale() * result[e] / sum;
      }
      Rounding.round(problem.dtype(), out.array(), to, columns);
    }

    private float product(float[] x, float[] y) {
      float sum = 0;
      for (int d = 0; d < headDim; d++) {
        sum = Math.fma(x[d], y[d], sum);
      }
      return sum;
    }
  }

  /** Exponentials of many elements, through a buffer that {@link Exp} takes as a matrix. */
  private static final class Gates {
    private static final int ROWS = 8;

    /** Elements at a time. */
    private static final int CHUNK = ROWS * Lanes.PANEL;

    static final long FLOATS = CHUNK + 2L * Lanes.PANEL;

    /** Beyond this {@link Exp} makes no promise. */
    private static final float EXP_LIMIT = 88;

    private final float[] x = new float[CHUNK];
    private final float[] zeros = new float[Lanes.PANEL];
    private final float[] sums = new float[Lanes.PANEL];

    long floats() {
      return x.length + zeros.length + (long) sums.length;
    }

    /** {@code to = exp(from)}. */
    void exp(Span from, Span to, int first, int end) {
      for (int i = first; i < end; i += CHUNK) {
        int n = Math.min(CHUNK, end - i);
        load(from, i, n, EXP_LIMIT);
        for (int e = 0; e < n; e++) {
          float element = from.array()[from.offset() + i + e];
          to.array()[to.offset() + i + e] = element > EXP_LIMIT ? (float) Math.exp(element) : x[e];
        }
      }
    }

    /** {@code to = elu(from) + 1}. */
    void eluPlusOne(Span from, Span to, int first, int end) {
      for (int i = first; i < end; i += CHUNK) {
        int n = Math.min(CHUNK, end - i);
        load(from, i, n, 0);
        for (int e = 0; e < n; e++) {
          float element = from.array()[from.offset() + i + e];
          to.array()[to.offset() + i + e] = element > 0 ? element + 1 : x[e];
        }
      }
    }

    /** The exponentials of some elements, none taken to be larger than a limit. */
    private void load(Span from, int at, int n, float limit) {
      for (int e = 0; e < n; e++) {
        x[e] = Math.min(from.array()[from.offset() + at + e], limit);
      }
      Arrays.fill(x, n, roundUp(n, 2 * Lanes.PANEL), 0);
      for (int c = 0; c < Lanes.PANEL; c += LANES) {
        Exp.expAndSum(x, c, roundUp(n, 2 * Lanes.PANEL) / Lanes.PANEL, zeros, sums, c);
      }
    }
  }
}
