package dev.heddle.core;

import java.util.List;

/**
 * Attention forward: {@code out = softmax(softmaxScale * Q K^T + mask) V}, row by row.
 *
 * <p>Reads {@code q [B, H_Q, SEQLEN_Q, HEAD_DIM]}, {@code k [B, H_KV, SEQLEN_K, HEAD_DIM]}, {@code
 * v [B, H_KV, SEQLEN_K, HEAD_DIM_V]}; writes {@code out [B, H_Q, SEQLEN_Q, HEAD_DIM_V]} and, where
 * asked, {@code lse [B, H_Q, SEQLEN_Q]}, the natural logarithm of each row's sum of exponentials. A
 * row with no visible key gives {@code out = 0} and {@code lse = -inf}.
 *
 * @param shape sizes
 * @param dtype storage type of q, k, v and out; lse is always fp32
 * @param softmaxScale factor on Q K^T
 * @param mask which keys a query sees
 * @param lse whether the log-sum-exp is wanted
 */
public record AttentionProblem(
    AttentionShape shape, DType dtype, float softmaxScale, BandMask mask, boolean lse)
    implements Operation {

  /**
   * Checks the scale.
   *
   * @throws IllegalArgumentException when the scale is not finite
   */
  public AttentionProblem {
    if (!Float.isFinite(softmaxScale)) {
      throw new IllegalArgumentException(
          "softmaxScale = " + softmaxScale + "; it must be a finite number");
    }
  }

  /** An fp32 problem with the default scale, no mask, and lse. */
  public static AttentionProblem of(AttentionShape shape) {
    return new AttentionProblem(
        shape, DType.FP32, defaultScale(shape.headDim()), BandMask.NONE, true);
  }

  /** {@code 1 / sqrt(headDim)}. */
  public static float defaultScale(int headDim) {
    return (float) (1 / Math.sqrt(headDim));
  }

  /** The same problem under another mask. */
  public AttentionProblem withMask(BandMask other) {
    return new AttentionProblem(shape, dtype, softmaxScale, other, lse);
  }

  /** The same problem with another scale. */
  public AttentionProblem withScale(float other) {
    return new AttentionProblem(shape, dtype, other, mask, lse);
  }

  @Override
  public AttentionProblem withDtype(DType other) {
    return new AttentionProblem(shape, other, softmaxScale, mask, lse);
  }

  /** The same problem with or without log-sum-exp. */
  public AttentionProblem withLse(boolean wanted) {
    return new AttentionProblem(shape, dtype, softmaxScale, mask, wanted);
  }

  @Override
  public String name() {
    return "attention";
  }

  @Override
  public List<TensorSpec> inputs() {
    return List.of(
        new TensorSpec("q", shape.q(), dtype),
        new TensorSpec("k", shape.k(), dtype),
        new TensorSpec("v", shape.v(), dtype));
  }

  @Override
  public List<TensorSpec> outputs() {
    TensorSpec out = new TensorSpec("out", shape.out(), dtype);
    return lse ? List.of(out, lseSpec()) : List.of(out);
  }

  TensorSpec lseSpec() {
    return new TensorSpec("lse", shape.lse(), DType.FP32);
  }

  /** {@code 2 (HEAD_DIM + HEAD_DIM_V)} for every visible (query, key) pair. */
  @Override
  public double flops() {
    return 2.0
        * (shape.headDim() + shape.headDimV())
        * shape.batch()
        * shape.headsQ()
        * mask.visiblePairs(shape);
  }

  /**
   * The count by which papers quote attention's speed: {@code 2 (HEAD_DIM + HEAD_DIM_V)} for every
   * pair, hidden or not, and half of that under a causal mask. Above {@link #flops} by the pairs
   * that a window hides, below it by half a diagonal.
   *
   * <p>Source: FlashAttention-2, section 4.1 (4 SEQLEN^2 HEAD_DIM heads, divided by 2 when causal).
   */
  public double conventionalFlops() {
    double pairs = (double) shape.seqlenQ() * shape.seqlenK();
    boolean causal = mask.left() == BandMask.UNBOUNDED && mask.right() == 0;
    return 2.0
        * (shape.headDim() + shape.headDimV())
        * shape.batch()
        * shape.headsQ()
        * (causal ? pairs / 2 : pairs);
  }
}
