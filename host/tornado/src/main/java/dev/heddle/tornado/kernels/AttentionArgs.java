package dev.heddle.tornado.kernels;

import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;

/**
 * What every attention kernel is told at run time, and the band mask; the sibling of {@code
 * kernels/attention/attention_args.h}.
 *
 * <p>The constants are places in the {@code args} array, in the order of that struct; a float
 * travels as its bits. Head dims are not here: they are constants of a compilation.
 */
public final class AttentionArgs {
  /** B. */
  public static final int BATCH = 0;

  /** H_Q, a multiple of H_KV. */
  public static final int HEADS_Q = 1;

  /** H_KV. */
  public static final int HEADS_KV = 2;

  /** SEQLEN_Q. */
  public static final int SEQLEN_Q = 3;

  /** SEQLEN_K. */
  public static final int SEQLEN_K = 4;

  /** Keys visible before the diagonal, at most SEQLEN_Q + SEQLEN_K. */
  public static final int MASK_LEFT = 5;

  /** Keys visible after the diagonal, at most SEQLEN_Q + SEQLEN_K. */
  public static final int MASK_RIGHT = 6;

  /** Key on query 0's diagonal: 0, or SEQLEN_K - SEQLEN_Q. */
  public static final int MASK_OFFSET = 7;

  /** Factor on Q K^T, the bits of a float. */
  public static final int SOFTMAX_SCALE = 8;

  /** Places in the array. */
  public static final int LENGTH = 9;

  private AttentionArgs() {}

  // Query i sees the keys firstKey(args, i) <= j < endKey(args, i); none when that is empty. Both
  // grow with i. The host cuts the sides and refuses sequences above 2^29, so no sum here
  // overflows.

  static int firstKey(IntArray args, int i) {
    return TornadoMath.max(0, i + args.get(MASK_OFFSET) - args.get(MASK_LEFT));
  }

  static int endKey(IntArray args, int i) {
    return TornadoMath.min(
        args.get(SEQLEN_K), i + args.get(MASK_OFFSET) + args.get(MASK_RIGHT) + 1);
  }

  // At least 0 where key j is visible, first <= j < end, so that a branch hangs on one comparison.
  static int visible(int j, int first, int end) {
    return TornadoMath.min(j - first, end - 1 - j);
  }

  static float softmaxScale(IntArray args) {
    return Storage.floatOf(args.get(SOFTMAX_SCALE));
  }

  // ln(l), better than OpenCL requires log to be (3 units in the last place): one Newton step on l
  // exp(-y) = 1.
  static float accurateLog(float l) {
    float y = TornadoMath.log(l);
    return y + (l * TornadoMath.exp(-y) + -1.0f);
  }
}
