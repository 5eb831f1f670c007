package dev.heddle.lab.files;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/**
 * NumPy's {@code .npy}: one array after a short text header. Little-endian float32 and float16 in C
 * order are read and written; every other layout is refused by name, bf16 too, which NumPy does not
 * have. Format versions 1.0 to 3.0 are read, 1.0 is written, byte for byte as {@code numpy.save}
 * would.
 *
 * <p>Source: NumPy, {@code numpy.lib.format}, "Format Specification".
 */
public final class NpyFile {
  private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y'};
  private static final int VERSION_BYTES = 2;
  private static final int ALIGNMENT = 64;
  private static final int LONGEST_HEADER = 1 << 16;
  private static final Map<String, DType> TYPES =
      Map.of("<f4", DType.FP32, "<f2", DType.FP16, "<i4", DType.INT32, "|b1", DType.BOOL);
  private static final List<DType> FLOATS = List.of(DType.FP32, DType.FP16);

  private NpyFile() {}

  /**
   * Reads an fp32 or fp16 array of any number of dimensions.
   *
   * @throws TensorFileException when the file can't be read, is malformed or holds something else
   */
  public static HostTensor read(Path file) {
    return read(file, InputFile.ANY_RANK);
  }

  /**
   * Reads an fp32 or fp16 array of {@code rank} dimensions. All of the header is checked against
   * the file's size before memory for the elements is taken.
   *
   * @throws TensorFileException when the file can't be read, is malformed or holds something else
   */
  public static HostTensor read(Path file, int rank) {
    return read(file, rank, FLOATS);
  }

  /**
   * Reads an array of one of these types, of any number of dimensions.
   *
   * @throws TensorFileException when the file can't be read, is malformed or holds something else
   */
  public static HostTensor read(Path file, List<DType> types) {
    return read(file, InputFile.ANY_RANK, types);
  }

  private static HostTensor read(Path file, int rank, List<DType> types) {
    try (InputFile input = InputFile.open(file)) {
      int prefix = prefixBytes(input);
      int length = headerLength(input, prefix);
      NpyHeader header = header(input, prefix, length);
      DType dtype = TYPES.get(header.descr());
      if (dtype == null || !types.contains(dtype)) {
        throw input.failure(
            "dtype '"
                + TensorFileException.quote(header.descr())
                + "'"
                + inWords(header.descr())
                + "; "
                + needed(types));
      }
      if (header.fortranOrder()) {
        throw input.failure(
            "is in Fortran order; C order is needed (numpy.ascontiguousarray makes it)");
      }
      Shape shape = input.shape("array", header.shape(), rank);
      long position = prefix + (long) length;
      long present = input.size() - position;
      long needed = shape.elements() * dtype.bytes();
      if (present < needed) {
        throw input.failure(
            "is truncated: shape "
                + shape
                + " needs "
                + needed
                + " bytes of data, "
                + present
                + " are there");
      }
      if (present > needed) {
        throw input.failure(
            "has "
                + (present - needed)
                + " bytes after the "
                + needed
                + " bytes of data that shape "
                + shape
                + " needs");
      }
      return input.tensor("array", shape, dtype, position);
    }
  }

  /**
   * Writes a tensor of any type but bf16; the file appears whole or not at all.
   *
   * @throws IllegalArgumentException when the tensor is bf16
   * @throws TensorFileException when the file can't be written
   */
  public static void write(Path file, HostTensor tensor) {
    try (AtomicFileGroup files = new AtomicFileGroup()) {
      write(files, file, tensor);
      files.commit();
    }
  }

  /**
   * Writes a tensor of any type but bf16 as one file of a group.
   *
   * @throws IllegalArgumentException when the tensor is bf16
   * @throws TensorFileException when the file can't be written
   */
  public static void write(AtomicFileGroup files, Path file, HostTensor tensor) {
    String descr =
        TYPES.entrySet().stream()
            .filter(type -> type.getValue() == tensor.dtype())
            .map(Map.Entry::getKey)
            .findFirst()
            .orElseThrow(() ->
                new IllegalArgumentException(
                    ".npy has no " + tensor.dtype().label() + "; .safetensors has"));
    byte[] header = NpyHeader.format(descr, tensor.shape()).getBytes(StandardCharsets.US_ASCII);
    int prefix = MAGIC.length + VERSION_BYTES + Short.BYTES;
    // At least one byte: the header ends with a line feed, at a multiple of the alignment.
    int padding = ALIGNMENT - (prefix + header.length + 1) % ALIGNMENT + 1;
    byte[] start = new byte[prefix + header.length + padding];
    Arrays.fill(start, (byte) ' ');
    start[start.length - 1] = '\n';
    ByteBuffer.wrap(start)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(MAGIC)
        .put((byte) 1)
        .put((byte) 0)
        .putShort((short) (start.length - prefix))
        .put(header);
    files.add(
        file,
        channel -> {
          TensorBytes.writeFully(ByteBuffer.wrap(start), channel);
          TensorBytes.write(tensor, channel);
        });
  }

  /** Bytes before the dictionary, once the magic string and the version are right. */
  private static int prefixBytes(InputFile input) {
    int shortest = MAGIC.length + VERSION_BYTES + Short.BYTES;
    if (input.size() < shortest) {
      throw input.failure(
          input.size() == 0
              ? "is empty"
              : "has " + input.size() + " bytes; an .npy header takes at least " + shortest);
    }
    byte[] start = input.bytes(0, MAGIC.length + VERSION_BYTES).array();
    if (!Arrays.equals(start, 0, MAGIC.length, MAGIC, 0, MAGIC.length)) {
      throw input.failure(
          "is not an .npy file: it begins with "
              + HexFormat.of().formatHex(start, 0, MAGIC.length)
              + (start[0] == 'P' && start[1] == 'K' ? ", a zip archive such as .npz," : "")
              + " and not with "
              + HexFormat.of().formatHex(MAGIC)
              + " (\\x93NUMPY)");
    }
    int major = Byte.toUnsignedInt(start[MAGIC.length]);
    int minor = Byte.toUnsignedInt(start[MAGIC.length + 1]);
    if (major < 1 || major > 3 || minor != 0) {
      throw input.failure(
          ".npy format version " + major + "." + minor + "; 1.0, 2.0 and 3.0 are known");
    }
    return MAGIC.length + VERSION_BYTES + (major == 1 ? Short.BYTES : Integer.BYTES);
  }

  private static int headerLength(InputFile input, int prefix) {
    int field = MAGIC.length + VERSION_BYTES;
    if (input.size() < prefix) {
      throw input.failure("is truncated: it ends within the header's length");
    }
    ByteBuffer bytes = input.bytes(field, prefix - field);
    long length =
        prefix - field == Short.BYTES
            ? Short.toUnsignedInt(bytes.getShort())
            : Integer.toUnsignedLong(bytes.getInt());
    if (length > input.size() - prefix) {
      throw input.failure(
          "is truncated: its header is "
              + length
              + " bytes long, "
              + (input.size() - prefix)
              + " are there");
    }
    if (length > LONGEST_HEADER) {
      throw input.failure(
          "its header is " + length + " bytes long; at most " + LONGEST_HEADER + " are read");
    }
    return (int) length;
  }

  private static NpyHeader header(InputFile input, int prefix, int length) {
    // Version 3.0 has UTF-8, for the field names of structured types; those are refused anyway, so
    // that Latin-1 shows at worst a wrong letter in the message.
    String text = new String(input.bytes(prefix, length).array(), StandardCharsets.ISO_8859_1);
    try {
      return NpyHeader.parse(text);
    } catch (IllegalArgumentException e) {
      throw input.failure("its header " + e.getMessage());
    }
  }

  /** NumPy's notation spelled out, where it is one of a number. */
  /** As {@code little-endian float32 ('<f4') or float16 ('<f2') is needed}. */
  private static String needed(List<DType> types) {
    List<String> names = new ArrayList<>();
    for (DType type : types) {
      names.add(
          switch (type) {
            case FP32 -> "float32 ('<f4')";
            case FP16 -> "float16 ('<f2')";
            case INT32 -> "int32 ('<i4')";
            case BOOL -> "bool ('|b1')";
            case BF16 -> throw new IllegalArgumentException(".npy has no bf16");
          });
    }
    return "little-endian " + String.join(" or ", names) + " is needed";
  }

  private static String inWords(String descr) {
    if (!descr.matches("[<>|=]?[fiucb][0-9]{1,2}")) {
      return "";
    }
    int letter = Character.isLetter(descr.charAt(0)) ? 0 : 1;
    String kind =
        switch (descr.charAt(letter)) {
          case 'f' -> "float";
          case 'i' -> "int";
          case 'u' -> "uint";
          case 'c' -> "complex";
          default -> "bool";
        };
    String order = descr.charAt(0) == '>' ? "big-endian " : "";
    int bits = 8 * Integer.parseInt(descr.substring(letter + 1));
    return " (" + order + (kind.equals("bool") ? kind : kind + bits) + ")";
  }
}
