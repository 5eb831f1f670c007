package dev.heddle.lab.onnx;

import ai.onnx.proto.OnnxMl.AttributeProto;
import ai.onnx.proto.OnnxMl.AttributeProto.AttributeType;
import ai.onnx.proto.OnnxMl.GraphProto;
import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.NodeProto;
import ai.onnx.proto.OnnxMl.OperatorSetIdProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import ai.onnx.proto.OnnxMl.TypeProto;
import ai.onnx.proto.OnnxMl.ValueInfoProto;
import com.google.protobuf.ByteString;
import com.google.protobuf.MessageLite;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

/** A node test in the making, as ONNX writes them; an empty tensor name leaves a place free. */
public final class NodeTest {
  private final NodeProto.Builder node;
  private final GraphProto.Builder graph = GraphProto.newBuilder().setName("test");
  private final List<TensorProto> inputs = new ArrayList<>();
  private final List<TensorProto> outputs = new ArrayList<>();
  private final long opset;

  /** A node of one of ONNX's own operators. */
  public NodeTest(String operator, long opset) {
    this.node = NodeProto.newBuilder().setOpType(operator);
    this.opset = opset;
  }

  /** An integer attribute. */
  public NodeTest with(String name, long value) {
    return with(attribute(name, AttributeType.INT).setI(value));
  }

  /** A float attribute. */
  public NodeTest with(String name, float value) {
    return with(attribute(name, AttributeType.FLOAT).setF(value));
  }

  /** A text attribute. */
  public NodeTest with(String name, String value) {
    return with(attribute(name, AttributeType.STRING).setS(ByteString.copyFromUtf8(value)));
  }

  NodeTest with(AttributeProto.Builder attribute) {
    node.addAttribute(attribute);
    return this;
  }

  static AttributeProto.Builder attribute(String name, AttributeType type) {
    return AttributeProto.newBuilder().setName(name).setType(type);
  }

  /** The next input. */
  public NodeTest reads(TensorProto tensor) {
    node.addInput(tensor.getName());
    graph.addInput(info(tensor));
    inputs.add(tensor);
    return this;
  }

  /** The next input, which the model brings itself. */
  NodeTest readsConstant(TensorProto tensor) {
    node.addInput(tensor.getName());
    graph.addInitializer(tensor);
    return this;
  }

  /** An input that is left out. */
  public NodeTest skipsInput() {
    node.addInput("");
    return this;
  }

  /** The next output. */
  public NodeTest writes(TensorProto tensor) {
    node.addOutput(tensor.getName());
    graph.addOutput(info(tensor));
    outputs.add(tensor);
    return this;
  }

  /** An output that is left out. */
  public NodeTest skipsOutput() {
    node.addOutput("");
    return this;
  }

  ModelProto model() {
    return ModelProto.newBuilder()
        .setIrVersion(11)
        .addOpsetImport(OperatorSetIdProto.newBuilder().setVersion(opset))
        .setGraph(graph.clone().addNode(node))
        .build();
  }

  /** Writes the test into a folder, which is made. */
  public Path write(Path folder) throws IOException {
    return write(folder, model());
  }

  /** The same with another model. */
  Path write(Path folder, UnaryOperator<ModelProto> change) throws IOException {
    return write(folder, change.apply(model()));
  }

  private Path write(Path folder, ModelProto model) throws IOException {
    Files.createDirectories(folder);
    save(folder.resolve("model.onnx"), model);
    writeSet(folder.resolve("test_data_set_0"));
    return folder;
  }

  /** Writes the data set alone. */
  public void writeSet(Path set) throws IOException {
    Files.createDirectories(set);
    for (int i = 0; i < inputs.size(); i++) {
      save(set.resolve("input_" + i + ".pb"), inputs.get(i));
    }
    for (int i = 0; i < outputs.size(); i++) {
      save(set.resolve("output_" + i + ".pb"), outputs.get(i));
    }
  }

  static void save(Path file, MessageLite message) throws IOException {
    Files.write(file, message.toByteArray());
  }

  private static ValueInfoProto info(TensorProto tensor) {
    return ValueInfoProto.newBuilder()
        .setName(tensor.getName())
        .setType(
            TypeProto.newBuilder()
                .setTensorType(TypeProto.Tensor.newBuilder().setElemType(tensor.getDataType())))
        .build();
  }

  /** A tensor of numbers or booleans with its data as ONNX's writer stores it. */
  public static TensorProto tensor(String name, HostTensor values, int... dims) {
    ByteBuffer raw =
        ByteBuffer.allocate(values.size() * values.dtype().bytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < values.size(); i++) {
      switch (values.dtype()) {
        case FP32 -> raw.putFloat(values.get(i));
        case FP16, BF16 -> raw.putShort(values.patterns()[i]);
        case INT32 -> raw.putInt(values.ints()[i]);
        case BOOL -> raw.put(values.bytes()[i]);
      }
    }
    return tensor(name, elementType(values.dtype()), raw.array(), dims);
  }

  /** An fp32 tensor. */
  public static TensorProto floats(String name, int[] dims, float... values) {
    ByteBuffer raw =
        ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      raw.putFloat(value);
    }
    return tensor(name, ElementType.FLOAT, raw.array(), dims);
  }

  /** An int64 tensor. */
  static TensorProto longs(String name, int[] dims, long... values) {
    ByteBuffer raw = ByteBuffer.allocate(values.length * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (long value : values) {
      raw.putLong(value);
    }
    return tensor(name, ElementType.INT64, raw.array(), dims);
  }

  static TensorProto tensor(String name, ElementType type, byte[] raw, int... dims) {
    TensorProto.Builder tensor =
        TensorProto.newBuilder()
            .setName(name)
            .setDataType(type.number())
            .setRawData(ByteString.copyFrom(raw));
    for (int dim : dims) {
      tensor.addDims(dim);
    }
    return tensor.build();
  }

  static ElementType elementType(DType dtype) {
    return switch (dtype) {
      case FP32 -> ElementType.FLOAT;
      case FP16 -> ElementType.FLOAT16;
      case BF16 -> ElementType.BFLOAT16;
      case INT32 -> ElementType.INT32;
      case BOOL -> ElementType.BOOL;
    };
  }
}
