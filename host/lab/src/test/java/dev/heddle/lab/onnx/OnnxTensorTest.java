package dev.heddle.lab.onnx;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.onnx.proto.OnnxMl.StringStringEntryProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import com.google.protobuf.ByteString;
import dev.heddle.core.DType;
import dev.heddle.core.Shape;
import dev.heddle.lab.files.TensorFileException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class OnnxTensorTest {
  @TempDir private Path folder;

  private Path file(TensorProto.Builder tensor) throws IOException {
    Path file = folder.resolve("input_0.pb");
    NodeTest.save(file, tensor.build());
    return file;
  }

  private OnnxTensor read(TensorProto.Builder tensor) throws IOException {
    return OnnxTensor.read(file(tensor), "Q");
  }

  private static TensorProto.Builder tensor(ElementType type, long... dims) {
    TensorProto.Builder tensor = TensorProto.newBuilder().setDataType(type.number());
    Arrays.stream(dims).forEach(tensor::addDims);
    return tensor;
  }

  private static ByteString bytes(int... values) {
    byte[] bytes = new byte[values.length];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) values[i];
    }
    return ByteString.copyFrom(bytes);
  }

  /** Every type in both of its encodings: -2 or the largest value, and 1. */
  static Stream<Arguments> encodings() {
    int half = Short.toUnsignedInt(DType.FP16.encode(-2));
    int brain = Short.toUnsignedInt(DType.BF16.encode(-2));
    return Stream.of(
        Arguments.of(
            ElementType.FLOAT,
            bytes(0, 0, 0, 0xC0, 0, 0, 0x80, 0x3F),
            tensor(ElementType.FLOAT, 2).addFloatData(-2).addFloatData(1)),
        Arguments.of(
            ElementType.FLOAT16,
            bytes(0, 0xC0, 0, 0x3C),
            tensor(ElementType.FLOAT16, 2).addInt32Data(half).addInt32Data(0x3C00)),
        Arguments.of(
            ElementType.BFLOAT16,
            bytes(0, 0xC0, 0x80, 0x3F),
            tensor(ElementType.BFLOAT16, 2).addInt32Data(brain).addInt32Data(0x3F80)),
        Arguments.of(
            ElementType.BOOL,
            bytes(0, 1),
            tensor(ElementType.BOOL, 2).addInt32Data(0).addInt32Data(1)),
        Arguments.of(
            ElementType.INT8,
            bytes(0xFE, 1),
            tensor(ElementType.INT8, 2).addInt32Data(-2).addInt32Data(1)),
        Arguments.of(
            ElementType.UINT8,
            bytes(0xFE, 1),
            tensor(ElementType.UINT8, 2).addInt32Data(254).addInt32Data(1)),
        Arguments.of(
            ElementType.INT16,
            bytes(0xFE, 0xFF, 1, 0),
            tensor(ElementType.INT16, 2).addInt32Data(-2).addInt32Data(1)),
        Arguments.of(
            ElementType.UINT16,
            bytes(0xFE, 0xFF, 1, 0),
            tensor(ElementType.UINT16, 2).addInt32Data(65534).addInt32Data(1)),
        Arguments.of(
            ElementType.INT32,
            bytes(0xFE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0),
            tensor(ElementType.INT32, 2).addInt32Data(-2).addInt32Data(1)),
        Arguments.of(
            ElementType.UINT32,
            bytes(0xFE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0),
            tensor(ElementType.UINT32, 2).addUint64Data(4294967294L).addUint64Data(1)),
        Arguments.of(
            ElementType.INT64,
            bytes(0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0, 0, 0, 0),
            tensor(ElementType.INT64, 2).addInt64Data(-2).addInt64Data(1)),
        Arguments.of(
            ElementType.UINT64,
            bytes(0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 1, 0, 0, 0, 0, 0, 0, 0),
            tensor(ElementType.UINT64, 2).addUint64Data(Long.MAX_VALUE - 1).addUint64Data(1)),
        Arguments.of(
            ElementType.DOUBLE,
            bytes(0, 0, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F),
            tensor(ElementType.DOUBLE, 2).addDoubleData(-2).addDoubleData(1)));
  }

  @ParameterizedTest
  @MethodSource("encodings")
  void rawAndTypedDataAreTheSame(ElementType type, ByteString raw, TensorProto.Builder typed)
      throws IOException {
    OnnxTensor byBytes = read(tensor(type, 2).setRawData(raw));
    OnnxTensor byValues = read(typed);
    for (OnnxTensor tensor : List.of(byBytes, byValues)) {
      assertThat(tensor.type()).isEqualTo(type);
      assertThat(tensor.count()).isEqualTo(2);
      assertThat(tensor).hasToString("Q " + type.label() + " [2]");
      switch (type) {
        case FLOAT, FLOAT16, BFLOAT16 -> {
          assertThat(tensor.number(0)).isEqualTo(-2);
          assertThat(tensor.number(1)).isEqualTo(1);
          assertThat(tensor.host(Shape.of(1, 2), DType.FP32).floats()).containsExactly(-2, 1);
        }
        case BOOL -> assertThat(tensor.host(Shape.of(2), DType.BOOL).bytes()).containsExactly(0, 1);
        case INT8, INT16, INT32, INT64 -> assertThat(tensor.integer(0)).isEqualTo(-2);
        case UINT8, UINT16, UINT32 ->
            assertThat(tensor.integer(0)).isEqualTo((1L << (8 * type.bytes())) - 2);
        case UINT64 -> assertThat(tensor.integer(0)).isEqualTo(Long.MAX_VALUE - 1);
        case DOUBLE -> assertThat(type.operand()).isEmpty();
      }
      if (!type.operand().isPresent() && type != ElementType.DOUBLE) {
        assertThat(tensor.integer(1)).isEqualTo(1);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(ElementType.class)
  void aTensorMayBeEmptyAndAScalarHasNoDimension(ElementType type) throws IOException {
    assertThat(read(tensor(type, 2, 0, 3)).count()).isZero();
    OnnxTensor scalar = read(tensor(type).setRawData(ByteString.copyFrom(new byte[type.bytes()])));
    assertThat(scalar.rank()).isZero();
    assertThat(scalar.count()).isEqualTo(1);
  }

  /** What a message says of a file that is wrong, and that the message is one line. */
  private void rejects(TensorProto.Builder tensor, String... parts) throws IOException {
    Path file = file(tensor);
    assertThatThrownBy(() -> OnnxTensor.read(file, "Q"))
        .isInstanceOf(TensorFileException.class)
        .hasMessageStartingWith(file + ": ")
        .hasMessageNotContaining("\n")
        .satisfies(e -> assertThat(e.getMessage()).contains(parts));
  }

  @Test
  void dimensionsThatNoFileCanHold() throws IOException {
    rejects(tensor(ElementType.FLOAT, 2, -3), "dimension -3");
    rejects(tensor(ElementType.FLOAT, Long.MIN_VALUE), "dimension -9223372036854775808");
    rejects(tensor(ElementType.FLOAT, 1L << 31), "dimension 2147483648");
    rejects(tensor(ElementType.FLOAT, 1 << 30, 1 << 30, 4), "[1073741824, 1073741824, 4]");
    // Four of these make 2^64, which is 0 in 64 bits.
    rejects(
        tensor(ElementType.FLOAT, 1 << 16, 1 << 16, 1 << 16, 1 << 16), "more than the 268435456");
    rejects(tensor(ElementType.INT64, 1 << 26), "more than the 268435456");
    rejects(tensor(ElementType.FLOAT, new long[17]), "17 dimensions");
  }

  @Test
  void dataThatIsNotWhatTheDimensionsSay() throws IOException {
    rejects(tensor(ElementType.FLOAT, 2).setRawData(bytes(0, 0, 0, 0)), "holds 4 bytes", "needs 8");
    rejects(tensor(ElementType.FLOAT, 1 << 25), "holds 0 bytes", "needs 134217728");
    rejects(tensor(ElementType.FLOAT, 2, 0).setRawData(bytes(1)), "holds 1 bytes", "needs 0");
    rejects(tensor(ElementType.FLOAT, 3).addFloatData(1), "1 values", "float_data", "needs 3");
    rejects(tensor(ElementType.FLOAT, 1).addInt32Data(1), "0 values", "float_data", "1 in all");
    rejects(tensor(ElementType.FLOAT, 1).addFloatData(1).addDoubleData(1), "1 values", "2 in all");
    rejects(
        tensor(ElementType.FLOAT, 1).setRawData(bytes(0, 0, 0, 0)).addFloatData(1),
        "raw_data and 1 typed");
    rejects(tensor(ElementType.BOOL, 2).setRawData(bytes(1, 2)), "the byte 2 at index 1");
    rejects(tensor(ElementType.BOOL, 1).addInt32Data(2), "holds 2", "no bool");
    rejects(tensor(ElementType.FLOAT16, 1).addInt32Data(65536), "holds 65536", "no float16");
    rejects(tensor(ElementType.FLOAT16, 1).addInt32Data(-1), "holds -1", "no float16");
    rejects(tensor(ElementType.INT8, 1).addInt32Data(-129), "holds -129", "no int8");
    rejects(tensor(ElementType.UINT32, 1).addUint64Data(-1), "holds -1", "no uint32");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 8, 14, 17, 22, 9999, -1})
  void typesThatAreNoNumbers(int type) throws IOException {
    rejects(TensorProto.newBuilder().setDataType(type), "data type " + type);
  }

  /** The file that it names is there and readable: it is the reader that does not look. */
  @Test
  void dataInAnotherFileIsNeverRead() throws IOException {
    Path secret = Files.write(folder.resolve("secret"), new byte[] {0, 0, 0, 0});
    for (String location :
        List.of("secret", "../../../../etc/passwd", "/etc/passwd", secret.toString())) {
      TensorProto.Builder external =
          tensor(ElementType.FLOAT, 1)
              .addExternalData(
                  StringStringEntryProto.newBuilder().setKey("location").setValue(location));
      rejects(external, "'" + location + "'", "never read");
      rejects(
          external.setDataLocation(TensorProto.DataLocation.EXTERNAL),
          "'" + location + "'",
          "never read");
    }
    rejects(
        tensor(ElementType.FLOAT, 1).setDataLocation(TensorProto.DataLocation.EXTERNAL),
        "another file",
        "never read");
    rejects(
        tensor(ElementType.FLOAT, 1)
            .addExternalData(
                StringStringEntryProto.newBuilder().setKey("location").setValue("a\nb\u2028c")),
        "a\\u000ab\\u2028c");
  }

  @Test
  void aSegmentIsNoTensor() throws IOException {
    rejects(
        tensor(ElementType.FLOAT, 0).setSegment(TensorProto.Segment.newBuilder().setEnd(1)),
        "segment");
  }

  @Test
  void filesThatAreNone() throws IOException {
    Path whole = file(tensor(ElementType.FLOAT, 2).setRawData(bytes(0, 0, 0, 0, 0, 0, 0x80, 0x3F)));
    byte[] content = Files.readAllBytes(whole);
    // Cut between two fields it is a smaller message, which its own numbers contradict.
    for (int length = 0; length < content.length; length++) {
      Path cut = Files.write(folder.resolve("cut"), Arrays.copyOf(content, length));
      assertThatThrownBy(() -> OnnxTensor.read(cut, "Q"))
          .as("%d bytes", length)
          .isInstanceOf(TensorFileException.class)
          .hasMessageStartingWith(cut + ": ")
          .hasMessageNotContaining("\n");
    }
    Path missing = folder.resolve("missing");
    assertThatThrownBy(() -> OnnxTensor.read(missing, "Q")).hasMessage(missing + ": no such file");
    assertThatThrownBy(() -> OnnxTensor.read(folder, "Q"))
        .hasMessageStartingWith(folder + ": is a directory");
    Path large = folder.resolve("large");
    try (RandomAccessFile sparse = new RandomAccessFile(large.toFile(), "rw")) {
      sparse.setLength(ProtoFile.MOST_BYTES + 1L);
    }
    assertThatThrownBy(() -> OnnxTensor.read(large, "Q"))
        .isInstanceOf(TensorFileException.class)
        .hasMessageContaining("has 268435457 bytes; at most 268435456");
  }

  /** A length of 2 GiB in a file of a few bytes: nothing of that size is allocated. */
  @Test
  void aDeclaredLengthIsNotBelieved() throws IOException {
    // Field 9, raw_data, of 2^31 - 1 bytes.
    Path file =
        Files.write(
            folder.resolve("declares"),
            bytes(0x4A, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 1, 2).toByteArray());
    assertThatThrownBy(() -> OnnxTensor.read(file, "Q"))
        .isInstanceOf(TensorFileException.class)
        .hasMessageContaining("is damaged or no tensor of ONNX");
  }
}
