package dev.heddle.tornado.kernels;

/** How a tensor lies in a device's array: {@code [guard band | payload | guard band]}. */
public final class Tensors {
  /** Elements in a guard band, before and behind the payload; a multiple of 16. */
  public static final int BAND = 1024;

  private Tensors() {}
}
