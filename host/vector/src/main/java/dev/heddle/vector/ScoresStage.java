package dev.heddle.vector;

import dev.heddle.core.AttentionShape;
import dev.heddle.core.DType;
import dev.heddle.core.HostSession.Span;

/** {@code attention_scores}: {@code scores = Q K^T} as a {@link TiledProduct} per query head. */
final class ScoresStage extends ProductKernel {
  /** Short, because exp turns the absolute error of a score into a relative one. */
  private static final int BLOCK_K = 32;

  ScoresStage(AttentionShape shape, Span q, Span k, Span scores, Workers workers) {
    super(
        new TiledProduct(
            size(shape),
            TiledProduct.Batch.ofHeads(shape),
            TiledProduct.Layout.TRANSPOSED,
            null,
            DType.FP32,
            workers),
        q,
        k,
        null,
        scores);
  }

  static long scratchBytes(AttentionShape shape, int workers) {
    return TiledProduct.scratchBytes(
        size(shape), TiledProduct.Batch.ofHeads(shape), false, workers);
  }

  private static TiledProduct.Size size(AttentionShape shape) {
    return new TiledProduct.Size(shape.seqlenQ(), shape.seqlenK(), shape.headDim(), BLOCK_K);
  }
}
