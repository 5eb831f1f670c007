package dev.heddle.tornado;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** A process of its own prints with the C library's {@code puts}, which keeps lines in a buffer. */
class NativeOutputTest {

  /** What the process does. */
  static final class Printer {
    private Printer() {}

    static void main() {
      puts("before");
      String result =
          NativeOutput.silenced(() -> {
            puts("silenced");
            return "result";
          });
      puts(result);
      try {
        NativeOutput.silenced(
            (Supplier<String>)
                () -> {
                  puts("failing");
                  throw new IllegalStateException("failed");
                });
      } catch (IllegalStateException failure) {
        puts(failure.getMessage());
      }
      long open = descriptors();
      for (int i = 0; i < 100; i++) {
        NativeOutput.silenced(() -> "");
      }
      puts("left open: " + (descriptors() - open));
    }

    private static void puts(String line) {
      Linker linker = Linker.nativeLinker();
      try (Arena arena = Arena.ofConfined()) {
        linker
            .downcallHandle(
                linker.defaultLookup().findOrThrow("puts"),
                FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS))
            .invokeWithArguments(arena.allocateFrom(line));
      } catch (Throwable e) {
        throw new AssertionError(e);
      }
    }

    private static long descriptors() {
      try (Stream<Path> open = Files.list(Path.of("/proc/self/fd"))) {
        return open.count();
      } catch (IOException e) {
        return 0; // only Linux tells
      }
    }
  }

  @Test
  void onlyWhatIsPrintedMeanwhileIsLost() throws Exception {
    assumeTrue(Linker.nativeLinker().defaultLookup().find("dup2").isPresent(), "POSIX only");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                Printer.class.getName())
            .redirectErrorStream(true)
            .start();
    String printed = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(printed.lines()).containsExactly("before", "result", "failed", "left open: 0");
    assertThat(process.waitFor()).isZero();
  }
}
