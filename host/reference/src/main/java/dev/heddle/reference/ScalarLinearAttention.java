package dev.heddle.reference;

import static dev.heddle.reference.ScalarOperations.input;

import dev.heddle.core.AttentionShape;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.FeatureMap;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.IntStream;

/** Linear attention as its recurrence reads, token by token; one key-value head per task. */
final class ScalarLinearAttention {
  private final Precision precision;
  private final LinearAttention problem;
  private final AttentionShape shape;
  private final int seqlen;
  private final int headDim;
  private final int headDimV;
  private final double[] q;
  private final double[] k;
  private final double[] v;
  private final double[] decay;
  private final double[] beta;
  private final double[] out;
  private final double[] state;
  private final double[] normaliser;

  private ScalarLinearAttention(
      Precision precision, LinearAttention problem, Map<String, double[]> inputs) {
    this.precision = precision;
    this.problem = problem;
    this.shape = problem.shape();
    this.seqlen = shape.seqlenK();
    this.headDim = shape.headDim();
    this.headDimV = shape.headDimV();
    this.q = input(inputs, "q");
    this.k = input(inputs, "k");
    this.v = input(inputs, "v");
    this.decay = problem.rule().isGated() ? input(inputs, "decay") : new double[0];
    this.beta = problem.rule().isDelta() ? input(inputs, "beta") : new double[0];
    this.out = new double[Math.toIntExact(shape.out().elements())];
    this.state = first(inputs, "initial_state", problem.initialState(), problem.state().elements());
    this.normaliser =
        first(
            inputs,
            "initial_normaliser",
            problem.initialState() && problem.normalised(),
            problem.normaliser().elements());
  }

  private static double[] first(
      Map<String, double[]> inputs, String name, boolean given, long elements) {
    return given ? input(inputs, name).clone() : new double[Math.toIntExact(elements)];
  }

  /** Row-major values of each output, by the operation's name for it. */
  static Map<String, double[]> evaluate(
      Precision precision, LinearAttention problem, Map<String, double[]> inputs) {
    ScalarLinearAttention evaluation = new ScalarLinearAttention(precision, problem, inputs);
    int heads = problem.shape().batch() * problem.shape().headsKv();
    IntStream.range(0, heads).parallel().forEach(evaluation::walk);
    Map<String, double[]> outputs =
        new HashMap<>(Map.of("out", evaluation.out, "state", evaluation.state));
    if (problem.normalised()) {
      outputs.put("normaliser", evaluation.normaliser);
    }
    return outputs;
  }

  /** All tokens of one of the {@code B * H_KV} heads, in order. */
  private void walk(int head) {
    for (int t = 0; t < seqlen; t++) {
      int token = head * seqlen + t;
      if (problem.rule().isGated()) {
        fade(head, token);
      }
      write(head, token, t);
      for (int g = 0; g < shape.groupSize(); g++) {
        read(head, (head * shape.groupSize() + g) * seqlen + t);
      }
    }
  }

  /** {@code S = exp(g) S}, and the normaliser likewise. */
  private void fade(int head, int token) {
    for (int d = 0; d < headDim; d++) {
      int width = problem.decayWidth();
      double gate = precision.exp(precision.scale(decay[token * width + (width == 1 ? 0 : d)]));
      int row = row(head, d);
      for (int e = row; e < row + headDimV; e++) {
        state[e] = precision.round(state[e] * gate);
      }
      normaliser[head * headDim + d] = precision.round(normaliser[head * headDim + d] * gate);
    }
  }

  /** {@code S = S + f(k)^T u}, and {@code z = z + f(k)}. */
  private void write(int head, int token, int t) {
    double[] key = features(k, token);
    double[] value = new double[headDimV];
    System.arraycopy(v, token * headDimV, value, 0, headDimV);
    if (problem.rule().isDelta()) {
      double[] found = new double[headDimV];
      product(key, head, found, 0);
      int batch = head / shape.headsKv();
      int row = problem.betaHeads() == 1 ? batch : head;
      for (int e = 0; e < headDimV; e++) {
        double difference = precision.round(value[e] - found[e]);
        value[e] = precision.round(beta[row * seqlen + t] * difference);
      }
    }
    for (int d = 0; d < headDim; d++) {
      precision.addScaled(key[d], value, 0, state, row(head, d), headDimV);
      normaliser[head * headDim + d] = precision.round(normaliser[head * headDim + d] + key[d]);
    }
  }

  /** {@code out = scale f(q) S}, over {@code f(q) z} where normalised. */
  private void read(int head, int query) {
    double[] features = features(q, query);
    boolean early = precision.reordered();
    double[] factors = features.clone();
    for (int d = 0; early && d < headDim; d++) {
      factors[d] = precision.round(features[d] * problem.scale());
    }
    int at = query * headDimV;
    product(factors, head, out, at);
    double[] sum = {1};
    if (problem.normalised()) {
      sum[0] = 0;
      for (int step = 0; step < headDim; step++) {
        int d = precision.inOrder(step, headDim);
        precision.addScaled(features[d], normaliser, head * headDim + d, sum, 0, 1);
      }
    }
    for (int e = at; e < at + headDimV; e++) {
      double scaled = early ? out[e] : precision.round(out[e] * problem.scale());
      out[e] = precision.store(precision.round(scaled / sum[0]), problem.dtype());
    }
  }

  /** {@code result = x S}. */
  private void product(double[] x, int head, double[] result, int at) {
    for (int step = 0; step < headDim; step++) {
      int d = precision.inOrder(step, headDim);
      precision.addScaled(x[d], state, row(head, d), result, at, headDimV);
    }
  }

  /** A row of queries or keys under the feature map. */
  private double[] features(double[] rows, int row) {
    double[] features = new double[headDim];
    for (int d = 0; d < headDim; d++) {
      double x = rows[row * headDim + d];
      features[d] =
          problem.featureMap() == FeatureMap.IDENTITY
              ? x
              : x > 0 ? precision.round(x + 1) : precision.exp(precision.scale(x));
    }
    return features;
  }

  private int row(int head, int d) {
    return (head * headDim + d) * headDimV;
  }
}
