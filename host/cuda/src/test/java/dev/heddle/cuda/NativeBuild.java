package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/** Builds small shared libraries that stand in for NVIDIA's. */
final class NativeBuild {
  private NativeBuild() {}

  /**
   * Compiles C to a library with the machine's C++ compiler; without one, the test is skipped.
   *
   * @param library the file to make; its name becomes the one that the loader knows it by
   */
  static void library(Path library, String source) throws Exception {
    Process gcc = start(library);
    try (var input = gcc.getOutputStream()) {
      input.write(("extern \"C\" {\n" + source + "}\n").getBytes(StandardCharsets.UTF_8));
    }
    String output = new String(gcc.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(gcc.waitFor()).as(output).isZero();
  }

  private static Process start(Path library) {
    List<String> command =
        List.of(
            "g++",
            "-shared",
            "-fPIC",
            "-Wl,-soname," + library.getFileName(),
            "-o",
            library.toString(),
            "-xc++",
            "-");
    try {
      return new ProcessBuilder(command).redirectErrorStream(true).start();
    } catch (java.io.IOException e) {
      return Assumptions.abort("no g++ on the PATH");
    }
  }
}
