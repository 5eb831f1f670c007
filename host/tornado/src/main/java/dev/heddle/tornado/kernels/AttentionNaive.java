package dev.heddle.tornado.kernels;

import static dev.heddle.tornado.kernels.AttentionArgs.*;

import uk.ac.manchester.tornado.api.annotations.Parallel;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

public final class AttentionNaive {
  private AttentionNaive() {}

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

        float m = Float.NEGATIVE_INFINITY;
        for (int j = firstKey; j < endKey; j++) {
          m = TornadoMath.max(m, softmaxScale * Storage.load(scores, row0 + j));
        }
        float minusM = 0.0f - m;
        float l = 0.0f;
        for (int j = firstKey; j < endKey; j++) {
          l += TornadoMath.exp(softmaxScale * Storage.load(scores, row0 + j) + minusM);
        }
        for (int j = 0; j < seqlenK; j++) {
          float p = 0.0f;
          if (visible(j, firstKey, endKey) >= 0) {
            p = TornadoMath.exp(softmaxScale * Storage.load(scores, row0 + j) + minusM) / l;
          }
          Storage.store(probabilities, row0 + j, p);
        }
        if (hasLse != 0) {
          Storage.store(
              lse, qRow, firstKey < endKey ? m + accurateLog(l) : Float.NEGATIVE_INFINITY);
        }
      }
    }
  }

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
    int elements = seqlenQ * headDimV;
    for (@Parallel int bh = 0; bh < batchHeads; bh++) {
      for (@Parallel int e = 0; e < elements; e++) {
        int i = e / headDimV;
        int d = e % headDimV;
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
