package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** The PTX emulator in place of an NVIDIA driver. */
final class Emulator {
  private static final String LIBRARY = "target/cuda-emulator/libcuda.so.1";

  private Emulator() {}

  /**
   * Has this process use the emulator; builds it first where that is needed. Where it can't be
   * built, the test is skipped with the reason.
   */
  static void load() {
    System.setProperty(CudaLibrary.PROPERTY, library().toString());
  }

  /** The emulator's library, up to date. */
  static synchronized Path library() {
    Platform platform = Platform.current();
    Assumptions.assumeTrue(
        platform.os() == Platform.Os.LINUX && platform.isX86(),
        "the PTX emulator needs Linux on x86_64, and this is " + platform);
    Assumptions.assumeTrue(hasCompiler(), "no g++ on the PATH: no PTX emulator");
    Path root = root();
    try {
      Process build =
          new ProcessBuilder(root.resolve("ci/cuda-emulator/build").toString())
              .redirectErrorStream(true)
              .start();
      String output = new String(build.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      assertThat(build.waitFor()).as(output).isZero();
    } catch (IOException e) {
      throw new AssertionError("ci/cuda-emulator/build can't be run", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(e);
    }
    return root.resolve(LIBRARY);
  }

  private static boolean hasCompiler() {
    try {
      new ProcessBuilder("g++", "--version").start().destroy();
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  /** The folder that holds all of Heddle's sources: the tests run in one of its modules. */
  private static Path root() {
    Path folder = Path.of("").toAbsolutePath();
    while (!Files.isDirectory(folder.resolve("ci/cuda-emulator"))) {
      folder = folder.getParent();
      assertThat(folder).as("no folder above the tests has ci/cuda-emulator").isNotNull();
    }
    return folder;
  }
}
