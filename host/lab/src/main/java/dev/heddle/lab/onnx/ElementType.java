package dev.heddle.lab.onnx;

import ai.onnx.proto.OnnxMl.TensorProto.DataType;
import dev.heddle.core.DType;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;

/** The element types of ONNX that hold numbers or booleans in whole bytes. */
enum ElementType {
  FLOAT(DataType.FLOAT, 4),
  UINT8(DataType.UINT8, 1),
  INT8(DataType.INT8, 1),
  UINT16(DataType.UINT16, 2),
  INT16(DataType.INT16, 2),
  INT32(DataType.INT32, 4),
  INT64(DataType.INT64, 8),
  BOOL(DataType.BOOL, 1),
  FLOAT16(DataType.FLOAT16, 2),
  DOUBLE(DataType.DOUBLE, 8),
  UINT32(DataType.UINT32, 4),
  UINT64(DataType.UINT64, 8),
  BFLOAT16(DataType.BFLOAT16, 2);

  private final DataType code;
  private final int bytes;

  ElementType(DataType code, int bytes) {
    this.code = code;
    this.bytes = bytes;
  }

  /** The type of that number in ONNX's files; empty for one that is not among these. */
  static Optional<ElementType> of(int number) {
    return Arrays.stream(values()).filter(type -> type.number() == number).findFirst();
  }

  /** ONNX's name of a number, for messages: {@code 8 (string)}. */
  static String describe(int number) {
    DataType known = DataType.forNumber(number);
    return number + (known == null ? "" : " (" + known.name().toLowerCase(Locale.ROOT) + ")");
  }

  /** Its number in ONNX's files. */
  int number() {
    return code.getNumber();
  }

  /** Size of one element, bytes. */
  int bytes() {
    return bytes;
  }

  /** ONNX's name: {@code float}, {@code float16}, {@code int64}. */
  String label() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** Heddle's name where it has the type, ONNX's otherwise. */
  String type() {
    return operand().map(DType::label).orElseGet(this::label);
  }

  /** Heddle's type of operands of this type; empty where there is none. */
  Optional<DType> operand() {
    return switch (this) {
      case FLOAT -> Optional.of(DType.FP32);
      case FLOAT16 -> Optional.of(DType.FP16);
      case BFLOAT16 -> Optional.of(DType.BF16);
      default -> Optional.empty();
    };
  }
}
