package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import java.math.BigDecimal;
import java.util.Map;

/**
 * Attention and the linear operation written a second time with nothing in common with the oracle:
 * four explicit indices, the mask as its inequality, and sums that are exact.
 */
final class LongHand {
  private LongHand() {}

  /** Out and lse of one problem. */
  record Attention(double[][][][] out, double[][][] lse) {}

  static boolean visible(BandMask mask, AttentionShape shape, long i, long j) {
    long offset =
        mask.alignment() == BandMask.Alignment.TOP_LEFT
            ? 0
            : (long) shape.seqlenK() - shape.seqlenQ();
    return (mask.left() == BandMask.UNBOUNDED || j >= i + offset - mask.left())
        && (mask.right() == BandMask.UNBOUNDED || j <= i + offset + mask.right());
  }

  static Attention attention(AttentionProblem problem, Map<String, HostTensor> inputs) {
    AttentionShape s = problem.shape();
    double[][][][] out = new double[s.batch()][s.headsQ()][s.seqlenQ()][s.headDimV()];
    double[][][] lse = new double[s.batch()][s.headsQ()][s.seqlenQ()];
    for (int b = 0; b < s.batch(); b++) {
      for (int h = 0; h < s.headsQ(); h++) {
        int kv = (int) Math.floor((double) h / ((double) s.headsQ() / s.headsKv()));
        for (int i = 0; i < s.seqlenQ(); i++) {
          double[] logits = new double[s.seqlenK()];
          double max = Double.NEGATIVE_INFINITY;
          for (int j = 0; j < s.seqlenK(); j++) {
            logits[j] = Double.NEGATIVE_INFINITY;
            if (visible(problem.mask(), s, i, j)) {
              BigDecimal dot = BigDecimal.ZERO;
              for (int d = 0; d < s.headDim(); d++) {
                BigDecimal q = at(inputs, "q", new int[] {b, h, i, d});
                dot = dot.add(q.multiply(at(inputs, "k", new int[] {b, kv, j, d})));
              }
              logits[j] = dot.doubleValue() * problem.softmaxScale();
              max = Math.max(max, logits[j]);
            }
          }
          if (max == Double.NEGATIVE_INFINITY) {
            lse[b][h][i] = max;
            continue;
          }
          BigDecimal sum = BigDecimal.ZERO;
          for (int j = 0; j < s.seqlenK(); j++) {
            sum = sum.add(new BigDecimal(Math.exp(logits[j] - max)));
          }
          lse[b][h][i] = max + Math.log(sum.doubleValue());
          for (int e = 0; e < s.headDimV(); e++) {
            BigDecimal weighted = BigDecimal.ZERO;
            for (int j = 0; j < s.seqlenK(); j++) {
              BigDecimal weight = new BigDecimal(Math.exp(logits[j] - max));
              weighted = weighted.add(weight.multiply(at(inputs, "v", new int[] {b, kv, j, e})));
            }
            out[b][h][i][e] = weighted.doubleValue() / sum.doubleValue();
          }
        }
      }
    }
    return new Attention(out, lse);
  }

  static double linear(Map<String, HostTensor> inputs, boolean bias, int row, int column, int in) {
    BigDecimal sum = bias ? at(inputs, "bias", new int[] {column}) : BigDecimal.ZERO;
    for (int i = 0; i < in; i++) {
      BigDecimal x = at(inputs, "x", new int[] {row, i});
      sum = sum.add(x.multiply(at(inputs, "weight", new int[] {i, column})));
    }
    return sum.doubleValue();
  }

  /** One row of attention over all keys in plain fp32, as a textbook has it, stored in a type. */
  static float[] plainRow(
      float[] q, float[][] k, float[][] v, float scale, Precision precision, DType dtype) {
    boolean reordered = precision == Precision.FP32_REORDERED;
    // Base 2, its factor in the scale, and the division at the end.
    boolean fused = precision == Precision.FP32_FUSED;
    double base = fused ? Math.log(2) : 1;
    float factorOfBase = (float) (scale / base);
    int keys = k.length;
    float[] p = new float[keys];
    float max = Float.NEGATIVE_INFINITY;
    for (int j = 0; j < keys; j++) {
      float dot = 0;
      for (int step = 0; step < q.length; step++) {
        int d = reordered ? q.length - 1 - step : step;
        float factor = reordered ? q[d] * scale : q[d];
        dot = multiplyAdd(precision, factor, k[j][d], dot);
      }
      p[j] = reordered ? dot : dot * factorOfBase;
      max = Math.max(max, p[j]);
    }
    float sum = 0;
    for (int j = 0; j < keys; j++) {
      p[j] = (float) Math.exp((double) (p[j] - max) * base);
    }
    for (int step = 0; step < keys; step++) {
      sum = sum + p[reordered ? keys - 1 - step : step];
    }
    float[] outAndLse = new float[v[0].length + 1];
    for (int e = 0; e < v[0].length; e++) {
      for (int step = 0; step < keys; step++) {
        int j = reordered ? keys - 1 - step : step;
        float weight = fused ? p[j] : p[j] / sum;
        outAndLse[e] = multiplyAdd(precision, dtype.round(weight), v[j][e], outAndLse[e]);
      }
      if (fused) {
        outAndLse[e] /= sum;
      }
      outAndLse[e] = dtype.round(outAndLse[e]);
    }
    float lse = max + (float) (Math.log(sum) / base);
    outAndLse[v[0].length] = fused ? lse * (float) base : lse;
    return outAndLse;
  }

  /** {@code a b + c} in fp32, the product rounded or not. */
  static float multiplyAdd(Precision precision, float a, float b, float c) {
    if (precision == Precision.FP32_FUSED) {
      return Math.fma(a, b, c);
    }
    float product = a * b;
    return product + c;
  }

  private static BigDecimal at(Map<String, HostTensor> inputs, String name, int[] index) {
    HostTensor tensor = inputs.get(name);
    if (tensor.dtype() != DType.FP32) {
      throw new IllegalArgumentException("fp32 is enough here");
    }
    int flat = 0;
    for (int axis = 0; axis < index.length; axis++) {
      flat = flat * tensor.shape().dim(axis) + index[axis];
    }
    return new BigDecimal(tensor.floats()[flat]);
  }
}
