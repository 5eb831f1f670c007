package dev.heddle.core;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Collectors;

/**
 * Dimensions of a row-major tensor, outermost first; each at least 1.
 *
 * @param dims the dimensions
 */
public record Shape(List<Integer> dims) {
  /** Element count up to which every byte count fits 64 bits. */
  private static final long MAX_ELEMENTS = 1L << 60;

  /**
   * Checks and freezes the dimensions.
   *
   * @throws IllegalArgumentException when there is no dimension, one is below 1, or the element
   *     count passes 2^60
   */
  public Shape {
    dims = List.copyOf(dims);
    if (dims.isEmpty()) {
      throw new IllegalArgumentException("a shape needs at least one dimension");
    }
    long elements = 1;
    for (int dim : dims) {
      if (dim < 1) {
        throw new IllegalArgumentException(
            "shape " + format(dims) + " has dimension " + dim + "; each must be at least 1");
      }
      if (elements > MAX_ELEMENTS / dim) {
        throw new IllegalArgumentException(
            "shape " + format(dims) + " has more than 2^60 elements");
      }
      elements *= dim;
    }
  }

  /** A shape of the given dimensions, outermost first. */
  public static Shape of(int... dims) {
    return new Shape(Arrays.stream(dims).boxed().toList());
  }

  /** Number of dimensions. */
  public int rank() {
    return dims.size();
  }

  /** Dimension {@code axis}, counted from the outermost. */
  public int dim(int axis) {
    return dims.get(axis);
  }

  /** The innermost dimension: the length of one contiguous row. */
  public int rowLength() {
    return dims.getLast();
  }

  /** Product of all dimensions. */
  public long elements() {
    long elements = 1;
    for (int dim : dims) {
      elements *= dim;
    }
    return elements;
  }

  /**
   * Index along each axis of the element at {@code index} in row-major order.
   *
   * @throws IndexOutOfBoundsException when the shape has no such element
   */
  public List<Integer> position(long index) {
    long rest = Objects.checkIndex(index, elements());
    List<Integer> position = new ArrayList<>();
    for (int dim : dims.reversed()) {
      position.addFirst((int) (rest % dim));
      rest /= dim;
    }
    return position;
  }

  /** As {@code [2, 3, 4]}. */
  @Override
  public String toString() {
    return format(dims);
  }

  private static String format(List<Integer> dims) {
    return dims.stream().map(String::valueOf).collect(Collectors.joining(", ", "[", "]"));
  }
}
