package dev.heddle.core;

/** A tensor in a session's memory, dense and row-major. */
public interface DeviceTensor extends AutoCloseable {

  /** Dimensions. */
  Shape shape();

  /** Storage type. */
  DType dtype();

  /**
   * Copies from the host; element counts and types must agree.
   *
   * @throws IllegalArgumentException when they don't
   */
  void write(HostTensor source);

  /** Copies to the host. */
  HostTensor read();

  /** Overwrites every element with NaN, so that what a kernel leaves out shows. */
  void poison();

  /** Whether the bands before and after the payload still hold what was put there. */
  boolean guardsIntact();

  @Override
  void close();
}
