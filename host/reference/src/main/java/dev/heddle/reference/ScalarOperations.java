package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import java.util.HashMap;
import java.util.Map;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/**
 * Every operation as its textbook formula, in scalar Java, one query row at a time. What other
 * backends are judged against, so written to be checked by eye; rows run on all cores.
 */
public final class ScalarOperations {
  private final Precision precision;

  /** The formulas in that arithmetic. */
  public ScalarOperations(Precision precision) {
    this.precision = precision;
  }

  /**
   * Evaluates an operation.
   *
   * @param inputs row-major values of each input, by the operation's name for it
   * @return row-major values of each output, by the operation's name for it
   */
  public Map<String, double[]> evaluate(Operation operation, Map<String, double[]> inputs) {
    return switch (operation) {
      case AttentionProblem problem -> {
        int rows = Math.toIntExact(problem.shape().lse().elements());
        yield attention(problem, inputs, IntStream.range(0, rows).toArray());
      }
      case AttentionStage stage -> stage(stage, inputs);
      case LinearProblem problem -> Map.of("y", linear(problem, inputs));
      case HeadsTranspose transpose -> Map.of("y", transpose(transpose, input(inputs, "x")));
    };
  }

  /**
   * Evaluates some rows of attention: {@code s = softmaxScale * q K^T}, {@code p = exp(s - max s)},
   * {@code out = (p / sum p) V}, {@code lse = max s + ln sum p}.
   *
   * @param rows indices into the flattened {@code [B, H_Q, SEQLEN_Q]}
   * @return {@code out [rows, HEAD_DIM_V]} and, where asked, {@code lse [rows]}
   */
  Map<String, double[]> attention(
      AttentionProblem problem, Map<String, double[]> inputs, int[] rows) {
    AttentionShape shape = problem.shape();
    double[] q = input(inputs, "q");
    double[] kTransposed = transposeKeys(shape, input(inputs, "k"));
    double[] v = input(inputs, "v");
    double[] out = new double[rows.length * shape.headDimV()];
    double[] lse = new double[rows.length];
    forEach(
        rows.length,
        r -> {
          Row row = new Row(problem, rows[r]);
          double[] weights = new double[row.visible];
          row.scores(precision.scale(problem.softmaxScale()), q, kTransposed, weights, 0);
          double maximum = row.exponentials(weights, 0, weights, 0);
          double sum = row.sum(weights, 0);
          if (!precision.dividesLast()) {
            row.divide(weights, 0, row.visible, sum);
          }
          int at = r * shape.headDimV();
          row.values(weights, 0, v, out, at);
          if (precision.dividesLast() && row.visible > 0) {
            row.divide(out, at, shape.headDimV(), sum);
          }
          storeAll(out, at, shape.headDimV(), problem.dtype());
          lse[r] = precision.logSumExp(maximum, sum);
        });
    return result(problem, "out", out, lse);
  }

  private Map<String, double[]> stage(AttentionStage stage, Map<String, double[]> inputs) {
    AttentionProblem problem = stage.attention();
    AttentionShape shape = problem.shape();
    int rows = Math.toIntExact(shape.lse().elements());
    int seqlenK = shape.seqlenK();
    return switch (stage.stage()) {
      case SCORES -> {
        double[] q = input(inputs, "q");
        double[] kTransposed = transposeKeys(shape, input(inputs, "k"));
        double[] scores = new double[rows * seqlenK];
        // The raw product knows neither scale nor mask.
        AttentionProblem raw = problem.withMask(BandMask.NONE);
        forEach(rows, r -> new Row(raw, r).scores(1, q, kTransposed, scores, r * seqlenK));
        yield Map.of("scores", scores);
      }
      case SOFTMAX -> {
        double[] scores = input(inputs, "scores");
        double[] probabilities = new double[scores.length];
        double[] lse = new double[rows];
        double scale = precision.scale(problem.softmaxScale());
        forEach(
            rows,
            r -> {
              Row row = new Row(problem, r);
              int from = r * seqlenK + row.first;
              double[] scaled = new double[row.visible];
              for (int j = 0; j < row.visible; j++) {
                scaled[j] = precision.round(scores[from + j] * scale);
              }
              double maximum = row.exponentials(scaled, 0, probabilities, from);
              double sum = row.sum(probabilities, from);
              row.divide(probabilities, from, row.visible, sum);
              lse[r] = precision.logSumExp(maximum, sum);
            });
        yield result(problem, "probabilities", probabilities, lse);
      }
      case VALUES -> {
        double[] probabilities = input(inputs, "probabilities");
        double[] v = input(inputs, "v");
        double[] out = new double[rows * shape.headDimV()];
        forEach(
            rows,
            r -> {
              Row row = new Row(problem, r);
              row.values(probabilities, r * seqlenK + row.first, v, out, r * shape.headDimV());
              storeAll(out, r * shape.headDimV(), shape.headDimV(), problem.dtype());
            });
        yield Map.of("out", out);
      }
    };
  }

  /** {@code y[r, :] = sum over i of x[r, i] weight[i, :], plus bias}. */
  private double[] linear(LinearProblem problem, Map<String, double[]> inputs) {
    int in = problem.inFeatures();
    int out = problem.outFeatures();
    double[] x = input(inputs, "x");
    double[] weight = input(inputs, "weight");
    double[] bias = problem.bias() ? input(inputs, "bias") : new double[out];
    double[] y = new double[problem.rows() * out];
    forEach(
        problem.rows(),
        r -> {
          for (int step = 0; step < in; step++) {
            int i = inOrder(step, in);
            precision.addScaled(x[r * in + i], weight, i * out, y, r * out, out);
          }
          precision.addScaled(1, bias, 0, y, r * out, out);
          storeAll(y, r * out, out, problem.dtype());
        });
    return y;
  }

  private static double[] transpose(HeadsTranspose transpose, double[] x) {
    int width = transpose.width();
    double[] y = new double[x.length];
    for (int b = 0; b < transpose.batch(); b++) {
      for (int o = 0; o < transpose.outer(); o++) {
        for (int i = 0; i < transpose.inner(); i++) {
          int from = ((b * transpose.outer() + o) * transpose.inner() + i) * width;
          int to = ((b * transpose.inner() + i) * transpose.outer() + o) * width;
          System.arraycopy(x, from, y, to, width);
        }
      }
    }
    return y;
  }

  /**
   * {@code k [B, H_KV, SEQLEN_K, HEAD_DIM]} as {@code [B, H_KV, HEAD_DIM, SEQLEN_K]}, so that a
   * row's scores are sums of contiguous vectors.
   */
  private static double[] transposeKeys(AttentionShape shape, double[] k) {
    HeadsTranspose swap =
        new HeadsTranspose(
            shape.batch() * shape.headsKv(), shape.seqlenK(), shape.headDim(), 1, DType.FP32);
    return transpose(swap, k);
  }

  private Map<String, double[]> result(
      AttentionProblem problem, String name, double[] values, double[] lse) {
    Map<String, double[]> outputs = new HashMap<>(Map.of(name, values));
    if (problem.lse()) {
      outputs.put("lse", lse);
    }
    return outputs;
  }

  private int inOrder(int step, int count) {
    return precision.reordered() ? count - 1 - step : step;
  }

  private void storeAll(double[] values, int from, int n, DType dtype) {
    for (int j = from; j < from + n; j++) {
      values[j] = precision.store(values[j], dtype);
    }
  }

  private static void forEach(int count, IntConsumer body) {
    IntStream.range(0, count).parallel().forEach(body);
  }

  static double[] input(Map<String, double[]> inputs, String name) {
    double[] values = inputs.get(name);
    if (values == null) {
      throw new IllegalArgumentException("no values given for '" + name + "'");
    }
    return values;
  }

  /** One query row: which keys it sees, and the three steps of attention over them. */
  private final class Row {
    private final AttentionProblem problem;
    private final AttentionShape shape;
    private final int index;
    private final int kvHead;
    private final int first;
    private final int visible;

    Row(AttentionProblem problem, int index) {
      this.problem = problem;
      this.shape = problem.shape();
      this.index = index;
      int i = index % shape.seqlenQ();
      int head = index / shape.seqlenQ();
      int batch = head / shape.headsQ();
      this.kvHead = batch * shape.headsKv() + shape.kvHead(head % shape.headsQ());
      this.first = problem.mask().firstKey(i, shape);
      this.visible = problem.mask().visibleKeys(i, shape);
    }

    /** {@code scores[at + j] = scale * q . k[first + j]} for every visible key. */
    void scores(double scale, double[] q, double[] kTransposed, double[] scores, int at) {
      int headDim = shape.headDim();
      for (int step = 0; step < headDim; step++) {
        int d = inOrder(step, headDim);
        double element = q[index * headDim + d];
        double factor = precision.reordered() ? precision.round(element * scale) : element;
        int column = (kvHead * headDim + d) * shape.seqlenK() + first;
        precision.addScaled(factor, kTransposed, column, scores, at, visible);
      }
      if (!precision.reordered()) {
        for (int j = at; j < at + visible; j++) {
          scores[j] = precision.round(scores[j] * scale);
        }
      }
    }

    /**
     * {@code weights[j] = exp(scores[j] - max)}.
     *
     * @return the maximum; -inf when no key is visible
     */
    double exponentials(double[] scores, int scoresAt, double[] weights, int at) {
      double max = Double.NEGATIVE_INFINITY;
      for (int j = 0; j < visible; j++) {
        max = Math.max(max, scores[scoresAt + j]);
      }
      for (int j = 0; j < visible; j++) {
        weights[at + j] = precision.exp(precision.round(scores[scoresAt + j] - max));
      }
      return max;
    }

    /** Sum of the visible keys' weights. */
    double sum(double[] weights, int at) {
      double sum = 0;
      for (int step = 0; step < visible; step++) {
        sum = precision.round(sum + weights[at + inOrder(step, visible)]);
      }
      return sum;
    }

    void divide(double[] values, int at, int count, double sum) {
      for (int j = at; j < at + count; j++) {
        values[j] = precision.round(values[j] / sum);
      }
    }

    /** {@code out = weights V} over the visible keys, the weights in the operands' type. */
    void values(double[] weights, int at, double[] v, double[] out, int outAt) {
      int headDimV = shape.headDimV();
      for (int step = 0; step < visible; step++) {
        int j = inOrder(step, visible);
        int row = (kvHead * shape.seqlenK() + first + j) * headDimV;
        double weight = precision.store(weights[at + j], problem.dtype());
        precision.addScaled(weight, v, row, out, outAt, headDimV);
      }
    }
  }
}
