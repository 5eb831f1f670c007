package dev.heddle.core;

/**
 * Sizes of an attention problem.
 *
 * @param batch independent sequences, B
 * @param headsQ query heads, H_Q; a multiple of {@code headsKv}
 * @param headsKv key-value heads, H_KV
 * @param seqlenQ queries per sequence
 * @param seqlenK keys (and values) per sequence
 * @param headDim elements of one query or key
 * @param headDimV elements of one value and of one output row
 */
public record AttentionShape(
    int batch, int headsQ, int headsKv, int seqlenQ, int seqlenK, int headDim, int headDimV) {

  /** Longest sequence, so that any sum of a position, an offset and a window fits 32 bits. */
  public static final int MAX_SEQLEN = 1 << 29;

  /**
   * Checks the sizes.
   *
   * @throws IllegalArgumentException naming the size that is out of range or the head counts that
   *     do not divide
   */
  public AttentionShape {
    positive("batch", batch);
    positive("headsQ", headsQ);
    positive("headsKv", headsKv);
    positive("seqlenQ", seqlenQ);
    positive("seqlenK", seqlenK);
    positive("headDim", headDim);
    positive("headDimV", headDimV);
    atMostMaxSeqlen("seqlenQ", seqlenQ);
    atMostMaxSeqlen("seqlenK", seqlenK);
    if (headsQ % headsKv != 0) {
      throw new IllegalArgumentException(
          "headsQ = "
              + headsQ
              + " is not a multiple of headsKv = "
              + headsKv
              + "; each key-value head serves the same number of query heads");
    }
  }

  /** As many key-value as query heads, as many keys as queries, one head dimension. */
  public static AttentionShape square(int batch, int heads, int seqlen, int headDim) {
    return new AttentionShape(batch, heads, heads, seqlen, seqlen, headDim, headDim);
  }

  /** {@code [B, H_Q, SEQLEN_Q, HEAD_DIM]}. */
  public Shape q() {
    return Shape.of(batch, headsQ, seqlenQ, headDim);
  }

  /** {@code [B, H_KV, SEQLEN_K, HEAD_DIM]}. */
  public Shape k() {
    return Shape.of(batch, headsKv, seqlenK, headDim);
  }

  /** {@code [B, H_KV, SEQLEN_K, HEAD_DIM_V]}. */
  public Shape v() {
    return Shape.of(batch, headsKv, seqlenK, headDimV);
  }

  /** {@code [B, H_Q, SEQLEN_Q, HEAD_DIM_V]}. */
  public Shape out() {
    return Shape.of(batch, headsQ, seqlenQ, headDimV);
  }

  /** {@code [B, H_Q, SEQLEN_Q]}. */
  public Shape lse() {
    return Shape.of(batch, headsQ, seqlenQ);
  }

  /** {@code [B, H_Q, SEQLEN_Q, SEQLEN_K]}. */
  public Shape scores() {
    return Shape.of(batch, headsQ, seqlenQ, seqlenK);
  }

  /** Query heads that read one key-value head. */
  public int groupSize() {
    return headsQ / headsKv;
  }

  /** The key-value head that query head {@code headQ} reads. */
  public int kvHead(int headQ) {
    return headQ / groupSize();
  }

  /** As {@code 1,4,4,2048,2048,64,64}: the order that the command line takes. */
  @Override
  public String toString() {
    return batch + "," + headsQ + "," + headsKv + "," + seqlenQ + "," + seqlenK + "," + headDim
        + "," + headDimV;
  }

  private static void positive(String name, int value) {
    if (value < 1) {
      throw new IllegalArgumentException(name + " = " + value + "; it must be at least 1");
    }
  }

  private static void atMostMaxSeqlen(String name, int value) {
    if (value > MAX_SEQLEN) {
      throw new IllegalArgumentException(
          name + " = " + value + "; it must be at most " + MAX_SEQLEN);
    }
  }
}
