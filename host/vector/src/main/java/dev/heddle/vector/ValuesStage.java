package dev.heddle.vector;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;
import org.jspecify.annotations.Nullable;

/**
 * {@code attention_values}: {@code out = P V} as a {@link TiledProduct} per query head.
 * Probabilities of hidden keys count as 0 whatever they hold.
 */
final class ValuesStage implements HostSession.Kernel {
  private final TiledProduct product;
  private final Span probabilities;
  private final Span v;
  private final Span out;

  ValuesStage(AttentionProblem problem, Span probabilities, Span v, Span out, Workers workers) {
    AttentionShape shape = problem.shape();
    product =
        new TiledProduct(
            size(shape),
            shape.batch() * shape.headsQ(),
            shape.batch() * shape.headsKv(),
            shape::kvHead,
            TiledProduct.Layout.ROW_MAJOR,
            visibleKeys(problem),
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
