package dev.heddle.model;

import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.NodeProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The fp32 constants of one ONNX graph, found by their own name or by the name of the node that
 * multiplies by them.
 *
 * <p>PyTorch's exporter folds the transposition of a linear layer's weight into a new constant with
 * a meaningless number for a name ({@code onnx::MatMul_787}), so only the node says which matrix it
 * is. The folded constant is already {@code [in, out]}, which is the layout of Heddle's linear.
 */
final class OnnxWeights {
  private final String source;
  private final Map<String, TensorProto> initializers = new HashMap<>();
  private final Map<String, NodeProto> nodes = new HashMap<>();

  private OnnxWeights(String source, ModelProto model) {
    this.source = source;
    model.getGraph().getInitializerList().forEach(t -> initializers.put(t.getName(), t));
    model.getGraph().getNodeList().forEach(n -> nodes.put(n.getName(), n));
  }

  /**
   * Parses a whole ONNX model.
   *
   * @param source what to call it in error messages
   * @throws ModelException when the bytes can't be read or are not an ONNX model
   */
  static OnnxWeights parse(InputStream bytes, String source) {
    try {
      return new OnnxWeights(source, ModelProto.parseFrom(bytes));
    } catch (InvalidProtocolBufferException e) {
      throw new ModelException(source + " is damaged or no ONNX model: " + e.getMessage(), e);
    } catch (IOException e) {
      throw new ModelException(source + " can't be read: " + e.getMessage(), e);
    }
  }

  /**
   * The constant called {@code name}.
   *
   * @throws ModelException when it is missing, is not fp32, has another shape, or holds too few
   *     bytes or a value that is not finite
   */
  HostTensor constant(String name, Shape shape) {
    TensorProto tensor = initializers.get(name);
    if (tensor == null) {
      throw new ModelException(source + " has no constant named " + name);
    }
    if (tensor.getDataType() != TensorProto.DataType.FLOAT.getNumber()) {
      throw new ModelException(
          source + ": " + name + " has ONNX data type " + tensor.getDataType() + ", not 1 (fp32)");
    }
    List<Long> expected = shape.dims().stream().map(Integer::longValue).toList();
    if (!tensor.getDimsList().equals(expected)) {
      throw new ModelException(
          source + ": " + name + " has shape " + tensor.getDimsList() + ", not " + shape);
    }
    ByteString raw = tensor.getRawData();
    if (raw.size() != shape.elements() * Float.BYTES) {
      throw new ModelException(
          source
              + (": " + name + " holds " + raw.size() + " bytes; ")
              + ("shape " + shape + " needs " + shape.elements() * Float.BYTES));
    }
    float[] values = new float[(int) shape.elements()];
    // ONNX stores raw data little-endian on every machine.
    raw.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
    requireFinite(name, values);
    return HostTensor.of(shape, values);
  }

  /**
   * The constant that the MatMul node called {@code node} multiplies by from the right.
   *
   * @throws ModelException as {@link #constant}, and when there is no such MatMul node
   */
  HostTensor multiplierOf(String node, Shape shape) {
    NodeProto matMul = nodes.get(node);
    if (matMul == null || !matMul.getOpType().equals("MatMul") || matMul.getInputCount() != 2) {
      throw new ModelException(source + " has no MatMul node named " + node);
    }
    return constant(matMul.getInput(1), shape);
  }

  private void requireFinite(String name, float[] values) {
    for (int i = 0; i < values.length; i++) {
      if (!Float.isFinite(values[i])) {
        throw new ModelException(source + ": " + name + " holds " + values[i] + " at index " + i);
      }
    }
  }
}
