package dev.heddle.reference;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.RotaryEmbedding;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.function.IntConsumer;
import java.util.function.Supplier;
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
      case CacheAppend append -> Map.of("y", append(append, inputs));
      case RotaryEmbedding rotary -> Map.of("y", rotary(rotary, inputs));
      case LinearAttention linear -> ScalarLinearAttention.evaluate(precision, linear, inputs);
    };
  }

  /**
   * Evaluates some rows of attention: {@code s = softmaxScale * q K^T}, {@code p = exp(s - max s)},
   * {@code out = (p / sum p) V}, {@code lse = max s + ln sum p}, with what the options add.
   *
   * @param rows indices into the flattened {@code [B, H_Q, SEQLEN_Q]}
   * @return {@code out [rows, HEAD_DIM_V]} and, where asked, {@code lse [rows]} and {@code
   *     score_output [rows, SEQLEN_K]}
   */
  Map<String, double[]> attention(
      AttentionProblem problem, Map<String, double[]> inputs, int[] rows) {
    AttentionShape shape = problem.shape();
    int headDimV = shape.headDimV();
    double[] q = input(inputs, "q");
    double[] kTransposed = transposeKeys(shape, input(inputs, "k"));
    double[] v = input(inputs, "v");
    double[] out = new double[rows.length * headDimV];
    SoftmaxOutputs outputs = new SoftmaxOutputs(problem, rows.length);
    forEach(
        rows.length,
        r -> {
          AttentionRow row = new AttentionRow(problem, precision, inputs, rows[r]);
          double[] scores = new double[row.visible];
          scores(problem, row, scale(row), q, kTransposed, row.first, scores);
          Weights weights = new Weights(row, scores);
          outputs.write(
              r,
              weights,
              () -> {
                double[] all = new double[shape.seqlenK()];
                scores(problem, row, problem.softmaxScale(), q, kTransposed, 0, all);
                return all;
              });
          boolean divideLast = precision.dividesLast();
          double[] p = weights.dropped(divideLast ? weights.values : weights.probabilities());
          values(problem, row, p, 0, v, out, r * headDimV);
          if (divideLast && weights.any) {
            divide(out, r * headDimV, headDimV, weights.sum);
          }
          storeAll(out, r * headDimV, headDimV, problem.dtype());
        });
    return outputs.with("out", out);
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
        // The raw product knows neither scale nor mask nor options.
        AttentionProblem raw = problem.withMask(BandMask.NONE).withOptions(AttentionOptions.NONE);
        forEach(
            rows,
            r -> {
              double[] row = new double[seqlenK];
              AttentionRow all = new AttentionRow(raw, precision, inputs, r);
              scores(raw, all, 1, q, kTransposed, 0, row);
              System.arraycopy(row, 0, scores, r * seqlenK, seqlenK);
            });
        yield Map.of("scores", scores);
      }
      case SOFTMAX -> {
        double[] scores = input(inputs, "scores");
        double[] probabilities = new double[scores.length];
        SoftmaxOutputs outputs = new SoftmaxOutputs(problem, rows);
        forEach(
            rows,
            r -> {
              AttentionRow row = new AttentionRow(problem, precision, inputs, r);
              int from = r * seqlenK;
              Weights weights =
                  new Weights(row, scaled(scores, from + row.first, row.visible, scale(row)));
              outputs.write(
                  r, weights, () -> scaled(scores, from, seqlenK, problem.softmaxScale()));
              double[] p = weights.dropped(weights.probabilities());
              System.arraycopy(p, 0, probabilities, from + row.first, row.visible);
            });
        yield outputs.with("probabilities", probabilities);
      }
      case VALUES -> {
        double[] probabilities = input(inputs, "probabilities");
        double[] v = input(inputs, "v");
        double[] out = new double[rows * shape.headDimV()];
        forEach(
            rows,
            r -> {
              AttentionRow row = new AttentionRow(problem, precision, inputs, r);
              int at = r * shape.headDimV();
              values(problem, row, probabilities, r * seqlenK + row.first, v, out, at);
              storeAll(out, at, shape.headDimV(), problem.dtype());
            });
        yield Map.of("out", out);
      }
    };
  }

  /** The factor on the scores of a row, in the unit that {@link Weights} takes them in. */
  private double scale(AttentionRow row) {
    float scale = row.problem().softmaxScale();
    return row.staysNatural() ? scale : precision.scale(scale);
  }

  private double[] scaled(double[] scores, int from, int count, double scale) {
    double[] scaled = new double[count];
    for (int j = 0; j < count; j++) {
      scaled[j] = precision.round(scores[from + j] * scale);
    }
    return scaled;
  }

  /** {@code scores[j] = scale * q . k[first + j]}. */
  private void scores(
      AttentionProblem problem,
      AttentionRow row,
      double scale,
      double[] q,
      double[] kTransposed,
      int first,
      double[] scores) {
    AttentionShape shape = problem.shape();
    int headDim = shape.headDim();
    for (int step = 0; step < headDim; step++) {
      int d = precision.inOrder(step, headDim);
      double element = q[row.index * headDim + d];
      double factor = precision.reordered() ? precision.round(element * scale) : element;
      int column = (row.kvHead * headDim + d) * shape.seqlenK() + first;
      precision.addScaled(factor, kTransposed, column, scores, 0, scores.length);
    }
    if (!precision.reordered()) {
      for (int j = 0; j < scores.length; j++) {
        scores[j] = precision.round(scores[j] * scale);
      }
    }
  }

  /** {@code out = weights V} over the visible keys, the weights in the operands' type. */
  private void values(
      AttentionProblem problem,
      AttentionRow row,
      double[] weights,
      int at,
      double[] v,
      double[] out,
      int outAt) {
    AttentionShape shape = problem.shape();
    int headDimV = shape.headDimV();
    for (int step = 0; step < row.visible; step++) {
      int j = precision.inOrder(step, row.visible);
      if (!row.hides(row.first + j)) {
        int value = (row.kvHead * shape.seqlenK() + row.first + j) * headDimV;
        double weight = precision.store(weights[at + j], problem.dtype());
        precision.addScaled(weight, v, value, out, outAt, headDimV);
      }
    }
  }

  private void divide(double[] values, int at, int count, double sum) {
    for (int j = at; j < at + count; j++) {
      values[j] = precision.round(values[j] / sum);
    }
  }

  /** The softmax of one row, over the keys within its band. */
  private final class Weights {
    private final AttentionRow row;

    /** After bias and ALiBi, in natural units where the row stays there; -inf where hidden. */
    final double[] biased;

    /** {@code exp(s - maximum)}; 0 where hidden. */
    final double[] values;

    final double maximum;
    final double sum;

    /** Whether some key is visible. */
    final boolean any;

    /**
     * The softmax of scaled scores.
     *
     * @param scaled of the keys within the band, in the unit of {@link #scale(AttentionRow)}
     */
    Weights(AttentionRow row, double[] scaled) {
      this.row = row;
      // Options work on natural scores; what is exponentiated may have another unit.
      double unit = row.staysNatural() ? precision.scale(1) : 1;
      biased = new double[row.visible];
      double[] exponents = new double[row.visible];
      double largest =
          row.sinks() ? precision.round(row.sink() * precision.scale(1)) : Double.NEGATIVE_INFINITY;
      double sink = largest;
      for (int j = 0; j < row.visible; j++) {
        boolean hidden = row.hides(row.first + j);
        biased[j] =
            hidden
                ? Double.NEGATIVE_INFINITY
                : row.biased(row.softcapped(scaled[j]), row.first + j);
        exponents[j] = precision.round(biased[j] * unit);
        largest = hidden ? largest : Math.max(largest, exponents[j]);
      }
      maximum = largest;
      any = row.seesAny();
      values = new double[row.visible];
      for (int j = 0; j < row.visible; j++) {
        boolean hidden = row.hides(row.first + j);
        values[j] = hidden ? 0 : precision.exp(precision.round(exponents[j] - maximum));
      }
      double total = 0;
      for (int step = 0; step < row.visible; step++) {
        total = precision.round(total + values[precision.inOrder(step, row.visible)]);
      }
      sum =
          row.sinks()
              ? precision.round(total + precision.exp(precision.round(sink - maximum)))
              : total;
    }

    double[] probabilities() {
      double[] probabilities = values.clone();
      if (any) {
        divide(probabilities, 0, probabilities.length, sum);
      }
      return probabilities;
    }

    double[] dropped(double[] weights) {
      if (row.problem().options().dropout().isNone()) {
        return weights;
      }
      float[] factors = row.dropoutFactors();
      double[] dropped = new double[weights.length];
      for (int j = 0; j < weights.length; j++) {
        dropped[j] = precision.round(weights[j] * factors[j]);
      }
      return dropped;
    }

    double lse() {
      return precision.logSumExp(maximum, sum);
    }
  }

  /** What the softmax gives beside its probabilities, for some rows. */
  private static final class SoftmaxOutputs {
    private final AttentionProblem problem;
    private final double[] lse;
    private final double[] scores;

    SoftmaxOutputs(AttentionProblem problem, int rows) {
      this.problem = problem;
      this.lse = new double[rows];
      boolean wanted = problem.options().scoreOutput().isPresent();
      this.scores = new double[wanted ? rows * problem.shape().seqlenK() : 0];
    }

    /**
     * Writes row {@code r} of each.
     *
     * @param all the scaled scores of all keys, visible or not
     */
    void write(int r, Weights weights, Supplier<double[]> all) {
      lse[r] = weights.lse();
      AttentionRow row = weights.row;
      int from = r * problem.shape().seqlenK();
      int to = from + problem.shape().seqlenK();
      problem
          .options()
          .scoreOutput()
          .ifPresent(stage -> {
            switch (stage) {
              case RAW -> System.arraycopy(all.get(), 0, scores, from, to - from);
              case SOFTCAPPED -> {
                double[] raw = all.get();
                Arrays.setAll(raw, j -> row.softcapped(raw[j]));
                System.arraycopy(raw, 0, scores, from, to - from);
              }
              case BIASED -> {
                Arrays.fill(scores, from, to, Double.NEGATIVE_INFINITY);
                System.arraycopy(weights.biased, 0, scores, from + row.first, row.visible);
              }
              case PROBABILITIES ->
                  System.arraycopy(
                      weights.probabilities(), 0, scores, from + row.first, row.visible);
            }
          });
    }

    /** Those that the problem wants, and one more. */
    Map<String, double[]> with(String name, double[] values) {
      Map<String, double[]> outputs = new HashMap<>(Map.of(name, values));
      if (problem.lse()) {
        outputs.put("lse", lse);
      }
      if (problem.options().scoreOutput().isPresent()) {
        outputs.put("score_output", scores);
      }
      return outputs;
    }
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
            int i = precision.inOrder(step, in);
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

  /** A copy of the cache with x in it from row {@code lengths[b]} on. */
  private static double[] append(CacheAppend append, Map<String, double[]> inputs) {
    double[] x = input(inputs, "x");
    double[] y = input(inputs, "cache").clone();
    int rows = append.added() * append.width();
    for (int head = 0; head < append.batch() * append.heads(); head++) {
      int length = (int) input(inputs, "lengths")[head / append.heads()];
      int row =
          head * append.capacity() + Math.clamp(length, 0, append.capacity() - append.added());
      System.arraycopy(x, head * rows, y, row * append.width(), rows);
    }
    return y;
  }

  /** Each pair of elements times its rotation matrix. */
  private double[] rotary(RotaryEmbedding rotary, Map<String, double[]> inputs) {
    double[] x = input(inputs, "x");
    double[] cos = input(inputs, "cos");
    double[] sin = input(inputs, "sin");
    double[] positions = input(inputs, "positions");
    double[] y = x.clone();
    int pairs = rotary.rotaryDim() / 2;
    int distance = rotary.pairing().distance(rotary.rotaryDim());
    forEach(
        x.length / rotary.headDim(),
        row -> {
          int batch = row / (rotary.heads() * rotary.seqlen());
          int token = batch * rotary.seqlen() + row % rotary.seqlen();
          int position = Math.clamp((int) positions[token], 0, rotary.maxPositions() - 1);
          for (int i = 0; i < pairs; i++) {
            int first = row * rotary.headDim() + rotary.pairing().first(i);
            double c = cos[position * pairs + i];
            double s = sin[position * pairs + i];
            double[] turned = {0, 0};
            for (int step = 0; step < 2; step++) {
              int term = precision.inOrder(step, 2);
              precision.addScaled(term == 0 ? c : -s, x, first + term * distance, turned, 0, 1);
              precision.addScaled(term == 0 ? s : c, x, first + term * distance, turned, 1, 1);
            }
            y[first] = precision.store(turned[0], rotary.dtype());
            y[first + distance] = precision.store(turned[1], rotary.dtype());
          }
        });
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
}
