package dev.heddle.vector;

import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;
import dev.heddle.core.LinearProblem;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** {@code linear_tiled}: {@code y = x weight + bias} as one {@link TiledProduct}. */
final class Linear implements HostSession.Kernel {
  private final TiledProduct product;
  private final Span x;
  private final Span weight;
  private final @Nullable Span bias;
  private final Span y;

  Linear(LinearProblem problem, Map<String, Span> tensors, Workers workers) {
    product =
        new TiledProduct(size(problem), 1, 1, p -> 0, TiledProduct.Layout.ROW_MAJOR, null, workers);
    x = Tensors.get(tensors, "x");
    weight = Tensors.get(tensors, "weight");
    bias = tensors.get("bias");
    y = Tensors.get(tensors, "y");
  }

  static long scratchBytes(LinearProblem problem, int workers) {
    return TiledProduct.scratchBytes(size(problem), 1, workers);
  }

  @Override
  public void run() {
    product.run(x, weight, bias, y);
  }

  @Override
  public long scratchBytes() {
    return product.scratchBytes();
  }

  private static TiledProduct.Size size(LinearProblem problem) {
    return new TiledProduct.Size(
        problem.rows(), problem.outFeatures(), problem.inFeatures(), TiledProduct.BLOCK_K);
  }
}
