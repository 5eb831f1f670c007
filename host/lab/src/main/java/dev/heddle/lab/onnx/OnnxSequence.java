package dev.heddle.lab.onnx;

import dev.heddle.core.DType;
import dev.heddle.core.Shape;
import java.util.List;
import java.util.Optional;

/**
 * A tensor of tokens and heads, in either of ONNX's layouts: {@code [B, H, S, D]}, or packed {@code
 * [B, S, H * D]}.
 *
 * @param tensor the tensor
 * @param packed whether it is packed
 * @param batch B
 * @param heads H
 * @param length S
 * @param width D
 */
record OnnxSequence(
    OnnxTensor tensor, boolean packed, int batch, int heads, int length, int width) {

  /**
   * An operand in either layout.
   *
   * @param heads heads of a packed one, if the node says
   * @param attribute the attribute that says it
   * @throws dev.heddle.lab.files.TensorFileException when its dimensions are not those of a
   *     sequence, or others than the node says
   */
  static OnnxSequence of(
      OnnxOperands operands, String name, Optional<Integer> heads, String attribute) {
    OnnxTensor tensor = operands.operand(name);
    return switch (tensor.rank()) {
      case 3 ->
          ofPacked(
              tensor,
              heads.orElseThrow(
                  () -> operands.failure("needs the attribute " + attribute + " for " + tensor)),
              attribute);
      case 4 -> {
        heads
            .filter(stated -> stated != tensor.dim(1))
            .ifPresent(stated -> {
              throw operands.failure("has " + attribute + " = " + stated + ", but " + tensor);
            });
        yield ofHeads(tensor);
      }
      default ->
          throw tensor.failure("has shape " + tensor.dims() + "; 3 or 4 dimensions are needed");
    };
  }

  /** A tensor {@code [B, H, S, D]}. */
  private static OnnxSequence ofHeads(OnnxTensor tensor) {
    return new OnnxSequence(
        tensor, false, tensor.dim(0), tensor.dim(1), tensor.dim(2), tensor.dim(3));
  }

  /**
   * A tensor {@code [B, S, H * D]}.
   *
   * @throws dev.heddle.lab.files.TensorFileException when the last dimension is no multiple of the
   *     heads
   */
  static OnnxSequence ofPacked(OnnxTensor tensor, int heads, String attribute) {
    if (tensor.dim(2) % heads != 0) {
      throw tensor.failure(
          tensor.dims()
              + " can't be split: "
              + tensor.dim(2)
              + " is no multiple of "
              + attribute
              + " = "
              + heads);
    }
    return new OnnxSequence(
        tensor, true, tensor.dim(0), heads, tensor.dim(1), tensor.dim(2) / heads);
  }

  /** Dimensions in ONNX's layout of a tensor like this with other tokens, heads and width. */
  static Shape shape(boolean packed, int batch, int heads, int length, int width) {
    return packed
        ? Shape.of(batch, length, Math.multiplyExact(heads, width))
        : Shape.of(batch, heads, length, width);
  }

  /** Type of its elements on a device. */
  DType dtype() {
    return tensor.type().operand().orElseThrow();
  }

  /** {@code [B, H, S, D]}. */
  List<Integer> headed() {
    return List.of(batch, heads, length, width);
  }
}
