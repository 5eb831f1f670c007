package dev.heddle.vector;

import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;
import org.jspecify.annotations.Nullable;

/** An operation that is one {@link TiledProduct}: {@code C = A B + bias} on its own tensors. */
abstract sealed class ProductKernel implements HostSession.Kernel
    permits Linear, ScoresStage, ValuesStage {
  private final TiledProduct product;
  private final Span a;
  private final Span b;
  private final @Nullable Span bias;
  private final Span c;

  ProductKernel(TiledProduct product, Span a, Span b, @Nullable Span bias, Span c) {
    this.product = product;
    this.a = a;
    this.b = b;
    this.bias = bias;
    this.c = c;
  }

  @Override
  public final void run() {
    product.run(a, b, bias, c);
  }

  @Override
  public final long scratchBytes() {
    return product.scratchBytes();
  }
}
