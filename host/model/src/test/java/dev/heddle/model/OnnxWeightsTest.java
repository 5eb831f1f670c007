package dev.heddle.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.onnx.proto.OnnxMl.GraphProto;
import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.NodeProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import com.google.protobuf.ByteString;
import dev.heddle.core.Shape;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class OnnxWeightsTest {
  private static final Shape SHAPE = Shape.of(2, 3);
  private static final String NODE = "/encoder/layer.0/attention/self/query/MatMul";

  @Test
  void findsAConstantByItsName() {
    assertThat(parse(model(tensor(1, 2, 3, 4, 5, 6))).constant("w", SHAPE).floats())
        .containsExactly(1, 2, 3, 4, 5, 6);
  }

  @Test
  void findsAConstantThroughTheNodeThatMultipliesByIt() {
    assertThat(parse(model(tensor(1, 2, 3, 4, 5, 6))).multiplierOf(NODE, SHAPE).floats())
        .containsExactly(1, 2, 3, 4, 5, 6);
  }

  @Test
  void namesAMissingConstant() {
    assertRefused(
        () -> parse(model(tensor(1, 2, 3, 4, 5, 6))).constant("bias", SHAPE),
        "test.onnx has no constant named bias");
  }

  @Test
  void namesAMissingNode() {
    assertRefused(
        () -> parse(model(tensor(1, 2, 3, 4, 5, 6))).multiplierOf("/key/MatMul", SHAPE),
        "test.onnx has no MatMul node named /key/MatMul");
  }

  @Test
  void namesAnotherShape() {
    assertRefused(
        () -> parse(model(tensor(1, 2, 3, 4, 5, 6))).constant("w", Shape.of(3, 2)),
        "test.onnx: w has shape [2, 3], not [3, 2]");
  }

  @Test
  void namesAnotherType() {
    TensorProto.Builder halves = tensor(1, 2, 3, 4, 5, 6).setDataType(10);
    assertRefused(
        () -> parse(model(halves)).constant("w", SHAPE),
        "test.onnx: w has ONNX data type 10, not 1 (fp32)");
  }

  @Test
  void namesMissingBytes() {
    TensorProto.Builder truncated = tensor(1, 2, 3, 4, 5, 6);
    truncated.setRawData(truncated.getRawData().substring(0, 20));
    assertRefused(
        () -> parse(model(truncated)).constant("w", SHAPE),
        "test.onnx: w holds 20 bytes; shape [2, 3] needs 24");
  }

  @Test
  void namesValuesThatNoWeightCanHave() {
    assertRefused(
        () -> parse(model(tensor(1, 2, 3, Float.NaN, 5, 6))).constant("w", SHAPE),
        "test.onnx: w holds NaN at index 3");
    assertRefused(
        () -> parse(model(tensor(1, 2, 3, 4, 5, Float.NEGATIVE_INFINITY))).constant("w", SHAPE),
        "test.onnx: w holds -Infinity at index 5");
  }

  @Test
  void refusesWhatIsNoModelInOneLine() {
    byte[] text = "not a model at all".getBytes(StandardCharsets.UTF_8);
    assertThatThrownBy(() -> parse(text))
        .isInstanceOf(ModelException.class)
        .hasMessageStartingWith("test.onnx is damaged or no ONNX model: ")
        .satisfies(e -> assertThat(e.getMessage()).doesNotContain("\n"));
  }

  @Test
  void namesAReadError() throws IOException {
    InputStream closed = InputStream.nullInputStream();
    closed.close();
    assertRefused(
        () -> OnnxWeights.parse(closed, "test.onnx"), "test.onnx can't be read: Stream closed");
  }

  @Test
  void everyTruncationIsRefusedAndEveryFlippedBitIsRefusedOrHarmless() {
    byte[] whole = model(tensor(1, 2, 3, 4, 5, 6)).build().toByteArray();
    for (int length = 0; length < whole.length; length++) {
      byte[] truncated = Arrays.copyOf(whole, length);
      assertThatThrownBy(() -> parse(truncated).multiplierOf(NODE, SHAPE))
          .as("first %d bytes", length)
          .isInstanceOf(ModelException.class);
    }
    int refused = 0;
    for (int bit = 0; bit < 8 * whole.length; bit++) {
      byte[] flipped = whole.clone();
      flipped[bit / 8] ^= (byte) (1 << bit % 8);
      try {
        parse(flipped).multiplierOf(NODE, SHAPE);
      } catch (ModelException e) {
        refused++;
      }
    }
    assertThat(refused).isPositive();
  }

  private static OnnxWeights parse(ModelProto.Builder model) {
    return parse(model.build().toByteArray());
  }

  private static OnnxWeights parse(byte[] bytes) {
    return OnnxWeights.parse(new ByteArrayInputStream(bytes), "test.onnx");
  }

  private static void assertRefused(Runnable attempt, String message) {
    assertThatThrownBy(attempt::run).isInstanceOf(ModelException.class).hasMessage(message);
  }

  private static TensorProto.Builder tensor(float... values) {
    ByteBuffer raw =
        ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    raw.asFloatBuffer().put(values);
    return TensorProto.newBuilder()
        .setName("w")
        .setDataType(TensorProto.DataType.FLOAT.getNumber())
        .addDims(2)
        .addDims(3)
        .setRawData(ByteString.copyFrom(raw));
  }

  private static ModelProto.Builder model(TensorProto.Builder tensor) {
    NodeProto matMul =
        NodeProto.newBuilder()
            .setName(NODE)
            .setOpType("MatMul")
            .addInput("x")
            .addInput("w")
            .build();
    return ModelProto.newBuilder()
        .setGraph(GraphProto.newBuilder().addNode(matMul).addInitializer(tensor));
  }
}
