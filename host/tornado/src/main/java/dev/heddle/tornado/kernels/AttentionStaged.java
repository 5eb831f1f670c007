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

public final class AttentionStaged {
  private AttentionStaged() {}

  // ---- scores ----------------------------------------------------------------------------------

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
    int rowsEach = blockM / threadsM;
    int columnsEach = blockN / threadsN;
    int qStride = blockK + 1;
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

  // Works in place too: a work-item only ever writes elements that it alone reads.
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

    float m = Float.NEGATIVE_INFINITY;
    for (int j = t; j < seqlenK; j += softmaxThreads) {
      if (visible(j, firstKey, endKey) >= 0) {
        m = TornadoMath.max(m, softmaxScale * Storage.load(scores, row0 + j));
      }
    }
    partial[t] = m;
    for (int width = softmaxThreads / 2; width > 0; width /= 2) {
      // Read after write: the lower half reads what the upper half has just written.
      context.localBarrier();
      if (t < width) {
        partial[t] = TornadoMath.max(partial[t], partial[t + width]);
      }
    }
    // Read after write: all read the result of work-item 0.
    context.localBarrier();
    m = partial[0];
    // Write after read: the sums overwrite the maximum.
    context.localBarrier();

    // Scaled without being rounded: m was rounded, but that error is the same for all keys of a row
    // and falls out of the quotient. The difference makes one fused operation of the next line, which
    // a negation does not.
    float minusM = 0.0f - m;
    float l = 0.0f;
    for (int j = t; j < seqlenK; j += softmaxThreads) {
      if (visible(j, firstKey, endKey) >= 0) {
        l += TornadoMath.exp(softmaxScale * Storage.load(scores, row0 + j) + minusM);
      }
    }
    partial[t] = l;
    for (int width = softmaxThreads / 2; width > 0; width /= 2) {
      // Read after write: the lower half reads what the upper half has just written.
      context.localBarrier();
      if (t < width) {
        partial[t] = partial[t] + partial[t + width];
      }
    }
    // Read after write: all read the result of work-item 0.
    context.localBarrier();
    l = partial[0];

    for (int j = t; j < seqlenK; j += softmaxThreads) {
      float p = 0.0f;
      if (visible(j, firstKey, endKey) >= 0) {
        p = TornadoMath.exp(softmaxScale * Storage.load(scores, row0 + j) + minusM) / l;
      }
      Storage.store(probabilities, row0 + j, p);
    }
    if (hasLse != 0) {
      if (t == 0) {
        float value = firstKey < endKey ? m + accurateLog(l) : Float.NEGATIVE_INFINITY;
        Storage.store(lse, qRow, value);
      }
    }
  }

  // ---- values ----------------------------------------------------------------------------------

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
    int rowsEach = blockM / threadsM;
    int columnsEach = blockN / threadsN;
    int pStride = blockK + 1;
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
