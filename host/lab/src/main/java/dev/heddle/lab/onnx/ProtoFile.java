package dev.heddle.lab.onnx;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.MessageLite;
import dev.heddle.lab.files.InputFile;
import dev.heddle.lab.files.TensorFileException;
import java.nio.file.Path;

/** Files that hold one message of Protocol Buffers. */
final class ProtoFile {
  /** Most bytes of one file. */
  static final int MOST_BYTES = 256 << 20;

  private ProtoFile() {}

  /** A message's parser. */
  @FunctionalInterface
  interface Parser<T extends MessageLite> {
    T parse(byte[] bytes) throws InvalidProtocolBufferException;
  }

  /**
   * The message in a file.
   *
   * @param kind what it should be, for messages
   * @throws TensorFileException when the file can't be read, is too large or holds something else
   */
  static <T extends MessageLite> T parse(Path file, Parser<T> parser, String kind) {
    try (InputFile input = InputFile.open(file)) {
      if (input.size() > MOST_BYTES) {
        throw input.failure(
            "has " + input.size() + " bytes; at most " + MOST_BYTES + " are read of a test's file");
      }
      return parser.parse(input.bytes(0, (int) input.size()).array());
    } catch (InvalidProtocolBufferException e) {
      throw new TensorFileException(
          file,
          "is damaged or no "
              + kind
              + ": "
              + TensorFileException.quote(String.valueOf(e.getMessage())));
    }
  }
}
