package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
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

  /** The same for tests that run kernels other than those shipped: skipped without a compiler. */
  static void loadWithCompiler() {
    load();
    CompilerSearch search = CompilerSearch.onThisMachine();
    Assumptions.assumeTrue(search.compiler().isPresent(), search.missing());
  }

  /**
   * Sets one of the emulator's switches, or gives it back to the environment; see
   * ci/cuda-emulator/README.md.
   */
  static void set(String name, @Nullable String value) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment text = value == null ? MemorySegment.NULL : arena.allocateFrom(value);
      int code =
          (int)
              Linker.nativeLinker()
                  .downcallHandle(
                      SymbolLookup.loaderLookup().find("ptx_emulator_set").orElseThrow(),
                      FunctionDescriptor.of(
                          ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS))
                  .invokeExact(arena.allocateFrom(name), text);
      assertThat(code).as("the emulator takes %s = %s", name, value).isZero();
    } catch (Throwable e) {
      throw new AssertionError(name + " can't be set", e);
    }
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
