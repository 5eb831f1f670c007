// attention_naive: attention forward as its definition reads, in parallel loops.
//
// Computes, for each batch b, query head h (reading key-value head h / (H_Q / H_KV)) and query i:
//   attentionScoresNaive    scores[i][j] = sum_d q[i][d] k[j][d]          raw: no scale, no mask
//   attentionSoftmaxNaive   s_j = softmax_scale * scores[i][j] for the visible keys,
//                           m = max_j s_j,  l = sum_j exp(s_j - m),  lse[i] = m + ln(l),
//                           probabilities[i][j] = exp(s_j - m) / l, and 0 where j is hidden
//   attentionValuesNaive    out[i][:] = sum_j probabilities[i][j] v[j][:]  over the visible keys
//   No visible key: probabilities = 0, out = 0, lse = -inf.
//
// Shapes (row-major): q [B, H_Q, SEQLEN_Q, HEAD_DIM]   k [B, H_KV, SEQLEN_K, HEAD_DIM]
//   v [B, H_KV, SEQLEN_K, HEAD_DIM_V]   scores, probabilities [B, H_Q, SEQLEN_Q, SEQLEN_K]
//   out [B, H_Q, SEQLEN_Q, HEAD_DIM_V]   lse [B, H_Q, SEQLEN_Q]
//
//              HEAD_DIM          SEQLEN_K                SEQLEN_K           HEAD_DIM_V
//             +--------+        +---------+             +---------+         +--------+
//   SEQLEN_Q  |   q    | x k^T  |    .    | one         |---------| one     |   .    | one
//             |        |        |         | iteration   |  row    | itera-  |        | iteration
//             +--------+        +---------+ per score   +---------+ tion    +--------+ per element
//
// Launch: any grid at all, for an iteration belongs to the work-item of its number modulo the size
//   of the grid. The axes are the @Parallel loops: on a processor the outermost is axis 0,
//   elsewhere the innermost, so that neighbouring work-items there have neighbouring elements.
// FLOPs: 2 HEAD_DIM per pair (hidden ones too) + 2 HEAD_DIM_V per visible pair.
// Bytes: nothing is reused on purpose: 2 HEAD_DIM elements read per score, 2 per product in values;
//   the scores are written once and read three times (maximum, sum, weights), the probabilities
//   written once and read HEAD_DIM_V times.
// Numerics: fp32 arithmetic, fused multiply-adds, sums in index order; m is subtracted from scores
//   before they are scaled; inputs in 16 bits become fp32 as they are read, by some 20 operations
//   each in bf16, and out is rounded once.
// Limits: tensors of less than 2^31 elements, guard bands included, the scores too.
// Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1.
package dev.heddle.tornado.kernels;

import static dev.heddle.tornado.kernels.AttentionArgs.BATCH;
import static dev.heddle.tornado.kernels.AttentionArgs.HEADS_KV;
import static dev.heddle.tornado.kernels.AttentionArgs.HEADS_Q;
import static dev.heddle.tornado.kernels.AttentionArgs.SEQLEN_K;
import static dev.heddle.tornado.kernels.AttentionArgs.SEQLEN_Q;
import static dev.heddle.tornado.kernels.AttentionArgs.accurateLog;
import static dev.heddle.tornado.kernels.AttentionArgs.endKey;
import static dev.heddle.tornado.kernels.AttentionArgs.firstKey;
import static dev.heddle.tornado.kernels.AttentionArgs.softmaxScale;
import static dev.heddle.tornado.kernels.AttentionArgs.visible;

import uk.ac.manchester.tornado.api.annotations.Parallel;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

/** Attention forward in three kernels, as its definition reads. */
public final class AttentionNaive {
  private AttentionNaive() {}

  // ---- scores ----------------------------------------------------------------------------------

  /** scores of q and k. */
  public static void attentionScoresNaive(
      FloatArray q,
      ShortArray qBits,
      FloatArray k,
      ShortArray kBits,
      FloatArray scores,
      IntArray args,
      int dtype,
      int headDim) {
    int headsQ = args.get(HEADS_Q);
    int headsKv = args.get(HEADS_KV);
    int batchHeads = args.get(BATCH) * headsQ;
    int seqlenQ = args.get(SEQLEN_Q);
    int seqlenK = args.get(SEQLEN_K);
    for (@Parallel int bh = 0; bh < batchHeads; bh++) {
      for (@Parallel int i = 0; i < seqlenQ; i++) {
        for (@Parallel int j = 0; j < seqlenK; j++) {
          int b = bh / headsQ;
          int h = bh % headsQ;
          int hKv = h / (headsQ / headsKv);
          int qRow = bh * seqlenQ + i;
          int kvRow = (b * headsKv + hKv) * seqlenK + j;
          float s = 0.0f;
          for (int d = 0; d < headDim; d++) {
            s +=
                Storage.load(q, qBits, qRow * headDim + d, dtype)
                    * Storage.load(k, kBits, kvRow * headDim + d, dtype);
          }
          Storage.store(scores, qRow * seqlenK + j, s);
        }
      }
    }
  }

  // ---- softmax ---------------------------------------------------------------------------------

  /**
   * probabilities of scores, and lse where there is one. Works in place too: each row is read whole
   * before the pass that overwrites it.
   */
  public static void attentionSoftmaxNaive(
      FloatArray scores, FloatArray probabilities, FloatArray lse, IntArray args, int hasLse) {
    int batchHeads = args.get(BATCH) * args.get(HEADS_Q);
    int seqlenQ = args.get(SEQLEN_Q);
    int seqlenK = args.get(SEQLEN_K);
    float softmaxScale = softmaxScale(args);
    for (@Parallel int bh = 0; bh < batchHeads; bh++) {
      for (@Parallel int i = 0; i < seqlenQ; i++) {
        int qRow = bh * seqlenQ + i;
        int row0 = qRow * seqlenK;
        int firstKey = firstKey(args, i);
        int endKey = endKey(args, i);

        // m is the largest score before its scale, whose sign goes into the scores, and is
        // subtracted before they are scaled: the difference is never above 0, and rounded by a
        // part of itself, not of m.
        float scale = TornadoMath.abs(softmaxScale);
        float sign = softmaxScale < 0.0f ? -1.0f : softmaxScale > 0.0f ? 1.0f : 0.0f;
        float m = Float.NEGATIVE_INFINITY;
        for (int j = firstKey; j < endKey; j++) {
          m = TornadoMath.max(m, sign * Storage.load(scores, row0 + j));
        }

        float l = 0.0f;
        for (int j = firstKey; j < endKey; j++) {
          l += TornadoMath.exp(scale * (sign * Storage.load(scores, row0 + j) - m));
        }
        for (int j = 0; j < seqlenK; j++) {
          float p = 0.0f;
          if (visible(j, firstKey, endKey) >= 0) {
            p = TornadoMath.exp(scale * (sign * Storage.load(scores, row0 + j) - m)) / l;
          }
          Storage.store(probabilities, row0 + j, p);
        }
        if (hasLse != 0) {
          Storage.store(
              lse, qRow, firstKey < endKey ? scale * m + accurateLog(l) : Float.NEGATIVE_INFINITY);
        }
      }
    }
  }

  // ---- values ----------------------------------------------------------------------------------

  /**
   * out of probabilities and v. Hidden keys are left out, not multiplied by 0: their values may be
   * NaN or infinite.
   */
  public static void attentionValuesNaive(
      FloatArray probabilities,
      FloatArray v,
      ShortArray vBits,
      FloatArray out,
      ShortArray outBits,
      IntArray args,
      int dtype,
      int headDimV) {
    int headsQ = args.get(HEADS_Q);
    int headsKv = args.get(HEADS_KV);
    int batchHeads = args.get(BATCH) * headsQ;
    int seqlenQ = args.get(SEQLEN_Q);
    int seqlenK = args.get(SEQLEN_K);
    // Not headDimV itself, which TornadoVM would take for the size of the grid.
    int columns = TornadoMath.max(headDimV, 1);
    for (@Parallel int bh = 0; bh < batchHeads; bh++) {
      for (@Parallel int i = 0; i < seqlenQ; i++) {
        for (@Parallel int d = 0; d < columns; d++) {
          int b = bh / headsQ;
          int h = bh % headsQ;
          int hKv = h / (headsQ / headsKv);
          int qRow = bh * seqlenQ + i;
          int kvRow0 = (b * headsKv + hKv) * seqlenK;
          int firstKey = firstKey(args, i);
          int endKey = endKey(args, i);

          float o = 0.0f;
          for (int j = firstKey; j < endKey; j++) {
            o +=
                Storage.load(probabilities, qRow * seqlenK + j)
                    * Storage.load(v, vBits, (kvRow0 + j) * headDimV + d, dtype);
          }
          Storage.store(out, outBits, qRow * headDimV + d, o, dtype);
        }
      }
    }
  }
}
