package dev.heddle.vector;

import dev.heddle.core.AttentionShape;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;

/** {@code attention_values}: {@code out = P V} as a {@link TiledProduct} per query head. */
final class ValuesStage implements HostSession.Kernel {
  private final TiledProduct product;
  private final Span probabilities;
  private final Span v;
  private final Span out;

  ValuesStage(AttentionShape shape, Span probabilities, Span v, Span out, Workers workers) {
    product =
        new TiledProduct(
            size(shape),
            shape.batch() * shape.headsQ(),
            shape.batch() * shape.headsKv(),
            shape::kvHead,
            TiledProduct.Layout.ROW_MAJOR,
            workers);
    this.probabilities = probabilities;
    this.v = v;
    this.out = out;
  }

  static long scratchBytes(AttentionShape shape, int workers) {
    return TiledProduct.scratchBytes(size(shape), shape.batch() * shape.headsKv(), workers);
  }

  @Override
  public void run() {
    product.run(probabilities, v, null, out);
  }

  @Override
  public long scratchBytes() {
    return product.scratchBytes();
  }

  private static TiledProduct.Size size(AttentionShape shape) {
    return new TiledProduct.Size(shape.seqlenQ(), shape.headDimV(), shape.seqlenK());
  }
}
