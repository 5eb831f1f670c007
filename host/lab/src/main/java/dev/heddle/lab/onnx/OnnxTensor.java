package dev.heddle.lab.onnx;

import ai.onnx.proto.OnnxMl.StringStringEntryProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import com.google.protobuf.ByteString;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import dev.heddle.lab.files.TensorFileException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntToLongFunction;

/** A tensor of ONNX with its own type and dimensions, any of which may be 0. */
final class OnnxTensor {
  /** Longest list of dimensions that a message has to bear; ONNX's operators take 4. */
  private static final int MOST_DIMS = 16;

  private final Path file;
  private final String name;
  private final ElementType type;
  private final List<Integer> dims;
  private final ByteBuffer elements;

  private OnnxTensor(
      Path file, String name, ElementType type, List<Integer> dims, ByteBuffer elements) {
    this.file = file;
    this.name = name;
    this.type = type;
    this.dims = List.copyOf(dims);
    this.elements = elements;
  }

  /**
   * Reads a file that holds one tensor.
   *
   * @param name what to call it; the name in the file is no one's business, ONNX goes by the order
   * @throws TensorFileException naming what is wrong with the file
   */
  static OnnxTensor read(Path file, String name) {
    return of(file, name, ProtoFile.parse(file, TensorProto::parseFrom, "tensor of ONNX"));
  }

  /**
   * A tensor that is part of a file.
   *
   * @param name what to call it in messages
   * @throws TensorFileException naming the first thing in it that contradicts another
   */
  static OnnxTensor of(Path file, String name, TensorProto proto) {
    if (proto.getDataLocation() == TensorProto.DataLocation.EXTERNAL
        || proto.getExternalDataCount() > 0) {
      throw failure(
          file,
          name,
          "keeps its data in another file, "
              + proto.getExternalDataList().stream()
                  .filter(entry -> entry.getKey().equals("location"))
                  .map(StringStringEntryProto::getValue)
                  .findFirst()
                  .map(location -> "'" + TensorFileException.quote(location) + "'")
                  .orElse("of no name")
              + ", which is never read; a test has its data in itself");
    }
    if (proto.hasSegment()) {
      throw failure(file, name, "is a segment of a tensor; a whole one is needed");
    }
    ElementType type =
        ElementType.of(proto.getDataType())
            .orElseThrow(() ->
                failure(
                    file,
                    name,
                    "has data type "
                        + ElementType.describe(proto.getDataType())
                        + "; numbers and booleans are needed"));
    List<Integer> dims = dims(file, name, proto.getDimsList());
    int count = count(file, name, dims, type);
    return new OnnxTensor(file, name, type, dims, elements(file, name, type, dims, count, proto));
  }

  private static List<Integer> dims(Path file, String name, List<Long> stated) {
    if (stated.size() > MOST_DIMS) {
      throw failure(file, name, "has " + stated.size() + " dimensions; at most 4 are needed");
    }
    List<Integer> dims = new ArrayList<>();
    for (long dim : stated) {
      if (dim < 0 || dim > Integer.MAX_VALUE) {
        throw failure(
            file,
            name,
            "has shape "
                + stated
                + " with dimension "
                + dim
                + "; each must be from 0 to "
                + Integer.MAX_VALUE);
      }
      dims.add((int) dim);
    }
    return dims;
  }

  /** Product of the dimensions, once its bytes are known to fit an array. */
  private static int count(Path file, String name, List<Integer> dims, ElementType type) {
    if (dims.contains(0)) {
      return 0;
    }
    long count = 1;
    for (int dim : dims) {
      // Both factors are below 2^31.
      count *= dim;
      if (count > ProtoFile.MOST_BYTES / type.bytes()) {
        throw failure(
            file,
            name,
            "has shape "
                + dims
                + ", more than the "
                + ProtoFile.MOST_BYTES
                + " bytes that are read of a test's file");
      }
    }
    return (int) count;
  }

  private static ByteBuffer elements(
      Path file, String name, ElementType type, List<Integer> dims, int count, TensorProto proto) {
    int typed =
        proto.getFloatDataCount()
            + proto.getInt32DataCount()
            + proto.getInt64DataCount()
            + proto.getDoubleDataCount()
            + proto.getUint64DataCount()
            + proto.getStringDataCount();
    ByteString raw = proto.getRawData();
    if (!raw.isEmpty() && typed > 0) {
      throw failure(
          file, name, "has raw_data and " + typed + " typed values; one of them is needed");
    }
    long bytes = (long) count * type.bytes();
    // Allocated once the file is known to hold as much: what it declares costs nothing.
    if (typed == 0) {
      if (raw.size() != bytes) {
        throw failure(
            file,
            name,
            "holds " + raw.size() + " bytes; " + type.label() + " " + dims + " needs " + bytes);
      }
      ByteBuffer elements = allocate(bytes).put(raw.asReadOnlyByteBuffer()).flip();
      if (type == ElementType.BOOL) {
        requireBooleans(file, name, elements);
      }
      return elements;
    }
    Typed field = Typed.of(type, proto);
    if (field.count != count || typed != count) {
      throw failure(
          file,
          name,
          "holds "
              + field.count
              + " values of its type in "
              + field.name
              + ", "
              + typed
              + " in all; "
              + type.label()
              + " "
              + dims
              + " needs "
              + count);
    }
    ByteBuffer elements = allocate(bytes);
    for (int i = 0; i < count; i++) {
      put(file, name, type, field.values.applyAsLong(i), elements);
    }
    return elements.flip();
  }

  private static ByteBuffer allocate(long bytes) {
    return ByteBuffer.allocate(Math.toIntExact(bytes)).order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * The typed field in which ONNX keeps a type.
   *
   * @param values each element: an integer itself, a floating-point number as its bits
   */
  private record Typed(String name, int count, IntToLongFunction values) {
    static Typed of(ElementType type, TensorProto proto) {
      return switch (type) {
        case FLOAT ->
            new Typed(
                "float_data",
                proto.getFloatDataCount(),
                i -> Float.floatToRawIntBits(proto.getFloatData(i)));
        case DOUBLE ->
            new Typed(
                "double_data",
                proto.getDoubleDataCount(),
                i -> Double.doubleToRawLongBits(proto.getDoubleData(i)));
        case INT64 -> new Typed("int64_data", proto.getInt64DataCount(), proto::getInt64Data);
        case UINT32, UINT64 ->
            new Typed("uint64_data", proto.getUint64DataCount(), proto::getUint64Data);
        case INT8, UINT8, INT16, UINT16, INT32, BOOL, FLOAT16, BFLOAT16 ->
            new Typed("int32_data", proto.getInt32DataCount(), proto::getInt32Data);
      };
    }
  }

  private static void put(
      Path file, String name, ElementType type, long value, ByteBuffer elements) {
    long least =
        switch (type) {
          case INT8 -> Byte.MIN_VALUE;
          case INT16 -> Short.MIN_VALUE;
          case INT32, FLOAT -> Integer.MIN_VALUE;
          case INT64, UINT64, DOUBLE -> Long.MIN_VALUE;
          case UINT8, UINT16, UINT32, BOOL, FLOAT16, BFLOAT16 -> 0;
        };
    long most =
        switch (type) {
          case BOOL -> 1;
          case INT8 -> Byte.MAX_VALUE;
          case UINT8 -> 0xFF;
          case INT16 -> Short.MAX_VALUE;
          case UINT16, FLOAT16, BFLOAT16 -> 0xFFFF;
          case INT32, FLOAT -> Integer.MAX_VALUE;
          case UINT32 -> 0xFFFF_FFFFL;
          case INT64, UINT64, DOUBLE -> Long.MAX_VALUE;
        };
    if (value < least || value > most) {
      throw failure(
          file, name, "holds " + value + ", which is no " + type.label() + " nor the bits of one");
    }
    switch (type.bytes()) {
      case 1 -> elements.put((byte) value);
      case 2 -> elements.putShort((short) value);
      case 4 -> elements.putInt((int) value);
      default -> elements.putLong(value);
    }
  }

  private static void requireBooleans(Path file, String name, ByteBuffer elements) {
    for (int i = 0; i < elements.limit(); i++) {
      if (elements.get(i) != 0 && elements.get(i) != 1) {
        throw failure(
            file,
            name,
            "holds the byte " + (elements.get(i) & 0xFF) + " at index " + i + "; a bool is 0 or 1");
      }
    }
  }

  private static TensorFileException failure(Path file, String name, String problem) {
    return new TensorFileException(file, TensorFileException.quote(name) + " " + problem);
  }

  /** A complaint about this tensor, which names its file. */
  TensorFileException failure(String problem) {
    return failure(file, name, problem);
  }

  /** The same under another name. */
  OnnxTensor named(String other) {
    return new OnnxTensor(file, other, type, dims, elements);
  }

  /** What it is called. */
  String name() {
    return name;
  }

  ElementType type() {
    return type;
  }

  /** Dimensions, outermost first; none for a scalar. */
  List<Integer> dims() {
    return dims;
  }

  int rank() {
    return dims.size();
  }

  int dim(int axis) {
    return dims.get(axis);
  }

  int count() {
    return elements.limit() / type.bytes();
  }

  /**
   * The dimensions as a shape of Heddle's.
   *
   * @throws IllegalArgumentException for a scalar and where a dimension is 0
   */
  Shape shape() {
    return new Shape(dims);
  }

  /** Element {@code index} of an integer or boolean tensor. */
  long integer(int index) {
    return switch (type) {
      case INT8, BOOL -> elements.get(index);
      case UINT8 -> elements.get(index) & 0xFF;
      case INT16 -> elements.getShort(index * 2);
      case UINT16 -> elements.getShort(index * 2) & 0xFFFF;
      case INT32 -> elements.getInt(index * 4);
      case UINT32 -> elements.getInt(index * 4) & 0xFFFF_FFFFL;
      case INT64, UINT64 -> elements.getLong(index * 8);
      case FLOAT, FLOAT16, BFLOAT16, DOUBLE ->
          throw new IllegalStateException(type.label() + " is no integer");
    };
  }

  /**
   * The same, checked to be within a range.
   *
   * @param what what the upper end is
   * @throws TensorFileException naming the element that is not
   */
  int integer(int index, int least, int most, String what) {
    long value = integer(index);
    if (value < least || value > most) {
      throw failure(
          "holds "
              + value
              + " at index "
              + index
              + "; it must be from "
              + least
              + " to "
              + most
              + ", "
              + what);
    }
    return (int) value;
  }

  /**
   * Checks the type.
   *
   * @throws TensorFileException when it is another
   */
  void requireType(ElementType needed) {
    if (type != needed) {
      throw failure("is " + type.label() + "; " + needed.label() + " is needed");
    }
  }

  /** Element {@code index} of an fp32, fp16, bf16 or boolean tensor. */
  float number(int index) {
    return switch (type) {
      case FLOAT -> elements.getFloat(index * 4);
      case FLOAT16 -> DType.FP16.decode(elements.getShort(index * 2));
      case BFLOAT16 -> DType.BF16.decode(elements.getShort(index * 2));
      case BOOL -> elements.get(index);
      default -> throw new IllegalStateException(type.label() + " is no operand's type");
    };
  }

  /** A copy for a device, in a type that holds every value of this tensor's own. */
  HostTensor host(Shape shape, DType dtype) {
    HostTensor copy = HostTensor.zeros(shape, dtype);
    for (int i = 0; i < copy.size(); i++) {
      copy.set(i, number(i));
    }
    return copy;
  }

  /** As {@code Q float [2, 3, 4, 8]}. */
  @Override
  public String toString() {
    return TensorFileException.quote(name) + " " + type.label() + " " + dims;
  }
}
