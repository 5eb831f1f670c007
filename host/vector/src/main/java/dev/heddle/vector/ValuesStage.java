package dev.heddle.vector;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.HostSession.Span;
import org.jspecify.annotations.Nullable;

/**
 * {@code attention_values}: {@code out = P V} as a {@link TiledProduct} per query head. Hidden keys
 * add nothing, whatever their probabilities and values hold.
 */
final class ValuesStage extends ProductKernel {

  ValuesStage(AttentionProblem problem, Span probabilities, Span v, Span out, Workers workers) {
    super(
        new TiledProduct(
            size(problem.shape()),
            TiledProduct.Batch.ofHeads(problem.shape()),
            TiledProduct.Layout.ROW_MAJOR,
            visibleKeys(problem),
            problem.dtype(),
            workers),
        probabilities,
        v,
        null,
        out);
  }

  static long scratchBytes(AttentionProblem problem, int workers) {
    AttentionShape shape = problem.shape();
    return TiledProduct.scratchBytes(
        size(shape), TiledProduct.Batch.ofHeads(shape), visibleKeys(problem) != null, workers);
  }

  private static TiledProduct.@Nullable Visible visibleKeys(AttentionProblem problem) {
    BandMask mask = problem.mask();
    if (mask.isNone()) {
      return null;
    }
    AttentionShape shape = problem.shape();
    return new TiledProduct.Visible() {
      @Override
      public int first(int row) {
        return mask.firstKey(row, shape);
      }

      @Override
      public int end(int row) {
        return mask.endKey(row, shape);
      }
    };
  }

  private static TiledProduct.Size size(AttentionShape shape) {
    return new TiledProduct.Size(
        shape.seqlenQ(), shape.headDimV(), shape.seqlenK(), TiledProduct.BLOCK_K);
  }
}
