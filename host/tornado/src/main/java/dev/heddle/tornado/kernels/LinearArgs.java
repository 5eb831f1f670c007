package dev.heddle.tornado.kernels;

/**
 * What the linear kernels are told at run time: places in the {@code args} array, in the order of
 * {@code kernels/linear/linear_args.h}.
 */
public final class LinearArgs {
  /** ROWS of x and y. */
  public static final int ROWS = 0;

  /** IN_FEATURES: columns of x, rows of weight. */
  public static final int IN_FEATURES = 1;

  /** OUT_FEATURES: columns of weight and y. */
  public static final int OUT_FEATURES = 2;

  /** Places in the array. */
  public static final int LENGTH = 3;

  private LinearArgs() {}
}
