package dev.heddle.vector;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.HostSession.Span;
import org.jspecify.annotations.Nullable;

/**
 * {@code attention_values}: {@code out = P V} as a {@link TiledProduct} per query head. Hidden keys
 * add nothing, whatever their probabilities and values hold.
 */
final class ValuesStage extends ProductKernel {

  ValuesStage(
      AttentionProblem problem,
      ScoreOptions options,
      Span probabilities,
      Span v,
      Span out,
      Workers workers) {
    super(
        new TiledProduct(
            size(problem.shape()),
            TiledProduct.Batch.ofHeads(problem.shape()),
            TiledProduct.Layout.ROW_MAJOR,
            visibleKeys(problem, options),
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
        size(shape), TiledProduct.Batch.ofHeads(shape), hidesKeys(problem), workers);
  }

  private static boolean hidesKeys(AttentionProblem problem) {
    return !problem.mask().isNone() || problem.options().hidesKeys();
  }

  private static TiledProduct.@Nullable Visible visibleKeys(
      AttentionProblem problem, ScoreOptions options) {
    if (!hidesKeys(problem)) {
      return null;
    }
    return new TiledProduct.Visible() {
      @Override
      public int first(int row) {
        return options.first(row);
      }

      @Override
      public int end(int row) {
        return options.end(row);
      }

      @Override
      public boolean counts(int row, int element) {
        return !options.row(row).hides(element);
      }

      @Override
      public void clear(int row, int from, int elements, float[] strips, int at) {
        if (options.hidesWithinBand()) {
          options.row(row).clear(from, elements, strips, at, Lanes.STRIP);
        }
      }
    };
  }

  private static TiledProduct.Size size(AttentionShape shape) {
    return new TiledProduct.Size(
        shape.seqlenQ(), shape.headDimV(), shape.seqlenK(), TiledProduct.BLOCK_K);
  }
}
