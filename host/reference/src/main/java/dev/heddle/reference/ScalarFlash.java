package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Attention in one pass over the keys, in double precision: the algorithm of every {@code flash}
 * kernel without any of their tiling, for reading beside them.
 *
 * <p>Per key tile, with {@code s = softmaxScale * q K_tile^T}:
 *
 * <pre>
 * m_new = max(m_i, max s)      alpha = exp(m_i - m_new)      p = exp(s - m_new)
 * l_i   = alpha * l_i + sum p  acc   = alpha * acc + p V_tile
 * </pre>
 *
 * and at the end {@code out = acc / l_i}, {@code lse = m_i + ln l_i}.
 *
 * <p>Source: Milakov and Gimelshein 2018, "Online normalizer calculation for softmax"; Dao 2023,
 * "FlashAttention-2", algorithm 1.
 */
final class ScalarFlash {
  private static final int BLOCK_N = 32;

  private ScalarFlash() {}

  static Map<String, double[]> attention(AttentionProblem problem, Map<String, double[]> inputs) {
    AttentionShape shape = problem.shape();
    double[] q = ScalarOperations.input(inputs, "q");
    double[] k = ScalarOperations.input(inputs, "k");
    double[] v = ScalarOperations.input(inputs, "v");
    int rows = Math.toIntExact(shape.lse().elements());
    double[] out = new double[rows * shape.headDimV()];
    double[] lse = new double[rows];
    IntStream.range(0, rows)
        .parallel()
        .forEach(r -> {
          AttentionRow row = new AttentionRow(problem, Precision.FP64, inputs, r);
          attend(problem, row, q, k, v, out, lse);
        });
    return new HashMap<>(Map.of("out", out, "lse", lse));
  }

  private static void attend(
      AttentionProblem problem,
      AttentionRow row,
      double[] q,
      double[] k,
      double[] v,
      double[] out,
      double[] lse) {
    AttentionShape shape = problem.shape();
    int headDim = shape.headDim();
    int headDimV = shape.headDimV();
    // A sink is a key with a score of its own and no value.
    double maximum = row.sinks() ? row.sink() : Double.NEGATIVE_INFINITY;
    double sum = row.sinks() ? 1 : 0;
    double[] acc = new double[headDimV];
    double[] p = new double[BLOCK_N];
    float[] kept = row.dropoutFactors();
    for (int tile = 0; tile < row.visible; tile += BLOCK_N) {
      int keys = Math.min(BLOCK_N, row.visible - tile);
      double tileMaximum = maximum;
      for (int j = 0; j < keys; j++) {
        double dot = 0;
        int position = row.first + tile + j;
        int key = (row.kvHead * shape.seqlenK() + position) * headDim;
        for (int d = 0; d < headDim; d++) {
          dot += q[row.index * headDim + d] * k[key + d];
        }
        p[j] = row.biased(row.softcapped(problem.softmaxScale() * dot), position);
        if (!row.hides(position)) {
          tileMaximum = Math.max(tileMaximum, p[j]);
        }
      }
      double alpha = sum == 0 ? 0 : Math.exp(maximum - tileMaximum);
      sum *= alpha;
      for (int d = 0; d < headDimV; d++) {
        acc[d] *= alpha;
      }
      for (int j = 0; j < keys; j++) {
        int position = row.first + tile + j;
        if (row.hides(position)) {
          continue;
        }
        double weight = Math.exp(p[j] - tileMaximum);
        sum += weight;
        int value = (row.kvHead * shape.seqlenK() + position) * headDimV;
        for (int d = 0; d < headDimV; d++) {
          acc[d] += weight * kept[tile + j] * v[value + d];
        }
      }
      maximum = tileMaximum;
    }
    lse[row.index] = maximum + Math.log(sum);
    for (int d = 0; d < headDimV; d++) {
      out[row.index * headDimV + d] = sum == 0 ? 0 : acc[d] / sum;
    }
  }
}
