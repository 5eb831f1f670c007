// attention_staged: attention forward in three kernels, the products tiled through local memory.
//
// Computes, for each batch b, query head h (reading key-value head h / (H_Q / H_KV)) and query i:
//   attentionScoresStaged    scores[i][j] = sum_d q[i][d] k[j][d]          raw: no scale, no mask
//   attentionSoftmaxStaged   s_j = softmax_scale * scores[i][j] for the visible keys,
//                            m = max_j s_j,  l = sum_j exp(s_j - m),  lse[i] = m + ln(l),
//                            probabilities[i][j] = exp(s_j - m) / l, and 0 where j is hidden
//   attentionValuesStaged    out[i][:] = sum_j probabilities[i][j] v[j][:]  over the visible keys
//   No visible key: probabilities = 0, out = 0, lse = -inf.
//
// Shapes (row-major): q [B, H_Q, SEQLEN_Q, HEAD_DIM]   k [B, H_KV, SEQLEN_K, HEAD_DIM]
//   v [B, H_KV, SEQLEN_K, HEAD_DIM_V]   scores, probabilities [B, H_Q, SEQLEN_Q, SEQLEN_K]
//   out [B, H_Q, SEQLEN_Q, HEAD_DIM_V]   lse [B, H_Q, SEQLEN_Q]
//
//   scores                     softmax                        values
//            BLOCK_N keys       SEQLEN_K                               BLOCK_N columns
//           +-------+          +--------------------+                 +-------+
//   BLOCK_K |  k^T  |          |t0 t1 .. t0 t1 .. ..| one row per     |   v   | BLOCK_K keys
//           +-------+          +--------------------+ work-group,     +-------+
//   +-----+ +-------+                                 SOFTMAX_    +-----+ +-------+
//   |  q  | |scores | BLOCK_M                         THREADS     |  p  | |  out  | BLOCK_M
//   +-----+ +-------+                                 at a time   +-----+ +-------+
//
// A work-group is a grid of THREADS_M x THREADS_N work-items. Work-item (ty, tx) owns the elements
// in rows ty, ty + THREADS_M, ... and columns tx, tx + THREADS_N, ... of a result tile: neighbours
// in x read neighbouring words of a tile's row, and all of them the same word of a tile's column.
// With THREADS_N = 1 the columns of a work-item are neighbours, which a processor's compiler puts
// into vectors.
//
// Launch:
//   scores   local (THREADS_N, THREADS_M, 1), groups (ceil(SEQLEN_K / BLOCK_N),
//            ceil(SEQLEN_Q / BLOCK_M), B * H_Q)
//   softmax  local (SOFTMAX_THREADS, 1), groups (SEQLEN_Q, B * H_Q)
//   values   local (THREADS_N, THREADS_M, 1), groups (ceil(HEAD_DIM_V / BLOCK_N),
//            ceil(SEQLEN_Q / BLOCK_M), B * H_Q)
// FLOPs: 2 HEAD_DIM per pair (hidden ones too) + 2 HEAD_DIM_V per visible pair.
// Bytes: q SEQLEN_K / BLOCK_N times, k and v SEQLEN_Q / BLOCK_M times; the scores are
//   written raw, read three times (maximum, sum, weights), written as probabilities, and read
//   HEAD_DIM_V / BLOCK_N times, rounded up.
// Local memory: 4 (BLOCK_M (BLOCK_K + 1) + BLOCK_K (BLOCK_N + 1)) bytes in the products,
//   4 SOFTMAX_THREADS bytes in the softmax.
// Private memory: 4 BLOCK_M / THREADS_M (BLOCK_N / THREADS_N + 2) bytes in the products.
// Numerics: fp32 arithmetic, fused multiply-adds; m is subtracted from scores before they are
//   scaled; row sums by a tree. Inputs in 16 bits become fp32 as they enter a tile, and out is
//   rounded once; scores and probabilities are fp32.
// Limits: tensors of less than 2^31 elements, guard bands included, the scores too.
// Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1.
package dev.heddle.tornado.kernels;

import static dev.heddle.tornado.kernels.AttentionArgs.HEADS_KV;
import static dev.heddle.tornado.kernels.AttentionArgs.HEADS_Q;
import static dev.heddle.tornado.kernels.AttentionArgs.SEQLEN_K;
import static dev.heddle.tornado.kernels.AttentionArgs.SEQLEN_Q;
import static dev.heddle.tornado.kernels.AttentionArgs.accurateLog;
import static dev.heddle.tornado.kernels.AttentionArgs.endKey;
import static dev.heddle.tornado.kernels.AttentionArgs.firstKey;
import static dev.heddle.tornado.kernels.AttentionArgs.softmaxScale;
import static dev.heddle.tornado.kernels.AttentionArgs.visible;

import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

/** Attention forward in three kernels, the products tiled through local memory. */
@Tunable(
    name = "BLOCK_M",
    value = 64,
    among = {16, 32, 64, 128},
    meaning = "query rows per work-group")
@Tunable(
    name = "BLOCK_N",
    value = 64,
    among = {16, 32, 64, 128},
    meaning = "columns of a product per work-group: keys, or values' columns")
@Tunable(
    name = "BLOCK_K",
    value = 16,
    among = {8, 16, 32},
    meaning = "depth of a pair of tiles")
@Tunable(
    name = "THREADS_M",
    value = 16,
    among = {8, 16, 32},
    meaning = "work-items along the rows")
@Tunable(
    name = "THREADS_N",
    value = 16,
    among = {1, 8, 16},
    meaning = "work-items along the columns")
@Tunable(
    name = "SOFTMAX_THREADS",
    value = 64,
    among = {16, 32, 64, 128, 256},
    meaning = "work-items per row of the softmax")
@Refused(when = "BLOCK_M % THREADS_M != 0", because = "BLOCK_M must be a multiple of THREADS_M")
@Refused(when = "BLOCK_N % THREADS_N != 0", because = "BLOCK_N must be a multiple of THREADS_N")
public final class AttentionStaged {
  private AttentionStaged() {}

  // ---- scores ----------------------------------------------------------------------------------

  /** scores of q and k. */
  public static void attentionScoresStaged(
      KernelContext context,
      FloatArray q,
      ShortArray qBits,
      FloatArray k,
      ShortArray kBits,
      FloatArray scores,
      IntArray args,
      int dtype,
      int headDim,
      int blockM,
      int blockN,
      int blockK,
      int threadsM,
      int threadsN) {
    int rowsEach = blockM / threadsM; // rows of a product that a work-item owns
    int columnsEach = blockN / threadsN; // columns of a product that a work-item owns
    int qStride = blockK + 1; // odd: rows start in different banks
    int kStride = blockN + 1;
    float[] qTile = context.allocateFloatLocalArray(blockM * qStride);
    float[] kTile = context.allocateFloatLocalArray(blockK * kStride);
    int tx = context.localIdx;
    int ty = context.localIdy;
    int thread = ty * threadsN + tx;
    int threads = threadsM * threadsN;
    int key0 = context.groupIdx * blockN;
    int row0 = context.groupIdy * blockM;
    int bh = context.groupIdz;
    int headsQ = args.get(HEADS_Q);
    int headsKv = args.get(HEADS_KV);
    int seqlenQ = args.get(SEQLEN_Q);
    int seqlenK = args.get(SEQLEN_K);
    int b = bh / headsQ;
    int h = bh % headsQ;
    int hKv = h / (headsQ / headsKv);
    // The host keeps every tensor below 2^31 elements, so that indices are ints.
    int qRow0 = bh * seqlenQ + row0;
    int kvRow0 = (b * headsKv + hKv) * seqlenK + key0;

    float[] acc = new float[rowsEach * columnsEach];
    for (int e = 0; e < rowsEach * columnsEach; e++) {
      acc[e] = 0.0f;
    }

    for (int depth = 0; depth < headDim; depth += blockK) {
      for (int e = thread; e < blockM * blockK; e += threads) {
        int row = e / blockK;
        int column = e % blockK;
        float value = 0.0f;
        if (row0 + row < seqlenQ) {
          if (depth + column < headDim) {
            value = Storage.load(q, qBits, (qRow0 + row) * headDim + depth + column, dtype);
          }
        }
        qTile[row * qStride + column] = value;
      }
      for (int e = thread; e < blockN * blockK; e += threads) {
        int row = e / blockK;
        int column = e % blockK;
        float value = 0.0f;
        if (key0 + row < seqlenK) {
          if (depth + column < headDim) {
            value = Storage.load(k, kBits, (kvRow0 + row) * headDim + depth + column, dtype);
          }
        }
        kTile[column * kStride + row] = value;
      }
      // Read after write: every work-item multiplies what the others have just loaded.
      context.localBarrier();
      for (int x = 0; x < blockK; x++) {
        for (int r = 0; r < rowsEach; r++) {
          float qRx = qTile[(ty + r * threadsM) * qStride + x];
          for (int c = 0; c < columnsEach; c++) {
            acc[r * columnsEach + c] += qRx * kTile[x * kStride + tx + c * threadsN];
          }
        }
      }
      // Write after read: the next tiles overwrite what slower work-items may still be reading.
      context.localBarrier();
    }

    for (int r = 0; r < rowsEach; r++) {
      int row = ty + r * threadsM;
      if (row0 + row < seqlenQ) {
        for (int c = 0; c < columnsEach; c++) {
          int column = tx + c * threadsN;
          if (key0 + column < seqlenK) {
            Storage.store(
                scores, (qRow0 + row) * seqlenK + key0 + column, acc[r * columnsEach + c]);
          }
        }
      }
    }
  }

  // ---- softmax ---------------------------------------------------------------------------------

  /**
   * probabilities of scores, and lse where there is one. Works in place too: a work-item only ever
   * writes elements that it alone reads.
   */
  public static void attentionSoftmaxStaged(
      KernelContext context,
      FloatArray scores,
      FloatArray probabilities,
      FloatArray lse,
      IntArray args,
      int softmaxThreads,
      int hasLse) {
    float[] partial = context.allocateFloatLocalArray(softmaxThreads);
    int t = context.localIdx;
    int i = context.groupIdx;
    int bh = context.groupIdy;
    int seqlenK = args.get(SEQLEN_K);
    int qRow = bh * args.get(SEQLEN_Q) + i;
    int row0 = qRow * seqlenK;
    int firstKey = firstKey(args, i);
    int endKey = endKey(args, i);
    float softmaxScale = softmaxScale(args);

    // mI is the largest score before its scale, whose sign goes into the scores, and is subtracted
    // before they are scaled: the difference is never above 0, and rounded by a part of itself, not
    // of mI.
    float scale = TornadoMath.abs(softmaxScale);
    float sign = softmaxScale < 0.0f ? -1.0f : softmaxScale > 0.0f ? 1.0f : 0.0f;
    float mI = Float.NEGATIVE_INFINITY;
    for (int j = t; j < seqlenK; j += softmaxThreads) {
      if (visible(j, firstKey, endKey) >= 0) {
        mI = TornadoMath.max(mI, sign * Storage.load(scores, row0 + j));
      }
    }
    partial[t] = mI;
    for (int width = softmaxThreads / 2; width > 0; width /= 2) {
      // Read after write: the lower half reads what the upper half has just written.
      context.localBarrier();
      if (t < width) {
        partial[t] = TornadoMath.max(partial[t], partial[t + width]);
      }
    }
    // Read after write: all read the result of work-item 0.
    context.localBarrier();
    mI = partial[0];
    // Write after read: the sums overwrite the maximum.
    context.localBarrier();

    float lI = 0.0f;
    for (int j = t; j < seqlenK; j += softmaxThreads) {
      if (visible(j, firstKey, endKey) >= 0) {
        lI += TornadoMath.exp(scale * (sign * Storage.load(scores, row0 + j) - mI));
      }
    }
    partial[t] = lI;
    for (int width = softmaxThreads / 2; width > 0; width /= 2) {
      // Read after write: the lower half reads what the upper half has just written.
      context.localBarrier();
      if (t < width) {
        partial[t] = partial[t] + partial[t + width];
      }
    }
    // Read after write: all read the result of work-item 0.
    context.localBarrier();
    lI = partial[0];

    for (int j = t; j < seqlenK; j += softmaxThreads) {
      float p = 0.0f;
      if (visible(j, firstKey, endKey) >= 0) {
        p = TornadoMath.exp(scale * (sign * Storage.load(scores, row0 + j) - mI)) / lI;
      }
      Storage.store(probabilities, row0 + j, p);
    }
    if (hasLse != 0) {
      if (t == 0) {
        float value = firstKey < endKey ? scale * mI + accurateLog(lI) : Float.NEGATIVE_INFINITY;
        Storage.store(lse, qRow, value);
      }
    }
  }

  // ---- values ----------------------------------------------------------------------------------

  /** out of probabilities and v. */
  public static void attentionValuesStaged(
      KernelContext context,
      FloatArray probabilities,
      FloatArray v,
      ShortArray vBits,
      FloatArray out,
      ShortArray outBits,
      IntArray args,
      int dtype,
      int headDimV,
      int blockM,
      int blockN,
      int blockK,
      int threadsM,
      int threadsN) {
    int rowsEach = blockM / threadsM; // rows of a product that a work-item owns
    int columnsEach = blockN / threadsN; // columns of a product that a work-item owns
    int pStride = blockK + 1; // odd: rows start in different banks
    int vStride = blockN + 1;
    float[] pTile = context.allocateFloatLocalArray(blockM * pStride);
    float[] vTile = context.allocateFloatLocalArray(blockK * vStride);
    int tx = context.localIdx;
    int ty = context.localIdy;
    int thread = ty * threadsN + tx;
    int threads = threadsM * threadsN;
    int column0 = context.groupIdx * blockN;
    int row0 = context.groupIdy * blockM;
    int bh = context.groupIdz;
    int headsQ = args.get(HEADS_Q);
    int headsKv = args.get(HEADS_KV);
    int seqlenQ = args.get(SEQLEN_Q);
    int seqlenK = args.get(SEQLEN_K);
    int b = bh / headsQ;
    int h = bh % headsQ;
    int hKv = h / (headsQ / headsKv);
    int qRow0 = bh * seqlenQ + row0;
    int kvRow0 = (b * headsKv + hKv) * seqlenK;

    int[] firstKey = new int[rowsEach];
    int[] endKey = new int[rowsEach];
    for (int r = 0; r < rowsEach; r++) {
      firstKey[r] = firstKey(args, row0 + ty + r * threadsM);
      endKey[r] = endKey(args, row0 + ty + r * threadsM);
    }
    float[] acc = new float[rowsEach * columnsEach];
    for (int e = 0; e < rowsEach * columnsEach; e++) {
      acc[e] = 0.0f;
    }

    // The band only moves forward: no row of the tile sees a key before the first row's first or
    // after the last row's last, and all see what lies between the last row's first and the first
    // row's last.
    int last = TornadoMath.min(row0 + blockM, seqlenQ) - 1;
    int tilesBegin = firstKey(args, row0) / blockK * blockK;
    int tilesEnd = endKey(args, last);
    int sharedBegin = firstKey(args, last);
    int sharedEnd = endKey(args, row0);
    for (int key = tilesBegin; key < tilesEnd; key += blockK) {
      for (int e = thread; e < blockM * blockK; e += threads) {
        int row = e / blockK;
        int column = e % blockK;
        float value = 0.0f;
        if (row0 + row < seqlenQ) {
          if (key + column < seqlenK) {
            value = Storage.load(probabilities, (qRow0 + row) * seqlenK + key + column);
          }
        }
        pTile[row * pStride + column] = value;
      }
      for (int e = thread; e < blockK * blockN; e += threads) {
        int row = e / blockN;
        int column = e % blockN;
        float value = 0.0f;
        if (key + row < seqlenK) {
          if (column0 + column < headDimV) {
            value =
                Storage.load(v, vBits, (kvRow0 + key + row) * headDimV + column0 + column, dtype);
          }
        }
        vTile[row * vStride + column] = value;
      }
      // Read after write: every work-item multiplies what the others have just loaded.
      context.localBarrier();
      // At least 0 where every row sees every key of the tile.
      int allVisible = TornadoMath.min(key - sharedBegin, sharedEnd - blockK - key);
      if (allVisible >= 0) {
        for (int x = 0; x < blockK; x++) {
          for (int r = 0; r < rowsEach; r++) {
            float pRx = pTile[(ty + r * threadsM) * pStride + x];
            for (int c = 0; c < columnsEach; c++) {
              acc[r * columnsEach + c] += pRx * vTile[x * vStride + tx + c * threadsN];
            }
          }
        }
      } else {
        // A hidden key is left out: it adds nothing even where v is NaN or infinite, which a
        // probability of 0 would turn into NaN.
        for (int x = 0; x < blockK; x++) {
          for (int r = 0; r < rowsEach; r++) {
            if (visible(key + x, firstKey[r], endKey[r]) >= 0) {
              float pRx = pTile[(ty + r * threadsM) * pStride + x];
              for (int c = 0; c < columnsEach; c++) {
                acc[r * columnsEach + c] += pRx * vTile[x * vStride + tx + c * threadsN];
              }
            }
          }
        }
      }
      // Write after read: the next tiles overwrite what slower work-items may still be reading.
      context.localBarrier();
    }

    for (int r = 0; r < rowsEach; r++) {
      int row = ty + r * threadsM;
      if (row0 + row < seqlenQ) {
        for (int c = 0; c < columnsEach; c++) {
          int column = column0 + tx + c * threadsN;
          if (column < headDimV) {
            Storage.store(
                out, outBits, (qRow0 + row) * headDimV + column, acc[r * columnsEach + c], dtype);
          }
        }
      }
    }
  }
}
