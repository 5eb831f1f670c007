package dev.heddle.core;

import java.util.ArrayList;
import java.util.List;

/**
 * One operation that a backend can run: what it reads, what it writes and what it costs. How it is
 * computed is a {@link Plan}.
 */
public sealed interface Operation
    permits AttentionProblem,
        AttentionStage,
        LinearProblem,
        HeadsTranspose,
        CacheAppend,
        RotaryEmbedding,
        LinearAttention {

  /** The operation's name, with which kernel names begin: {@code attention}, {@code linear}. */
  String name();

  /** Tensors read, in the kernels' argument order. */
  List<TensorSpec> inputs();

  /** Tensors written, in the kernels' argument order. */
  List<TensorSpec> outputs();

  /** Everything that is read or written: the inputs, then the outputs. */
  default List<TensorSpec> tensors() {
    List<TensorSpec> tensors = new ArrayList<>(inputs());
    tensors.addAll(outputs());
    return tensors;
  }

  /** Storage type of the operands. */
  DType dtype();

  /** The same operation on operands of another storage type. */
  Operation withDtype(DType other);

  /**
   * Checks what an input holds, where that can be wrong: integers that say where something lies.
   *
   * @param name the operation's name for the input
   * @throws IllegalArgumentException naming the first value that is out of range
   */
  default void requireValues(String name, HostTensor values) {}

  /**
   * Checks that integers lie within a range, both ends included.
   *
   * @param what what the upper end is
   * @throws IllegalArgumentException naming the first that does not
   */
  static void requireRange(String name, HostTensor values, int least, int most, String what) {
    int[] ints = values.ints();
    for (int i = 0; i < ints.length; i++) {
      if (ints[i] < least || ints[i] > most) {
        throw new IllegalArgumentException(
            "%s%s = %d; it must be from %d to %d, %s"
                .formatted(name, values.shape().position(i), ints[i], least, most, what));
      }
    }
  }

  /**
   * Floating-point operations of the matrix products that the result needs, a multiply-add as two;
   * hidden (query, key) pairs and the softmax itself are not counted.
   */
  double flops();

  /** Bytes that have to move if every input is read once and every output written once. */
  default long compulsoryBytes() {
    long bytes = 0;
    for (TensorSpec spec : tensors()) {
      bytes = Math.addExact(bytes, spec.bytes());
    }
    return bytes;
  }
}
