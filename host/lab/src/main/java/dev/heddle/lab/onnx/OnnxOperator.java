package dev.heddle.lab.onnx;

import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.lab.files.TensorFileException;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** An operator of ONNX with a node's attributes. */
sealed interface OnnxOperator permits OnnxAttention, OnnxRotaryEmbedding, OnnxLinearAttention {

  /**
   * The operator of a model.
   *
   * @throws UnsupportedProblemException for an operator that is known and not computed
   * @throws TensorFileException for any other operator, and when an attribute is wrong
   */
  static OnnxOperator of(OnnxModel model) {
    String name =
        model.domain().isEmpty() ? model.operator() : model.domain() + "." + model.operator();
    return switch (name) {
      case "Attention" -> OnnxAttention.of(model);
      case "RotaryEmbedding" -> OnnxRotaryEmbedding.of(model);
      case "LinearAttention" -> OnnxLinearAttention.of(model);
      case "ai.onnx.preview.FlexAttention" ->
          throw OnnxOperands.refusal(
              "operator",
              "FlexAttention changes scores and probabilities by graphs of its own, which no kernel"
                  + " computes");
      default ->
          throw new TensorFileException(
              model.file(),
              "is a test of "
                  + TensorFileException.quote(name)
                  + "; Attention, RotaryEmbedding and LinearAttention are known");
    };
  }

  /** As {@code Attention-23}: the operator and the version of ONNX's operators that defined it. */
  String title();

  /** Names of all inputs, in order. */
  List<String> inputs();

  /** Names of all outputs, in order. */
  List<String> outputs();

  /**
   * The chain that computes the node.
   *
   * @param wanted the outputs that are wanted, with their types where the model tells
   * @throws UnsupportedProblemException when Heddle has no operation for it
   * @throws TensorFileException when the operands contradict each other or the attributes
   */
  OnnxTask task(OnnxOperands operands, Map<String, Optional<ElementType>> wanted);

  /**
   * The version in which the operator was last defined.
   *
   * @param definitions versions that defined it, ascending
   * @throws TensorFileException when the model's operators are older than the first
   */
  static int since(OnnxModel model, int... definitions) {
    int since = 0;
    for (int definition : definitions) {
      if (definition <= model.opset()) {
        since = definition;
      }
    }
    if (since == 0) {
      throw new TensorFileException(
          model.file(),
          "imports version "
              + model.opset()
              + " of ONNX's operators; "
              + model.operator()
              + " is among them since "
              + definitions[0]);
    }
    return since;
  }
}
