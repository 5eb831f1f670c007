package dev.heddle.core;

/**
 * Name, shape and storage type of a tensor that an operation reads or writes.
 *
 * @param name the operation's own name for it, such as {@code q} or {@code lse}
 * @param shape its dimensions
 * @param dtype its storage type
 */
public record TensorSpec(String name, Shape shape, DType dtype) {

  /** Size of the payload in bytes. */
  public long bytes() {
    return Math.multiplyExact(shape.elements(), (long) dtype.bytes());
  }
}
