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
    among = {8, 16},
    meaning = "work-items along the query rows")
@Tunable(
    name = "THREADS_N",
    value = 16,
    among = {8, 16},
    meaning = "work-items along the keys and the output's columns")
@Refused(when = "BLOCK_M % THREADS_M != 0", because = "BLOCK_M must be a multiple of THREADS_M")
@Refused(when = "BLOCK_N % THREADS_N != 0", because = "BLOCK_N must be a multiple of THREADS_N")
public final class AttentionFlash {
  private AttentionFlash() {}

  // ---- kernel ----------------------------------------------------------------------------------

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
    int rowsEach = blockM / threadsM;
    int keysEach = blockN / threadsN;
    int columnsEach = (headDimV + threadsN - 1) / threadsN;
    int qStride = headDim + 1;
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
    int qRow0 = (b * args.get(HEADS_Q) + h) * seqlenQ + row0;
    int kvRow0 = (b * args.get(HEADS_KV) + hKv) * seqlenK;

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

    float[] m = new float[rowsEach];
    float[] l = new float[rowsEach];
    float[] acc = new float[rowsEach * columnsEach];
    float[] s = new float[rowsEach * keysEach];
    int[] firstKey = new int[rowsEach];
    int[] endKey = new int[rowsEach];
    for (int r = 0; r < rowsEach; r++) {
      m[r] = Float.NEGATIVE_INFINITY;
      l[r] = 0.0f;
      firstKey[r] = firstKey(args, row0 + ty + r * threadsM);
      endKey[r] = endKey(args, row0 + ty + r * threadsM);
    }
    for (int e = 0; e < rowsEach * columnsEach; e++) {
      acc[e] = 0.0f;
    }

    int last = TornadoMath.min(row0 + blockM, seqlenQ) - 1;
    int tilesBegin = firstKey(args, row0) / blockN * blockN;
    int tilesEnd = endKey(args, last);
    int sharedBegin = firstKey(args, last);
    int sharedEnd = endKey(args, row0);
    for (int key = tilesBegin; key < tilesEnd; key += blockN) {
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
        float mNew = TornadoMath.max(m[r], mTile * scale);
        float mSafe = mNew == Float.NEGATIVE_INFINITY ? 0.0f : mNew;
        float minusM = 0.0f - mSafe;
        float alpha = TornadoMath.exp(m[r] - mSafe);
        m[r] = mNew;
        l[r] *= alpha;
        for (int c = 0; c < keysEach; c++) {
          float p = TornadoMath.exp(s[r * keysEach + c] * scale + minusM);
          pTile[(ty + r * threadsM) * pStride + tx + c * threadsN] = p;
          l[r] += p;
        }
        for (int c = 0; c < columnsEach; c++) {
          acc[r * columnsEach + c] *= alpha;
        }
      }
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
      context.localBarrier();
    }

    // ---- divide by the row sums
    for (int r = 0; r < rowsEach; r++) {
      partial[(ty + r * threadsM) * threadsN + tx] = l[r];
    }
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
            float value = keys > 0 ? m[r] + accurateLog(sum) : Float.NEGATIVE_INFINITY;
            Storage.store(lse, qRow0 + row, value);
          }
        }
      }
    }
  }
}
