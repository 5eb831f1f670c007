package dev.heddle.core;

import java.util.List;

/**
 * Appends keys or values to a cache: row {@code j} of {@code y} is row {@code j - lengths[b]} of
 * {@code x} where {@code lengths[b] <= j < lengths[b] + added}, else row {@code j} of the cache.
 *
 * <p>Reads {@code cache [B, H_KV, CAPACITY, WIDTH]}, {@code x [B, H_KV, ADDED, WIDTH]} and {@code
 * lengths [B]}, int32, how many rows of each sequence's cache are taken; writes {@code y [B, H_KV,
 * CAPACITY, WIDTH]}. Functional: the cache stays as it is, which costs a copy of it.
 *
 * @param batch independent sequences, B
 * @param heads key-value heads, H_KV
 * @param capacity rows of a cache
 * @param added rows that are appended; at most {@code capacity}
 * @param width elements of a row
 * @param dtype storage type of cache, x and y
 */
public record CacheAppend(int batch, int heads, int capacity, int added, int width, DType dtype)
    implements Operation {

  /**
   * Checks sizes and type.
   *
   * @throws IllegalArgumentException when the type is not a floating-point one, naming the shape
   *     with a dimension below 1, or when more is added than a cache holds
   */
  public CacheAppend {
    DType.requireFloating(dtype);
    Shape.of(batch, heads, capacity, width);
    Shape.of(batch, heads, added, width);
    if (added > capacity) {
      throw new IllegalArgumentException(
          "added = " + added + "; a cache of capacity " + capacity + " holds no more than that");
    }
  }

  @Override
  public String name() {
    return "cache";
  }

  @Override
  public List<TensorSpec> inputs() {
    return List.of(
        new TensorSpec("cache", Shape.of(batch, heads, capacity, width), dtype),
        new TensorSpec("x", Shape.of(batch, heads, added, width), dtype),
        new TensorSpec("lengths", Shape.of(batch), DType.INT32));
  }

  @Override
  public List<TensorSpec> outputs() {
    return List.of(new TensorSpec("y", Shape.of(batch, heads, capacity, width), dtype));
  }

  @Override
  public CacheAppend withDtype(DType other) {
    return new CacheAppend(batch, heads, capacity, added, width, other);
  }

  /** Every length has to leave room for the added rows. */
  @Override
  public void requireValues(String name, HostTensor values) {
    if (name.equals("lengths")) {
      Operation.requireRange(
          name, values, 0, capacity - added, "capacity " + capacity + " less " + added + " added");
    }
  }

  /** Zero: the operation only moves data. */
  @Override
  public double flops() {
    return 0;
  }

  /** Each element of {@code y} has one source: what is overwritten need not be read. */
  @Override
  public long compulsoryBytes() {
    return 2 * outputs().getFirst().bytes() + inputs().getLast().bytes();
  }
}
