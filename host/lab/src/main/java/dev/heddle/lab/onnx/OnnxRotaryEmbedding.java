package dev.heddle.lab.onnx;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.Shape;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * ONNX's RotaryEmbedding. Sines and cosines are widened to fp32, which changes none of them.
 *
 * <p>Source: ONNX, docs/Changelog.md, RotaryEmbedding-23.
 *
 * @param since version that defined the operator
 * @param pairing which elements of a head make a pair
 * @param heads heads of a packed tensor
 * @param rotaryDim leading elements that are turned; 0 for all
 */
record OnnxRotaryEmbedding(
    int since, RotaryEmbedding.Pairing pairing, Optional<Integer> heads, int rotaryDim)
    implements OnnxOperator {

  /**
   * Reads a node's attributes.
   *
   * @throws dev.heddle.lab.files.TensorFileException naming one that is wrong
   */
  static OnnxRotaryEmbedding of(OnnxModel model) {
    int since = OnnxOperator.since(model, 23);
    OnnxAttributes attributes = model.attributes(since);
    attributes.requireAmong(Set.of("interleaved", "num_heads", "rotary_embedding_dim"));
    return new OnnxRotaryEmbedding(
        since,
        attributes.flag("interleaved")
            ? RotaryEmbedding.Pairing.INTERLEAVED
            : RotaryEmbedding.Pairing.HALF_SPLIT,
        // 0 is how some exporters leave it out.
        attributes.integer("num_heads", 0, Integer.MAX_VALUE).filter(count -> count > 0),
        attributes.integer("rotary_embedding_dim", 0, Integer.MAX_VALUE).orElse(0));
  }

  @Override
  public String title() {
    return "RotaryEmbedding-" + since;
  }

  @Override
  public List<String> inputs() {
    return List.of("X", "cos_cache", "sin_cache", "position_ids");
  }

  @Override
  public List<String> outputs() {
    return List.of("Y");
  }

  @Override
  public OnnxTask task(OnnxOperands operands, Map<String, Optional<ElementType>> wanted) {
    OnnxSequence x = OnnxSequence.of(operands, "X", heads, "num_heads");
    int turned = rotaryDim == 0 ? x.width() : rotaryDim;
    if (turned % 2 != 0 || turned > x.width()) {
      throw operands.failure(
          "turns "
              + turned
              + " elements of each head of "
              + x.tensor()
              + "; an even number of at most "
              + x.width()
              + " is needed");
    }
    Optional<OnnxTensor> ids = operands.find("position_ids");
    OnnxTensor cos = table(operands, "cos_cache", x, ids.isPresent(), turned / 2);
    OnnxTensor sin = table(operands, "sin_cache", x, ids.isPresent(), turned / 2);
    operands.requireShape(sin, cos.dims(), "sin_cache of cos_cache's shape");
    int rows = cos.count() / (turned / 2);
    DType dtype = x.dtype();
    RotaryEmbedding rotary =
        new RotaryEmbedding(
            x.batch(), x.heads(), x.length(), x.width(), turned, pairing, rows, dtype);
    Shape tableShape = Shape.of(rows, turned / 2);
    OnnxTask.Builder chain = new OnnxTask.Builder(title());
    chain.step(
        rotary,
        Map.of(
            "x",
            chain.heads(x, dtype),
            "cos",
            chain.input("cos_cache", cos.host(tableShape, DType.FP32)),
            "sin",
            chain.input("sin_cache", sin.host(tableShape, DType.FP32)),
            "positions",
            chain.input("position_ids", positions(operands, ids, x, rows))),
        Map.of("y", "y"));
    if (wanted.containsKey("Y")) {
      chain.output(
          "Y", chain.merged("y", x, x.heads(), x.width(), dtype), x.tensor().shape(), dtype);
    }
    return chain.build(rotary);
  }

  /** A table with a row for each position, or for each token where there are no positions. */
  private static OnnxTensor table(
      OnnxOperands operands, String name, OnnxSequence x, boolean byPosition, int width) {
    OnnxTensor table = operands.operand(name);
    operands.requireSameType(x.tensor(), table);
    if (byPosition) {
      int rows = table.rank() == 2 ? table.dim(0) : 1;
      operands.requireShape(table, List.of(rows, width), name + " [positions, pairs]");
    } else {
      operands.requireShape(
          table, List.of(x.batch(), x.length(), width), name + " [batch, tokens, pairs]");
    }
    return table;
  }

  private static HostTensor positions(
      OnnxOperands operands, Optional<OnnxTensor> ids, OnnxSequence x, int rows) {
    int[] positions = new int[x.batch() * x.length()];
    if (ids.isEmpty()) {
      Arrays.setAll(positions, i -> i);
    } else {
      OnnxTensor given = ids.get();
      given.requireType(ElementType.INT64);
      operands.requireShape(given, List.of(x.batch(), x.length()), "position_ids [batch, tokens]");
      for (int i = 0; i < positions.length; i++) {
        positions[i] = given.integer(i, 0, rows - 1, "the last row of cos_cache");
      }
    }
    return HostTensor.of(Shape.of(x.batch(), x.length()), positions);
  }
}
