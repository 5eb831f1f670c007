package dev.heddle.lab.files;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/**
 * A file that someone named can't be used as asked: missing, unreadable, malformed, of the wrong
 * type or shape, or not writable. The message is one line that begins with the file's name. Nothing
 * else is thrown for what a file holds or what the file system does.
 */
public final class TensorFileException extends IllegalArgumentException {
  private static final long serialVersionUID = 1L;
  private static final int LONGEST_QUOTE = 80;

  /**
   * Something is wrong with a file.
   *
   * @param problem the value found and the one needed
   */
  public TensorFileException(Path file, String problem) {
    super(quote(file.toString()) + ": " + problem);
  }

  private TensorFileException(String message, IOException cause) {
    super(message, cause);
  }

  static TensorFileException reading(Path file, IOException cause) {
    return new TensorFileException(
        quote(file.toString()) + ": can't be read: " + reason(cause), cause);
  }

  static TensorFileException writing(Path file, IOException cause) {
    return new TensorFileException(
        quote(file.toString()) + ": can't be written: " + reason(cause), cause);
  }

  /** Text from a file or a user, cut to a bearable length and kept on one line. */
  public static String quote(String text) {
    StringBuilder line = new StringBuilder();
    text.codePoints()
        .limit(LONGEST_QUOTE)
        .forEach(c -> {
          if (Character.isISOControl(c) || c == 0x2028 || c == 0x2029) {
            line.append(String.format("\\u%04x", c));
          } else {
            line.appendCodePoint(c);
          }
        });
    return text.codePointCount(0, text.length()) > LONGEST_QUOTE ? line + "..." : line.toString();
  }

  private static String reason(IOException cause) {
    return switch (cause) {
      case NoSuchFileException e -> "no such file";
      case AccessDeniedException e -> "permission denied";
      case FileSystemException e when e.getReason() != null -> quote(e.getReason());
      default -> {
        String message = cause.getMessage();
        yield message == null ? cause.getClass().getSimpleName() : quote(message);
      }
    };
  }
}
