package dev.heddle.core;

import java.util.ArrayList;
import java.util.List;

/**
 * Attention forward: {@code out = softmax(softmaxScale * Q K^T + mask) V}, row by row, with what
 * {@link AttentionOptions} adds.
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
 * @param options what is done to the scores beyond that
 * @param lse whether the log-sum-exp is wanted
 */
public record AttentionProblem(
    AttentionShape shape,
    DType dtype,
    float softmaxScale,
    BandMask mask,
    AttentionOptions options,
    boolean lse)
    implements Operation {

  /**
   * Checks type and scale.
   *
   * @throws IllegalArgumentException when the type is not a floating-point one or the scale is not
   *     finite
   */
  public AttentionProblem {
    DType.requireFloating(dtype);
    if (!Float.isFinite(softmaxScale)) {
      throw new IllegalArgumentException(
          "softmaxScale = " + softmaxScale + "; it must be a finite number");
    }
  }

  /** An fp32 problem with the default scale, no mask, and lse. */
  public static AttentionProblem of(AttentionShape shape) {
    return new AttentionProblem(
        shape,
        DType.FP32,
        defaultScale(shape.headDim()),
        BandMask.NONE,
        AttentionOptions.NONE,
        true);
  }

  /** {@code 1 / sqrt(headDim)}. */
  public static float defaultScale(int headDim) {
    return (float) (1 / Math.sqrt(headDim));
  }

  /** The same problem under another mask. */
  public AttentionProblem withMask(BandMask other) {
    return new AttentionProblem(shape, dtype, softmaxScale, other, options, lse);
  }

  /** The same problem with another scale. */
  public AttentionProblem withScale(float other) {
    return new AttentionProblem(shape, dtype, other, mask, options, lse);
  }

  @Override
  public AttentionProblem withDtype(DType other) {
    return new AttentionProblem(shape, other, softmaxScale, mask, options, lse);
  }

  /** The same problem with or without log-sum-exp. */
  public AttentionProblem withLse(boolean wanted) {
    return new AttentionProblem(shape, dtype, softmaxScale, mask, options, wanted);
  }

  /** The same problem with other options. */
  public AttentionProblem withOptions(AttentionOptions other) {
    return new AttentionProblem(shape, dtype, softmaxScale, mask, other, lse);
  }

  /** The same problem of other sizes. */
  public AttentionProblem withShape(AttentionShape other) {
    return new AttentionProblem(other, dtype, softmaxScale, mask, options, lse);
  }

  @Override
  public String name() {
    return "attention";
  }

  @Override
  public List<TensorSpec> inputs() {
    List<TensorSpec> specs = new ArrayList<>();
    specs.add(new TensorSpec("q", shape.q(), dtype));
    specs.add(new TensorSpec("k", shape.k(), dtype));
    specs.add(new TensorSpec("v", shape.v(), dtype));
    specs.addAll(options.tensors(shape));
    return List.copyOf(specs);
  }

  /** The inputs that the options add. */
  public List<TensorSpec> optionTensors() {
    return options.tensors(shape);
  }

  @Override
  public List<TensorSpec> outputs() {
    List<TensorSpec> specs = new ArrayList<>();
    specs.add(new TensorSpec("out", shape.out(), dtype));
    specs.addAll(softmaxOutputs());
    return List.copyOf(specs);
  }

  /** What the softmax writes beside the probabilities. */
  List<TensorSpec> softmaxOutputs() {
    List<TensorSpec> specs = new ArrayList<>();
    if (lse) {
      specs.add(new TensorSpec("lse", shape.lse(), DType.FP32));
    }
    if (options.scoreOutput().isPresent()) {
      specs.add(new TensorSpec("score_output", shape.scores(), DType.FP32));
    }
    return specs;
  }

  @Override
  public void requireValues(String name, HostTensor values) {
    if (name.equals("key_lengths")) {
      Operation.requireRange(name, values, 0, shape.seqlenK(), "the number of keys");
    }
  }

  /** {@code 2 (HEAD_DIM + HEAD_DIM_V)} for every (query, key) pair that the band lets through. */
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
