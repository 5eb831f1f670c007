package dev.heddle.lab.files;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * The {@code .safetensors} format: named tensors after a JSON header. F32, F16 and BF16 are read
 * and written; a file may hold others beside those asked for. Free text under {@code __metadata__}
 * is skipped.
 *
 * <p>Source: Hugging Face, safetensors, README.md, "Format".
 */
public final class SafetensorsFile {
  private static final int LENGTH_BYTES = Long.BYTES;
  private static final int ALIGNMENT = 8;
  private static final int LONGEST_HEADER = 1 << 23;
  private static final int MOST_NAMES = 12;

  private SafetensorsFile() {}

  /**
   * Reads the tensors of those names, of any number of dimensions.
   *
   * @throws TensorFileException when the file can't be read, is malformed, lacks a tensor or holds
   *     it in another type
   */
  public static Map<String, HostTensor> read(Path file, Collection<String> names) {
    return read(file, names, InputFile.ANY_RANK);
  }

  /**
   * Reads the tensors of those names, each of {@code rank} dimensions; the others' data is not
   * touched. All of the header is checked against the file's size before memory for elements is
   * taken.
   *
   * @throws TensorFileException when the file can't be read, is malformed, lacks a tensor or holds
   *     it in another type
   */
  public static Map<String, HostTensor> read(Path file, Collection<String> names, int rank) {
    try (InputFile input = InputFile.open(file)) {
      int length = headerLength(input);
      long data = LENGTH_BYTES + (long) length;
      SafetensorsHeader header = header(input, length, data);
      Map<String, Located> located = new LinkedHashMap<>();
      for (String name : names) {
        located.put(name, locate(input, header, name, rank));
      }
      Map<String, HostTensor> tensors = new LinkedHashMap<>();
      located.forEach((name, at) ->
          tensors.put(name, input.tensor("tensor " + name, at.shape, at.dtype, data + at.begin)));
      return tensors;
    }
  }

  /**
   * Writes tensors by name; the file appears whole or not at all.
   *
   * @throws TensorFileException when the file can't be written
   */
  public static void write(Path file, Map<String, HostTensor> tensors) {
    try (AtomicFileGroup files = new AtomicFileGroup()) {
      write(files, file, tensors);
      files.commit();
    }
  }

  /**
   * Writes tensors by name as one file of a group.
   *
   * @throws TensorFileException when the file can't be written
   */
  public static void write(AtomicFileGroup files, Path file, Map<String, HostTensor> tensors) {
    if (tensors.containsKey(SafetensorsHeader.METADATA)) {
      throw new TensorFileException(
          file, "a tensor can't be named " + SafetensorsHeader.METADATA + "; the format uses it");
    }
    // Wide elements first, so that each begins at a multiple of its size.
    Map<String, HostTensor> ordered = new LinkedHashMap<>();
    tensors.entrySet().stream()
        .sorted(
            Comparator.comparing((Map.Entry<String, HostTensor> e) -> -e.getValue().dtype().bytes())
                .thenComparing(Map.Entry::getKey))
        .forEach(e -> ordered.put(e.getKey(), e.getValue()));
    byte[] header = SafetensorsHeader.format(ordered);
    int padded = Math.ceilDiv(header.length, ALIGNMENT) * ALIGNMENT;
    byte[] start = new byte[LENGTH_BYTES + padded];
    Arrays.fill(start, (byte) ' ');
    ByteBuffer.wrap(start).order(ByteOrder.LITTLE_ENDIAN).putLong(padded).put(header);
    files.add(
        file,
        channel -> {
          TensorBytes.writeFully(ByteBuffer.wrap(start), channel);
          for (HostTensor tensor : ordered.values()) {
            TensorBytes.write(tensor, channel);
          }
        });
  }

  /** The type's name in the format. */
  static String label(DType dtype) {
    return switch (dtype) {
      case FP32 -> "F32";
      case FP16 -> "F16";
      case BF16 -> "BF16";
      case INT32 -> "I32";
      case BOOL -> "BOOL";
    };
  }

  /** A tensor whose place in the file has been checked. */
  private record Located(Shape shape, DType dtype, long begin) {}

  private static int headerLength(InputFile input) {
    if (input.size() < LENGTH_BYTES) {
      throw input.failure(
          input.size() == 0
              ? "is empty"
              : "has "
                  + input.size()
                  + " bytes; a .safetensors file begins with a length of "
                  + LENGTH_BYTES);
    }
    long length = input.bytes(0, LENGTH_BYTES).getLong();
    if (length < 0 || length > input.size() - LENGTH_BYTES) {
      throw input.failure(
          "is truncated or not a .safetensors file: its header is "
              + Long.toUnsignedString(length)
              + " bytes long, "
              + (input.size() - LENGTH_BYTES)
              + " are there");
    }
    if (length > LONGEST_HEADER) {
      throw input.failure(
          "its header is " + length + " bytes long; at most " + LONGEST_HEADER + " are read");
    }
    return (int) length;
  }

  private static SafetensorsHeader header(InputFile input, int length, long data) {
    try {
      return SafetensorsHeader.parse(input.bytes(LENGTH_BYTES, length), input.size() - data);
    } catch (IllegalArgumentException e) {
      throw e instanceof TensorFileException ? e : input.failure(String.valueOf(e.getMessage()));
    }
  }

  private static Located locate(InputFile input, SafetensorsHeader header, String name, int rank) {
    SafetensorsHeader.Entry entry = header.entries().get(name);
    if (entry == null) {
      throw input.failure("has no tensor '" + name + "'; it has " + listed(header));
    }
    Optional<DType> dtype =
        DType.FLOATING.stream().filter(d -> label(d).equals(entry.dtype())).findFirst();
    if (dtype.isEmpty()) {
      throw input.failure(
          "tensor '"
              + name
              + "' is "
              + TensorFileException.quote(entry.dtype())
              + "; F32, F16 or BF16 is needed");
    }
    Shape shape = input.shape("tensor '" + name + "'", entry.shape(), rank);
    long needed = shape.elements() * dtype.get().bytes();
    long present = entry.end() - entry.begin();
    if (present != needed) {
      throw input.failure(
          "tensor '"
              + name
              + "' of shape "
              + shape
              + " and type "
              + entry.dtype()
              + " needs "
              + needed
              + " bytes; its data_offsets span "
              + present);
    }
    return new Located(shape, dtype.get(), entry.begin());
  }

  private static String listed(SafetensorsHeader header) {
    List<String> names =
        header.entries().keySet().stream().map(TensorFileException::quote).toList();
    if (names.isEmpty()) {
      return "none";
    }
    String shown = names.stream().limit(MOST_NAMES).collect(Collectors.joining(", "));
    return names.size() > MOST_NAMES
        ? shown + " and " + (names.size() - MOST_NAMES) + " more"
        : shown;
  }
}
