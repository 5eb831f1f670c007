package dev.heddle.tornado.kernels;

/**
 * What the heads kernels are told at run time: places in the {@code args} array, in the order of
 * {@code kernels/heads/heads_args.h}.
 */
public final class HeadsArgs {
  /** BATCH. */
  public static final int BATCH = 0;

  /** Second axis of x. */
  public static final int OUTER = 1;

  /** Third axis of x. */
  public static final int INNER = 2;

  /** Contiguous elements that move together. */
  public static final int WIDTH = 3;

  /** Places in the array. */
  public static final int LENGTH = 4;

  private HeadsArgs() {}
}
