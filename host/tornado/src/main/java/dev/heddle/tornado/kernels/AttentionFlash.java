// attention_flash: attention forward in one kernel, without the score matrix in memory.
//
// Computes, for each batch b, query head h (reading key-value head h / (H_Q / H_KV)) and query i:
//   s_j  = softmax_scale * sum_d q[i][d] k[j][d]     for the keys j that the band mask lets through
//   out[i][:] = sum_j exp(s_j - m) v[j][:] / l,   m = max_j s_j,   l = sum_j exp(s_j - m)
//   lse[i] = m + ln(l);   no visible key: out = 0, lse = -inf
//
// Shapes (row-major): q [B, H_Q, SEQLEN_Q, HEAD_DIM]   k [B, H_KV, SEQLEN_K, HEAD_DIM]
//   v [B, H_KV, SEQLEN_K, HEAD_DIM_V]   out [B, H_Q, SEQLEN_Q, HEAD_DIM_V]   lse [B, H_Q, SEQLEN_Q]
//
// One work-group owns BLOCK_M query rows and walks over the keys, BLOCK_N at a time. Each work-item
// owns BLOCK_M / THREADS_M rows: the softmax state m_i, l_i and its share of acc stay in registers.
//
//                      BLOCK_N keys                      HEAD_DIM_V
//                     +------------+                    +----------+
//           HEAD_DIM  |  k_tile^T  |           BLOCK_N  |  v_tile  |   k_tile and v_tile take turns
//                     +------------+                    +----------+   in one buffer
//           HEAD_DIM
//          +--------+ +------------+          BLOCK_N   +----------+
//  BLOCK_M | q_tile | |     s      |-> p     +--------+ |   acc    |   acc = acc * alpha + p v
//          |        | | registers  |         | p_tile | | registers|
//          +--------+ +------------+         +--------+ +----------+
//
// A work-group is a grid of THREADS_M x THREADS_N work-items. Work-item (ty, tx) owns the rows ty,
// ty + THREADS_M, ... and of each the keys and columns tx, tx + THREADS_N, ...: neighbours in x
// read neighbouring words of a tile's row, and all of them the same word of a tile's column. With
// THREADS_N = 1 the keys and columns of a work-item are neighbours, which a processor's compiler
// puts into vectors.
//
// Launch: local (THREADS_N, THREADS_M, 1), groups (ceil(SEQLEN_Q / BLOCK_M), H_Q, B). Late query
//   rows start first: under a causal mask they are the long ones.
// FLOPs: 2 (HEAD_DIM + HEAD_DIM_V) per visible pair; tiles that hold no visible pair are skipped.
// Bytes: q and out once; k and v SEQLEN_Q / BLOCK_M times. Extra memory: none.
// Local memory, 4 bytes each: BLOCK_M (HEAD_DIM + 1) + max(HEAD_DIM (BLOCK_N + 1), BLOCK_N
//   V_STRIDE) + BLOCK_M (BLOCK_N + 1) + BLOCK_M THREADS_N, with V_STRIDE = HEAD_DIM_V rounded up to
//   a multiple of THREADS_N.
// Private memory, 4 bytes each: BLOCK_M / THREADS_M (V_STRIDE / THREADS_N + BLOCK_N / THREADS_N +
//   5) at most.
// Numerics: fp32 arithmetic, fused multiply-adds, natural exponents: TornadoVM has no exp2. Inputs
//   in 16 bits become fp32 as they enter a tile, and out is rounded once. m_i is subtracted
//   from scores before they are scaled.
// Limits: tensors of less than 2^31 elements, guard bands included; SEQLEN up to 2^29; the device's
//   local memory bounds the head dimensions.
// Source: Dao, "FlashAttention-2", 2023, algorithm 1.
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

/** Attention forward in one kernel, with online softmax. */
@Tunable(
    name = "BLOCK_M",
    value = 32,
    among = {8, 16, 32, 64, 128},
    meaning = "query rows per work-group")
@Tunable(
    name = "BLOCK_N",
    value = 32,
    among = {8, 16, 32, 64, 128},
    meaning = "keys per tile")
@Tunable(
    name = "THREADS_M",
    value = 16,
    among = {8, 16, 32},
    meaning = "work-items along the query rows")
@Tunable(
    name = "THREADS_N",
    value = 16,
    among = {1, 8, 16},
    meaning = "work-items along the keys and the output's columns")
@Refused(when = "BLOCK_M % THREADS_M != 0", because = "BLOCK_M must be a multiple of THREADS_M")
@Refused(when = "BLOCK_N % THREADS_N != 0", because = "BLOCK_N must be a multiple of THREADS_N")
public final class AttentionFlash {
  private AttentionFlash() {}

  // ---- kernel ----------------------------------------------------------------------------------

  /** out, and lse where there is one, of q, k and v. */
  public static void attentionFlash(
      KernelContext context,
      FloatArray q,
      ShortArray qBits,
      FloatArray k,
      ShortArray kBits,
      FloatArray v,
      ShortArray vBits,
      FloatArray out,
      ShortArray outBits,
      FloatArray lse,
      IntArray args,
      int dtype,
      int headDim,
      int headDimV,
      int blockM,
      int blockN,
      int threadsM,
      int threadsN,
      int hasLse) {
    int rowsEach = blockM / threadsM; // query rows of a work-item
    int keysEach = blockN / threadsN; // its keys of a tile
    int columnsEach = (headDimV + threadsN - 1) / threadsN; // its columns of the output
    int qStride = headDim + 1; // odd: rows start in different banks
    int kStride = blockN + 1;
    int pStride = blockN + 1;
    int vStride = columnsEach * threadsN;
    float[] qTile = context.allocateFloatLocalArray(blockM * qStride);
    float[] kvTile =
        context.allocateFloatLocalArray(TornadoMath.max(headDim * kStride, blockN * vStride));
    float[] pTile = context.allocateFloatLocalArray(blockM * pStride);
    float[] partial = context.allocateFloatLocalArray(blockM * threadsN);
    int tx = context.localIdx;
    int ty = context.localIdy;
    int thread = ty * threadsN + tx;
    int threads = threadsM * threadsN;
    int seqlenQ = args.get(SEQLEN_Q);
    int seqlenK = args.get(SEQLEN_K);
    int block = (seqlenQ + blockM - 1) / blockM - 1 - context.groupIdx;
    int h = context.groupIdy;
    int b = context.groupIdz;
    int hKv = h / (args.get(HEADS_Q) / args.get(HEADS_KV));
    int row0 = block * blockM;
    // The host keeps every tensor below 2^31 elements, so that indices are ints.
    int qRow0 = (b * args.get(HEADS_Q) + h) * seqlenQ + row0;
    int kvRow0 = (b * args.get(HEADS_KV) + hKv) * seqlenK;

    // The sign of the scale goes into q, which costs no rounding and lets mI be the largest score
    // before scaling. The scale itself is never 0, which would turn a hidden key's -inf into
    // NaN: where it is 0, the sign has made every score 0 already. The first barrier of the loop
    // stands between this and the first use.
    float softmaxScale = softmaxScale(args);
    float scale = softmaxScale == 0.0f ? 1.0f : TornadoMath.abs(softmaxScale);
    float sign = softmaxScale < 0.0f ? -1.0f : softmaxScale > 0.0f ? 1.0f : 0.0f;
    for (int e = thread; e < blockM * headDim; e += threads) {
      int row = e / headDim;
      int column = e % headDim;
      float value = 0.0f;
      if (row0 + row < seqlenQ) {
        value = Storage.load(q, qBits, (qRow0 + row) * headDim + column, dtype) * sign;
      }
      qTile[row * qStride + column] = value;
    }

    float[] mI = new float[rowsEach];
    float[] lI = new float[rowsEach];
    float[] acc = new float[rowsEach * columnsEach];
    float[] s = new float[rowsEach * keysEach];
    int[] firstKey = new int[rowsEach];
    int[] endKey = new int[rowsEach];
    for (int r = 0; r < rowsEach; r++) {
      mI[r] = Float.NEGATIVE_INFINITY;
      lI[r] = 0.0f;
      firstKey[r] = firstKey(args, row0 + ty + r * threadsM);
      endKey[r] = endKey(args, row0 + ty + r * threadsM);
    }
    for (int e = 0; e < rowsEach * columnsEach; e++) {
      acc[e] = 0.0f;
    }

    // The band only moves forward: no row of the block sees a key before the first row's first or
    // after the last row's last, and all see what lies between the last row's first and the first
    // row's last.
    int last = TornadoMath.min(row0 + blockM, seqlenQ) - 1;
    int tilesBegin = firstKey(args, row0) / blockN * blockN;
    int tilesEnd = endKey(args, last);
    int sharedBegin = firstKey(args, last);
    int sharedEnd = endKey(args, row0);
    for (int key = tilesBegin; key < tilesEnd; key += blockN) {
      // At least 0 where every row sees every key of the tile.
      int allVisible = TornadoMath.min(key - sharedBegin, sharedEnd - blockN - key);

      // ---- s = q k^T
      for (int e = thread; e < blockN * headDim; e += threads) {
        int row = e / headDim;
        int column = e % headDim;
        float value = 0.0f;
        if (key + row < seqlenK) {
          value = Storage.load(k, kBits, (kvRow0 + key + row) * headDim + column, dtype);
        }
        kvTile[column * kStride + row] = value;
      }
      // Read after write: every work-item multiplies the kTile (and, the first time, the qTile)
      // that the others have just loaded.
      context.localBarrier();
      for (int e = 0; e < rowsEach * keysEach; e++) {
        s[e] = 0.0f;
      }
      for (int x = 0; x < headDim; x++) {
        for (int r = 0; r < rowsEach; r++) {
          float qRx = qTile[(ty + r * threadsM) * qStride + x];
          for (int c = 0; c < keysEach; c++) {
            s[r * keysEach + c] += qRx * kvTile[x * kStride + tx + c * threadsN];
          }
        }
      }

      // ---- mask, and the largest score of each row
      for (int r = 0; r < rowsEach; r++) {
        float largest = Float.NEGATIVE_INFINITY;
        for (int c = 0; c < keysEach; c++) {
          int j = key + tx + c * threadsN;
          float score = s[r * keysEach + c];
          score = visible(j, firstKey[r], endKey[r]) < 0 ? Float.NEGATIVE_INFINITY : score;
          s[r * keysEach + c] = score;
          largest = TornadoMath.max(largest, score);
        }
        partial[(ty + r * threadsM) * threadsN + tx] = largest;
      }
      // Read after write: each work-item reads the partial maxima of its rows. Write after read:
      // the vTile overwrites the kTile that slower work-items may still be reading.
      context.localBarrier();
      for (int e = thread; e < blockN * vStride; e += threads) {
        int row = e / vStride;
        int column = e % vStride;
        float value = 0.0f;
        if (key + row < seqlenK) {
          if (column < headDimV) {
            value = Storage.load(v, vBits, (kvRow0 + key + row) * headDimV + column, dtype);
          }
        }
        kvTile[row * vStride + column] = value;
      }

      // ---- online softmax
      for (int r = 0; r < rowsEach; r++) {
        float mTile = Float.NEGATIVE_INFINITY;
        for (int t = 0; t < threadsN; t++) {
          mTile = TornadoMath.max(mTile, partial[(ty + r * threadsM) * threadsN + t]);
        }
        float mNew = TornadoMath.max(mI[r], mTile);
        // A row that has seen no key yet has mNew = -inf, and -inf - -inf would be NaN: such a row
        // subtracts 0, which leaves its weights at exp(-inf) = 0.
        float mSafe = mNew == Float.NEGATIVE_INFINITY ? 0.0f : mNew;
        float alpha = TornadoMath.exp((mI[r] - mSafe) * scale);
        mI[r] = mNew;
        // lI is this work-item's share of the row's sum; the shares meet after the last tile.
        lI[r] *= alpha;
        for (int c = 0; c < keysEach; c++) {
          // Subtracted before it is scaled: never above 0, and rounded by a part of itself, not of
          // mI.
          float p = TornadoMath.exp((s[r * keysEach + c] - mSafe) * scale);
          pTile[(ty + r * threadsM) * pStride + tx + c * threadsN] = p;
          lI[r] += p;
        }
        for (int c = 0; c < columnsEach; c++) {
          acc[r * columnsEach + c] *= alpha;
        }
      }
      // Read after write: every work-item multiplies the pTile and vTile that the others have just
      // written.
      context.localBarrier();

      // ---- acc = acc * alpha + p v
      if (allVisible >= 0) {
        for (int x = 0; x < blockN; x++) {
          for (int r = 0; r < rowsEach; r++) {
            float pRx = pTile[(ty + r * threadsM) * pStride + x];
            for (int c = 0; c < columnsEach; c++) {
              acc[r * columnsEach + c] += pRx * kvTile[x * vStride + tx + c * threadsN];
            }
          }
        }
      } else {
        // A hidden key is left out: it adds nothing even where v is NaN or infinite, which a weight
        // of 0 would turn into NaN.
        for (int x = 0; x < blockN; x++) {
          for (int r = 0; r < rowsEach; r++) {
            if (visible(key + x, firstKey[r], endKey[r]) >= 0) {
              float pRx = pTile[(ty + r * threadsM) * pStride + x];
              for (int c = 0; c < columnsEach; c++) {
                acc[r * columnsEach + c] += pRx * kvTile[x * vStride + tx + c * threadsN];
              }
            }
          }
        }
      }
      // Write after read: the next kTile overwrites the vTile, and the next weights the pTile, that
      // slower work-items may still be reading.
      context.localBarrier();
    }

    // ---- divide by the row sums
    for (int r = 0; r < rowsEach; r++) {
      partial[(ty + r * threadsM) * threadsN + tx] = lI[r];
    }
    // Read after write: each work-item adds up the shares of its rows.
    context.localBarrier();
    for (int r = 0; r < rowsEach; r++) {
      int row = ty + r * threadsM;
      if (row0 + row < seqlenQ) {
        int keys = endKey[r] - firstKey[r];
        float sum = 0.0f;
        for (int t = 0; t < threadsN; t++) {
          sum += partial[row * threadsN + t];
        }
        float inverse = keys > 0 ? 1.0f / sum : 0.0f;
        for (int c = 0; c < columnsEach; c++) {
          int column = tx + c * threadsN;
          if (column < headDimV) {
            Storage.store(
                out,
                outBits,
                (qRow0 + row) * headDimV + column,
                acc[r * columnsEach + c] * inverse,
                dtype);
          }
        }
        if (hasLse != 0) {
          if (tx == 0) {
            float value = keys > 0 ? mI[r] * scale + accurateLog(sum) : Float.NEGATIVE_INFINITY;
            Storage.store(lse, qRow0 + row, value);
          }
        }
      }
    }
  }
}
