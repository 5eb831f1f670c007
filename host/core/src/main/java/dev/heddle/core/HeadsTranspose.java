package dev.heddle.core;

import java.util.List;

/**
 * Swaps the two middle axes: {@code y[b, i, o, :] = x[b, o, i, :]}.
 *
 * <p>Splits a projection {@code [B, SEQLEN, H, HEAD_DIM]} into heads {@code [B, H, SEQLEN,
 * HEAD_DIM]} and merges them back. Reads {@code x [BATCH, OUTER, INNER, WIDTH]}, writes {@code y
 * [BATCH, INNER, OUTER, WIDTH]}.
 *
 * @param batch outermost dimension
 * @param outer second dimension of x
 * @param inner third dimension of x
 * @param width contiguous elements that move together
 * @param dtype storage type of both
 */
public record HeadsTranspose(int batch, int outer, int inner, int width, DType dtype)
    implements Operation {

  /**
   * Checks sizes and type.
   *
   * @throws IllegalArgumentException when the type is not a floating-point one, or naming the shape
   *     with a dimension below 1
   */
  public HeadsTranspose {
    DType.requireFloating(dtype);
    Shape.of(batch, outer, inner, width);
  }

  @Override
  public String name() {
    return "heads";
  }

  @Override
  public List<TensorSpec> inputs() {
    return List.of(new TensorSpec("x", Shape.of(batch, outer, inner, width), dtype));
  }

  @Override
  public List<TensorSpec> outputs() {
    return List.of(new TensorSpec("y", Shape.of(batch, inner, outer, width), dtype));
  }

  @Override
  public HeadsTranspose withDtype(DType other) {
    return new HeadsTranspose(batch, outer, inner, width, other);
  }

  /** Zero: the operation only moves data. */
  @Override
  public double flops() {
    return 0;
  }
}
