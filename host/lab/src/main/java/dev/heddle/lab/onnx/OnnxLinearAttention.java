package dev.heddle.lab.onnx;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.DType;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.FeatureMap;
import dev.heddle.core.LinearAttention.UpdateRule;
import dev.heddle.lab.files.TensorFileException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * ONNX's LinearAttention. The state is fp32 while it is computed, whatever its type is before and
 * after.
 *
 * <p>Source: ONNX, docs/Changelog.md, LinearAttention-27.
 *
 * @param since version that defined the operator
 * @param rule how a token changes the state
 * @param headsQ query heads
 * @param headsKv key-value heads
 * @param scale factor on the output; 0 for the default
 */
record OnnxLinearAttention(int since, UpdateRule rule, int headsQ, int headsKv, float scale)
    implements OnnxOperator {

  /**
   * Reads a node's attributes.
   *
   * @throws TensorFileException naming one that is wrong or missing
   */
  static OnnxLinearAttention of(OnnxModel model) {
    int since = OnnxOperator.since(model, 27);
    OnnxAttributes attributes = model.attributes(since);
    attributes.requireAmong(
        Set.of("chunk_size", "kv_num_heads", "q_num_heads", "scale", "update_rule"));
    // A hint, which changes no result.
    attributes.integer("chunk_size", Integer.MIN_VALUE, Integer.MAX_VALUE);
    int headsQ = heads(attributes, "q_num_heads");
    int headsKv = heads(attributes, "kv_num_heads");
    if (headsQ % headsKv != 0) {
      throw attributes.failure(
          "q_num_heads", headsQ + ", no multiple of kv_num_heads = " + headsKv);
    }
    return new OnnxLinearAttention(
        since, rule(attributes), headsQ, headsKv, attributes.number("scale").orElse(0f));
  }

  private static int heads(OnnxAttributes attributes, String name) {
    return attributes
        .integer(name, 1, Integer.MAX_VALUE)
        .orElseThrow(() -> attributes.failure(name, "nothing; it is required"));
  }

  private static UpdateRule rule(OnnxAttributes attributes) {
    String name = attributes.text("update_rule").orElse(name(UpdateRule.GATED_DELTA));
    return Arrays.stream(UpdateRule.values())
        .filter(rule -> name(rule).equals(name))
        .findFirst()
        .orElseThrow(() ->
            attributes.failure(
                "update_rule",
                "'"
                    + TensorFileException.quote(name)
                    + "'; there are "
                    + String.join(
                        ", ",
                        Arrays.stream(UpdateRule.values())
                            .map(OnnxLinearAttention::name)
                            .toList())));
  }

  private static String name(UpdateRule rule) {
    return rule.name().toLowerCase(Locale.ROOT);
  }

  @Override
  public String title() {
    return "LinearAttention-" + since;
  }

  @Override
  public List<String> inputs() {
    return List.of("query", "key", "value", "past_state", "decay", "beta");
  }

  @Override
  public List<String> outputs() {
    return List.of("output", "present_state");
  }

  @Override
  public OnnxTask task(OnnxOperands operands, Map<String, Optional<ElementType>> wanted) {
    OnnxSequence q = packed(operands, "query", headsQ, "q_num_heads");
    OnnxSequence k = packed(operands, "key", headsKv, "kv_num_heads");
    OnnxSequence v = packed(operands, "value", headsKv, "kv_num_heads");
    operands.requireSameType(q.tensor(), k.tensor());
    operands.requireSameType(q.tensor(), v.tensor());
    for (OnnxSequence other : List.of(k, v)) {
      if (other.batch() != q.batch() || other.length() != q.length()) {
        throw operands.failure(
            "needs batch and length of query = "
                + List.of(q.batch(), q.length())
                + ", not "
                + other.tensor());
      }
    }
    if (q.width() != k.width()) {
      throw operands.failure(
          "needs heads of one size: " + q.width() + " of query, " + k.width() + " of key");
    }
    Optional<OnnxTensor> decay = operand(operands, "decay", rule.isGated(), q);
    Optional<OnnxTensor> beta = operand(operands, "beta", rule.isDelta(), q);
    AttentionShape shape =
        new AttentionShape(
            q.batch(), headsQ, headsKv, q.length(), q.length(), q.width(), v.width());
    Optional<OnnxTensor> past = operands.find("past_state").map(operands::operand);
    DType dtype = q.dtype();
    LinearAttention operation =
        new LinearAttention(
            shape,
            rule,
            decay
                .map(tensor -> perHead(operands, tensor, q, "decay", q.width()))
                .map(width -> width > 1)
                .orElse(false),
            beta.map(tensor -> shared(operands, tensor, q)).orElse(false),
            FeatureMap.IDENTITY,
            false,
            past.isPresent(),
            scale == 0 ? AttentionProblem.defaultScale(q.width()) : scale,
            dtype);
    OnnxTask.Builder chain = new OnnxTask.Builder(title());
    Map<String, String> reads = new HashMap<>();
    reads.put("q", chain.heads(q, dtype));
    reads.put("k", chain.heads(k, dtype));
    reads.put("v", chain.heads(v, dtype));
    if (decay.isPresent()) {
      OnnxTensor tensor = decay.get();
      reads.put(
          "decay", chain.heads(OnnxSequence.ofPacked(tensor, headsKv, "kv_num_heads"), dtype));
    }
    if (beta.isPresent()) {
      OnnxTensor tensor = beta.get();
      reads.put("beta", chain.heads(OnnxSequence.ofPacked(tensor, tensor.dim(2), "beta"), dtype));
    }
    if (past.isPresent()) {
      OnnxTensor tensor = past.get();
      operands.requireShape(
          tensor, operation.state().dims(), "past_state [batch, heads, d_k, d_v]");
      reads.put(
          "initial_state", chain.input("past_state", tensor.host(tensor.shape(), DType.FP32)));
    }
    chain.step(operation, reads, Map.of("out", "out", "state", "state"));
    if (wanted.containsKey("output")) {
      chain.output(
          "output",
          chain.merged("out", q, headsQ, v.width(), dtype),
          OnnxSequence.shape(true, q.batch(), headsQ, q.length(), v.width()),
          dtype);
    }
    if (wanted.containsKey("present_state")) {
      chain.output(
          "present_state",
          "state",
          operation.state(),
          stateType(past, wanted.get("present_state")).orElse(dtype));
    }
    return chain.build(operation);
  }

  /** The state's type: that of the past, or else what the model states. */
  private static Optional<DType> stateType(
      Optional<OnnxTensor> past, Optional<ElementType> stated) {
    return past.map(OnnxTensor::type).or(() -> stated).flatMap(ElementType::operand);
  }

  private static OnnxSequence packed(
      OnnxOperands operands, String name, int heads, String attribute) {
    OnnxTensor tensor = operands.operand(name);
    if (tensor.rank() != 3) {
      throw tensor.failure("has shape " + tensor.dims() + "; 3 dimensions are needed");
    }
    return OnnxSequence.ofPacked(tensor, heads, attribute);
  }

  /** A gate: there where the rule has it, and not where it doesn't. */
  private Optional<OnnxTensor> operand(
      OnnxOperands operands, String name, boolean needed, OnnxSequence q) {
    Optional<OnnxTensor> found = operands.find(name).map(operands::operand);
    if (found.isPresent() != needed) {
      throw operands.failure(
          (needed ? "needs" : "has no") + " input " + name + " by the rule " + name(rule));
    }
    found.ifPresent(tensor -> operands.requireSameType(q.tensor(), tensor));
    return found;
  }

  /** How many elements each key-value head has of a tensor with one, or with {@code most}. */
  private int perHead(
      OnnxOperands operands, OnnxTensor tensor, OnnxSequence q, String name, int most) {
    int last = tensor.rank() == 3 ? tensor.dim(2) : 0;
    int perHead = last == headsKv ? 1 : most;
    operands.requireShape(
        tensor,
        List.of(q.batch(), q.length(), headsKv * perHead),
        name + " [batch, tokens, heads or heads * d_k]");
    return perHead;
  }

  /** Whether all heads have one beta. */
  private boolean shared(OnnxOperands operands, OnnxTensor beta, OnnxSequence q) {
    boolean shared = headsKv > 1 && beta.rank() == 3 && beta.dim(2) == 1;
    operands.requireShape(
        beta,
        List.of(q.batch(), q.length(), shared ? 1 : headsKv),
        "beta [batch, tokens, heads or 1]");
    return shared;
  }
}
