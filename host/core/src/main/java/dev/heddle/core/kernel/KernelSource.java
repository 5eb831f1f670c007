package dev.heddle.core.kernel;

import dev.heddle.core.Provenance;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A kernel file with its includes put in place, for compilers that can't see files. {@code #line}
 * directives keep the compiler's messages at the names and lines that a reader knows.
 *
 * @param file name of the kernel file, such as {@code attention_flash.cl}
 * @param text what the compiler is given
 */
public record KernelSource(String file, String text) {
  private static final Pattern INCLUDE = Pattern.compile("#include \"([^\"]+)\"\\s*");
  private static final List<String> SHARED =
      List.of(
          "kernels/attention",
          "kernels/linear",
          "kernels/heads",
          "kernels/cache",
          "kernels/rotary",
          "kernels/linear_attention",
          "kernels/peak");

  /**
   * Reads a kernel file and whatever it includes, each file once.
   *
   * @param files text of a file by its name
   * @throws IllegalStateException when a file is missing
   */
  public static KernelSource assemble(String file, Function<String, String> files) {
    StringBuilder text = new StringBuilder();
    append(file, files, new HashSet<>(), text);
    return new KernelSource(file, text.toString());
  }

  /** SHA-256 of the text, in hexadecimal. */
  public String hash() {
    byte[] digest = Provenance.sha256().digest(text.getBytes(StandardCharsets.UTF_8));
    return HexFormat.of().formatHex(digest);
  }

  private static void append(
      String file, Function<String, String> files, Set<String> seen, StringBuilder text) {
    seen.add(file);
    text.append("#line 1 \"").append(file).append("\"\n");
    int number = 0;
    for (String line : files.apply(file).lines().toList()) {
      number++;
      Matcher include = INCLUDE.matcher(line);
      if (!include.matches()) {
        text.append(line).append('\n');
      } else if (seen.contains(include.group(1))) {
        text.append('\n');
      } else {
        append(include.group(1), files, seen, text);
        text.append("#line ").append(number + 1).append(" \"").append(file).append("\"\n");
      }
    }
  }

  /**
   * Reads kernel files and headers by name from the class path: those of a device language, and the
   * headers that all languages share.
   *
   * @param language the language's folder: {@code cl}, {@code cuda}
   */
  public static Function<String, String> resources(String language) {
    List<String> folders = Stream.concat(Stream.of(language), SHARED.stream()).toList();
    return file ->
        folders.stream()
            .flatMap(folder -> read("/heddle/" + folder + "/" + file).stream())
            .findFirst()
            .orElseThrow(() ->
                new IllegalStateException(
                    "no kernel file " + file + " among the resources of " + folders));
  }

  /** Text of a resource, or empty where there is none. */
  public static Optional<String> read(String path) {
    try (InputStream stream = KernelSource.class.getResourceAsStream(path)) {
      return stream == null
          ? Optional.empty()
          : Optional.of(new String(stream.readAllBytes(), StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
