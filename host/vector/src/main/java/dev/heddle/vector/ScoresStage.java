package dev.heddle.vector;

import dev.heddle.core.AttentionShape;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;

/** {@code attention_scores}: {@code scores = Q K^T} as a {@link TiledProduct} per query head. */
final class ScoresStage implements HostSession.Kernel {
  /** Short, because exp turns the absolute error of a score into a relative one. */
  private static final int BLOCK_K = 32;

  private final TiledProduct product;
  private final Span q;
  private final Span k;
  private final Span scores;

  ScoresStage(AttentionShape shape, Span q, Span k, Span scores, Workers workers) {
    product =
        new TiledProduct(
            size(shape),
            shape.batch() * shape.headsQ(),
            shape.batch() * shape.headsKv(),
            shape::kvHead,
            TiledProduct.Layout.TRANSPOSED,
            null,
            workers);
    this.q = q;
    this.k = k;
    this.scores = scores;
  }

  static long scratchBytes(AttentionShape shape, int workers) {
    return TiledProduct.scratchBytes(size(shape), shape.batch() * shape.headsKv(), workers);
  }

  @Override
  public void run() {
    product.run(q, k, null, scores);
  }

  @Override
  public long scratchBytes() {
    return product.scratchBytes();
  }

  private static TiledProduct.Size size(AttentionShape shape) {
    return new TiledProduct.Size(shape.seqlenQ(), shape.seqlenK(), shape.headDim(), BLOCK_K);
  }
}
