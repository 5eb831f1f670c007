package dev.heddle.vector;

import dev.heddle.core.HostSession.Span;
import dev.heddle.core.LinearProblem;
import java.util.Map;

/** {@code linear_tiled}: {@code y = x weight + bias} as one {@link TiledProduct}. */
final class Linear extends ProductKernel {

  Linear(LinearProblem problem, Map<String, Span> tensors, Workers workers) {
    super(
        new TiledProduct(
            size(problem),
            TiledProduct.Batch.ONE,
            TiledProduct.Layout.ROW_MAJOR,
            null,
            problem.dtype(),
            workers),
        Tensors.get(tensors, "x"),
        Tensors.get(tensors, "weight"),
        tensors.get("bias"),
        Tensors.get(tensors, "y"));
  }

  static long scratchBytes(LinearProblem problem, int workers) {
    return TiledProduct.scratchBytes(size(problem), TiledProduct.Batch.ONE, false, workers);
  }

  private static TiledProduct.Size size(LinearProblem problem) {
    return new TiledProduct.Size(
        problem.rows(), problem.outFeatures(), problem.inFeatures(), TiledProduct.BLOCK_K);
  }
}
