package dev.heddle.core;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Linear attention: a state per key-value head that every token writes its key and value to and
 * that its queries read, at a cost that does not grow with the tokens before. For each token {@code
 * t}, by the rule (g: decay, b: beta, f: the feature map):
 *
 * <pre>{@code
 * S = exp(g_t) S                                    gated rules
 * u = v_t                                           or b_t (v_t - f(k_t) S) by the delta rules
 * S = S + f(k_t)^T u
 * out_t = scale f(q_t) S                            over f(q_t) z where normalised,
 *                                                   z = exp(g_t) z + f(k_t)
 * }</pre>
 *
 * <p>Reads {@code q [B, H_Q, SEQLEN, HEAD_DIM]}, {@code k [B, H_KV, SEQLEN, HEAD_DIM]}, {@code v
 * [B, H_KV, SEQLEN, HEAD_DIM_V]}; where there is one, {@code initial_state [B, H_KV, HEAD_DIM,
 * HEAD_DIM_V]} and, normalised, {@code initial_normaliser [B, H_KV, HEAD_DIM]}, both fp32 and zero
 * otherwise; by the gated rules {@code decay [B, H_KV, SEQLEN, HEAD_DIM or 1]}, a logarithm; by the
 * delta rules {@code beta [B, H_KV or 1, SEQLEN]}. Writes {@code out [B, H_Q, SEQLEN, HEAD_DIM_V]},
 * the last {@code state} and, normalised, {@code normaliser}, fp32 both.
 *
 * <p>Sources: Katharopoulos et al., "Transformers are RNNs", 2020: the feature map and the
 * normaliser; Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient Training",
 * 2023: decay; Yang et al., "Parallelizing Linear Transformers with the Delta Rule over Sequence
 * Length", 2024, and "Gated Delta Networks", 2024: the delta rules.
 *
 * @param shape sizes, as many keys as queries
 * @param rule how a token changes the state
 * @param decayPerDim whether each element of the head decays by itself; only with a gated rule
 * @param betaShared whether all heads have the same beta; only with a delta rule
 * @param featureMap what is applied to queries and keys
 * @param normalised whether out is divided by {@code f(q_t) z}; only by the rules without delta and
 *     with a feature map that is positive
 * @param initialState whether the state before the first token is given
 * @param scale factor on out
 * @param dtype storage type of q, k, v, decay, beta and out
 */
public record LinearAttention(
    AttentionShape shape,
    UpdateRule rule,
    boolean decayPerDim,
    boolean betaShared,
    FeatureMap featureMap,
    boolean normalised,
    boolean initialState,
    float scale,
    DType dtype)
    implements Operation {

  /** How a token changes the state. */
  public enum UpdateRule {
    /** Adds {@code k^T v}. */
    LINEAR,
    /** Decays first. */
    GATED,
    /** Replaces a part beta of what the key finds in the state by the value. */
    DELTA,
    /** Decays, then replaces. */
    GATED_DELTA;

    /** Whether the state decays. */
    public boolean isGated() {
      return this == GATED || this == GATED_DELTA;
    }

    /** Whether a value replaces what its key finds, in place of being added to it. */
    public boolean isDelta() {
      return this == DELTA || this == GATED_DELTA;
    }

    /**
     * Name as users write it: {@code linear}, {@code gated}, {@code delta}, {@code gated-delta}.
     */
    public String label() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  /** What is applied to every element of queries and keys. */
  public enum FeatureMap {
    /** {@code x}. */
    IDENTITY,
    /** {@code elu(x) + 1}: {@code x + 1} above 0, else {@code exp(x)}; positive. */
    ELU_PLUS_ONE
  }

  /**
   * Checks that the options go together.
   *
   * @throws IllegalArgumentException naming the option that contradicts another, or the sizes that
   *     differ
   */
  public LinearAttention {
    DType.requireFloating(dtype);
    if (shape.seqlenQ() != shape.seqlenK()) {
      throw new IllegalArgumentException(
          "seqlenQ = "
              + shape.seqlenQ()
              + " but seqlenK = "
              + shape.seqlenK()
              + "; linear attention has a query for each key");
    }
    require(
        rule.isGated() || !decayPerDim,
        "decayPerDim, but the rule " + rule.label() + " has no decay; gated and gated-delta have");
    require(
        rule.isDelta() || !betaShared,
        "betaShared, but the rule " + rule.label() + " has no beta; delta and gated-delta have");
    require(
        !normalised || !rule.isDelta(),
        "normalised, but the rule " + rule.label() + " has no normaliser; linear and gated have");
    require(
        !normalised || featureMap == FeatureMap.ELU_PLUS_ONE,
        "normalised with a feature map that is not positive; elu_plus_one is");
    if (!Float.isFinite(scale)) {
      throw new IllegalArgumentException("scale = " + scale + "; it must be a finite number");
    }
  }

  private static void require(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(otherwise);
    }
  }

  /**
   * An fp32 problem with one decay and one beta per head where the rule has them, the state zero at
   * first, and the default scale of attention.
   */
  public static LinearAttention of(AttentionShape shape, UpdateRule rule) {
    return new LinearAttention(
        shape,
        rule,
        false,
        false,
        FeatureMap.IDENTITY,
        false,
        false,
        AttentionProblem.defaultScale(shape.headDim()),
        DType.FP32);
  }

  /** The same with another choice of whether each element of the head decays by itself. */
  public LinearAttention withDecayPerDim(boolean other) {
    return new LinearAttention(
        shape, rule, other, betaShared, featureMap, normalised, initialState, scale, dtype);
  }

  /** The same with another choice of whether all heads have the same beta. */
  public LinearAttention withBetaShared(boolean other) {
    return new LinearAttention(
        shape, rule, decayPerDim, other, featureMap, normalised, initialState, scale, dtype);
  }

  /** The same with another feature map. */
  public LinearAttention withFeatureMap(FeatureMap other) {
    return new LinearAttention(
        shape, rule, decayPerDim, betaShared, other, normalised, initialState, scale, dtype);
  }

  /** Kernelised attention as its paper has it: elu(x) + 1, normalised, scale 1. */
  public LinearAttention kernelised() {
    return new LinearAttention(
        shape,
        rule,
        decayPerDim,
        betaShared,
        FeatureMap.ELU_PLUS_ONE,
        true,
        initialState,
        1,
        dtype);
  }

  /** The same with another choice of whether the state before the first token is given. */
  public LinearAttention withInitialState(boolean other) {
    return new LinearAttention(
        shape, rule, decayPerDim, betaShared, featureMap, normalised, other, scale, dtype);
  }

  /** The same with another scale. */
  public LinearAttention withScale(float other) {
    return new LinearAttention(
        shape, rule, decayPerDim, betaShared, featureMap, normalised, initialState, other, dtype);
  }

  @Override
  public LinearAttention withDtype(DType other) {
    return new LinearAttention(
        shape, rule, decayPerDim, betaShared, featureMap, normalised, initialState, scale, other);
  }

  @Override
  public String name() {
    return "linear_attention";
  }

  /** Elements of a row of decay: HEAD_DIM, 1, or 0 where nothing decays. */
  public int decayWidth() {
    return !rule.isGated() ? 0 : decayPerDim ? shape.headDim() : 1;
  }

  /** Heads of beta: H_KV, 1, or 0 where there is none. */
  public int betaHeads() {
    return !rule.isDelta() ? 0 : betaShared ? 1 : shape.headsKv();
  }

  /** {@code [B, H_KV, HEAD_DIM, HEAD_DIM_V]}. */
  public Shape state() {
    return Shape.of(shape.batch(), shape.headsKv(), shape.headDim(), shape.headDimV());
  }

  /** {@code [B, H_KV, HEAD_DIM]}. */
  public Shape normaliser() {
    return Shape.of(shape.batch(), shape.headsKv(), shape.headDim());
  }

  @Override
  public List<TensorSpec> inputs() {
    List<TensorSpec> inputs = new ArrayList<>();
    inputs.add(new TensorSpec("q", shape.q(), dtype));
    inputs.add(new TensorSpec("k", shape.k(), dtype));
    inputs.add(new TensorSpec("v", shape.v(), dtype));
    if (initialState) {
      inputs.add(new TensorSpec("initial_state", state(), DType.FP32));
      if (normalised) {
        inputs.add(new TensorSpec("initial_normaliser", normaliser(), DType.FP32));
      }
    }
    int seqlen = shape.seqlenK();
    if (rule.isGated()) {
      Shape decay = Shape.of(shape.batch(), shape.headsKv(), seqlen, decayWidth());
      inputs.add(new TensorSpec("decay", decay, dtype));
    }
    if (rule.isDelta()) {
      inputs.add(new TensorSpec("beta", Shape.of(shape.batch(), betaHeads(), seqlen), dtype));
    }
    return List.copyOf(inputs);
  }

  @Override
  public List<TensorSpec> outputs() {
    List<TensorSpec> outputs = new ArrayList<>();
    outputs.add(new TensorSpec("out", shape.out(), dtype));
    outputs.add(new TensorSpec("state", state(), DType.FP32));
    if (normalised) {
      outputs.add(new TensorSpec("normaliser", normaliser(), DType.FP32));
    }
    return List.copyOf(outputs);
  }

  /**
   * Of the recurrence: {@code 2 HEAD_DIM HEAD_DIM_V} for a token's write and for each of its reads,
   * and as much by the delta rules for what the key finds; decay, feature map and normaliser are
   * not counted.
   */
  @Override
  public double flops() {
    double writes = (double) shape.batch() * shape.headsKv() * shape.seqlenK();
    double reads = (double) shape.batch() * shape.headsQ() * shape.seqlenK();
    double products = writes * (rule.isDelta() ? 2 : 1) + reads;
    return products * 2 * shape.headDim() * shape.headDimV();
  }
}
