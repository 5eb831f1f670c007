package dev.heddle.core;

/**
 * The band of keys that a query sees: key {@code j} is visible to query {@code i} when {@code i +
 * offset - left <= j <= i + offset + right}.
 *
 * <p>Every positional mask that attention uses is such a band: none (both sides unbounded), causal
 * ({@code right = 0}), sliding window (bounded {@code left}). This class is the host's only
 * implementation of the formula.
 *
 * @param left keys visible before the diagonal, or {@link #UNBOUNDED}
 * @param right keys visible after the diagonal, or {@link #UNBOUNDED}
 * @param alignment which corner of the score matrix the diagonal starts in
 */
public record BandMask(int left, int right, Alignment alignment) {

  /** Where the diagonal lies when SEQLEN_Q and SEQLEN_K differ. */
  public enum Alignment {
    /** Query 0 is aligned with key 0: {@code offset = 0}. */
    TOP_LEFT,
    /** The last query is aligned with the last key: {@code offset = SEQLEN_K - SEQLEN_Q}. */
    BOTTOM_RIGHT;

    /** Name as users write it: {@code top-left}, {@code bottom-right}. */
    public String label() {
      return this == TOP_LEFT ? "top-left" : "bottom-right";
    }
  }

  /** A side without a limit. */
  public static final int UNBOUNDED = Integer.MAX_VALUE;

  /** Every key is visible to every query. */
  public static final BandMask NONE = new BandMask(UNBOUNDED, UNBOUNDED, Alignment.TOP_LEFT);

  /**
   * Checks the sides.
   *
   * @throws IllegalArgumentException when a side is negative
   */
  public BandMask {
    if (left < 0 || right < 0) {
      throw new IllegalArgumentException(
          "window " + left + "," + right + "; a side is 0 or more, or unbounded");
    }
  }

  /** No key after the diagonal. */
  public static BandMask causal(Alignment alignment) {
    return new BandMask(UNBOUNDED, 0, alignment);
  }

  /** Whether no key is hidden whatever the sizes. */
  public boolean isNone() {
    return left == UNBOUNDED && right == UNBOUNDED;
  }

  /** Key index that lies on query 0's diagonal: {@code offset} in the formula. */
  public int offset(AttentionShape shape) {
    return offset(shape.seqlenQ(), shape.seqlenK());
  }

  /** As {@link #offset(AttentionShape)} for a sequence with so many keys, perhaps none. */
  public int offset(int queries, int keys) {
    return switch (alignment) {
      case TOP_LEFT -> 0;
      case BOTTOM_RIGHT -> keys - queries;
    };
  }

  /** {@code left}, cut to the sizes so that {@code i + offset - left} fits 32 bits everywhere. */
  public int clampedLeft(AttentionShape shape) {
    return clamp(left, shape);
  }

  /** {@code right}, cut to the sizes so that {@code i + offset + right} fits 32 bits everywhere. */
  public int clampedRight(AttentionShape shape) {
    return clamp(right, shape);
  }

  /** First visible key of query {@code i}; not below 0, and past the end when none is visible. */
  public int firstKey(int i, AttentionShape shape) {
    return firstKey(i, shape.seqlenQ(), shape.seqlenK());
  }

  /** As {@link #firstKey(int, AttentionShape)} for a sequence with so many keys, perhaps none. */
  public int firstKey(int i, int queries, int keys) {
    long first = (long) i + offset(queries, keys) - left;
    return left == UNBOUNDED ? 0 : Math.clamp(first, 0, keys);
  }

  /** One past the last visible key of query {@code i}; not above SEQLEN_K and not below 0. */
  public int endKey(int i, AttentionShape shape) {
    return endKey(i, shape.seqlenQ(), shape.seqlenK());
  }

  /** As {@link #endKey(int, AttentionShape)} for a sequence with so many keys, perhaps none. */
  public int endKey(int i, int queries, int keys) {
    long end = (long) i + offset(queries, keys) + right + 1;
    return right == UNBOUNDED ? keys : Math.clamp(end, 0, keys);
  }

  /** Number of keys that query {@code i} sees. */
  public int visibleKeys(int i, AttentionShape shape) {
    return Math.max(0, endKey(i, shape) - firstKey(i, shape));
  }

  /** Visible (query, key) pairs of one head of one sequence. */
  public long visiblePairs(AttentionShape shape) {
    if (isNone()) {
      return (long) shape.seqlenQ() * shape.seqlenK();
    }
    long pairs = 0;
    for (int i = 0; i < shape.seqlenQ(); i++) {
      pairs += visibleKeys(i, shape);
    }
    return pairs;
  }

  /** As {@code none}, {@code causal top-left} or {@code window 128,0 bottom-right}. */
  @Override
  public String toString() {
    if (isNone()) {
      return "none";
    }
    if (left == UNBOUNDED && right == 0) {
      return "causal " + alignment.label();
    }
    return "window " + side(left) + "," + side(right) + " " + alignment.label();
  }

  private static String side(int side) {
    return side == UNBOUNDED ? "unbounded" : Integer.toString(side);
  }

  private static int clamp(int side, AttentionShape shape) {
    // |i + offset| < SEQLEN_Q + SEQLEN_K, so a side of that length already reaches past both ends,
    // and sequences of at most 2^29 keep the sum of the three below 2^31.
    int reach = shape.seqlenQ() + shape.seqlenK();
    return Math.min(side, reach);
  }
}
