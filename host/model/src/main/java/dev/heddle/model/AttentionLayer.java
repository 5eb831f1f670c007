package dev.heddle.model;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import dev.heddle.core.TensorSpec;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The self-attention of one layer on one hidden state, as a chain of operations that any backend
 * can run with its tensors staying on the device.
 *
 * <pre>
 *   hidden [SEQLEN, HIDDEN]
 *     |-- linear query -- q_rows -- heads -- q [1, H, SEQLEN, HEAD_DIM] --.
 *     |-- linear key ---- k_rows -- heads -- k [1, H, SEQLEN, HEAD_DIM] --+- attention -- out
 *     `-- linear value -- v_rows -- heads -- v [1, H, SEQLEN, HEAD_DIM] --'               |
 *   projected [SEQLEN, HIDDEN] -- linear output -- context [SEQLEN, HIDDEN] -- heads -----'
 * </pre>
 *
 * <p>No mask: a single text without padding sees all of itself. The scale is {@code
 * 1/sqrt(HEAD_DIM)}.
 *
 * @param layer the layer's number, from 0
 * @param hidden the hidden state that enters it, {@code [SEQLEN, HIDDEN]}
 * @param weights its projections
 */
public record AttentionLayer(int layer, HostTensor hidden, AttentionWeights weights) {
  /** Chain's name for the queries by head, {@code [1, HEADS, SEQLEN, HEAD_DIM]}. */
  public static final String Q = "q";

  /** Chain's name for the keys by head, {@code [1, HEADS, SEQLEN, HEAD_DIM]}. */
  public static final String K = "k";

  /** Chain's name for the values by head, {@code [1, HEADS, SEQLEN, HEAD_DIM]}. */
  public static final String V = "v";

  /** Chain's name for what attention gives by head, {@code [1, HEADS, SEQLEN, HEAD_DIM]}. */
  public static final String OUT = "out";

  /** Chain's name for the merged heads, {@code [SEQLEN, HIDDEN]}. */
  public static final String CONTEXT = "context";

  /** Chain's name for what leaves the output projection, {@code [SEQLEN, HIDDEN]}. */
  public static final String PROJECTED = "projected";

  private static final String HIDDEN_STATE = "hidden";

  /**
   * Checks the hidden state.
   *
   * @throws IllegalArgumentException when it is not fp32 {@code [SEQLEN, HIDDEN]}
   */
  public AttentionLayer {
    Shape shape = hidden.shape();
    if (shape.rank() != 2 || shape.dim(1) != MiniLm.HIDDEN || hidden.dtype() != DType.FP32) {
      throw new IllegalArgumentException(
          "a hidden state is fp32 [SEQLEN, "
              + MiniLm.HIDDEN
              + "], not "
              + (hidden.dtype().label() + " " + shape));
    }
  }

  /** Tokens: queries and keys alike. */
  public int seqlen() {
    return hidden.shape().dim(0);
  }

  /** The attention alone, without its projections. */
  public AttentionProblem problem() {
    return AttentionProblem.of(AttentionShape.square(1, MiniLm.HEADS, seqlen(), MiniLm.HEAD_DIM))
        .withLse(false);
  }

  /**
   * The whole chain.
   *
   * @param outputs which of its tensors to return
   * @throws IllegalArgumentException when the chain has no tensor of such a name
   */
  public Chain chain(String... outputs) {
    int rows = seqlen();
    List<TensorSpec> inputs = new ArrayList<>();
    inputs.add(new TensorSpec(HIDDEN_STATE, hidden.shape(), hidden.dtype()));
    roles().forEach((role, projection) -> inputs.addAll(projection.specs(role)));
    List<Chain.Step> steps =
        List.of(
            weights.query().step("query", rows, HIDDEN_STATE, "q_rows"),
            weights.key().step("key", rows, HIDDEN_STATE, "k_rows"),
            weights.value().step("value", rows, HIDDEN_STATE, "v_rows"),
            heads(rows, MiniLm.HEADS, "q_rows", Q),
            heads(rows, MiniLm.HEADS, "k_rows", K),
            heads(rows, MiniLm.HEADS, "v_rows", V),
            new Chain.Step(problem(), Map.of("q", Q, "k", K, "v", V), Map.of("out", OUT)),
            heads(MiniLm.HEADS, rows, OUT, CONTEXT),
            weights.output().step("output", rows, CONTEXT, PROJECTED));
    return new Chain("attention of layer " + layer, inputs, steps, List.of(outputs));
  }

  /** A tensor for each of the chain's inputs. */
  public Map<String, HostTensor> inputs() {
    Map<String, HostTensor> inputs = new HashMap<>();
    inputs.put(HIDDEN_STATE, hidden);
    roles().forEach((role, projection) -> inputs.putAll(projection.tensors(role)));
    return Map.copyOf(inputs);
  }

  private Map<String, Projection> roles() {
    Map<String, Projection> roles = new LinkedHashMap<>();
    roles.put("query", weights.query());
    roles.put("key", weights.key());
    roles.put("value", weights.value());
    roles.put("output", weights.output());
    return roles;
  }

  private static Chain.Step heads(int outer, int inner, String x, String y) {
    return new Chain.Step(
        new HeadsTranspose(1, outer, inner, MiniLm.HEAD_DIM, DType.FP32),
        Map.of("x", x),
        Map.of("y", y));
  }
}
