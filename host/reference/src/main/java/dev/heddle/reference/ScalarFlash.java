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
    IntStream.range(0, rows).parallel().forEach(row -> row(problem, row, q, k, v, out, lse));
    return new HashMap<>(Map.of("out", out, "lse", lse));
  }

  private static void row(
      AttentionProblem problem,
      int row,
      double[] q,
      double[] k,
      double[] v,
      double[] out,
      double[] lse) {
    AttentionShape shape = problem.shape();
    int headDim = shape.headDim();
    int headDimV = shape.headDimV();
    int i = row % shape.seqlenQ();
    int head = row / shape.seqlenQ();
    int kvHead = head / shape.headsQ() * shape.headsKv() + shape.kvHead(head % shape.headsQ());
    int end = problem.mask().endKey(i, shape);
    double maximum = Double.NEGATIVE_INFINITY;
    double sum = 0;
    double[] acc = new double[headDimV];
    double[] p = new double[BLOCK_N];
    for (int tile = problem.mask().firstKey(i, shape); tile < end; tile += BLOCK_N) {
      int keys = Math.min(BLOCK_N, end - tile);
      double tileMaximum = maximum;
      for (int j = 0; j < keys; j++) {
        double dot = 0;
        int key = (kvHead * shape.seqlenK() + tile + j) * headDim;
        for (int d = 0; d < headDim; d++) {
          dot += q[row * headDim + d] * k[key + d];
        }
        p[j] = problem.softmaxScale() * dot;
        tileMaximum = Math.max(tileMaximum, p[j]);
      }
      double alpha = Math.exp(maximum - tileMaximum);
      sum *= alpha;
      for (int d = 0; d < headDimV; d++) {
        acc[d] *= alpha;
      }
      for (int j = 0; j < keys; j++) {
        double weight = Math.exp(p[j] - tileMaximum);
        sum += weight;
        int value = (kvHead * shape.seqlenK() + tile + j) * headDimV;
        for (int d = 0; d < headDimV; d++) {
          acc[d] += weight * v[value + d];
        }
      }
      maximum = tileMaximum;
    }
    lse[row] = maximum + Math.log(sum);
    for (int d = 0; d < headDimV; d++) {
      out[row * headDimV + d] = sum == 0 ? 0 : acc[d] / sum;
    }
  }
}
