package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.reference.ForkedJvm;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Looking for devices where the driver is missing, broken or too old: one line, and no noise. */
@EnabledOnOs(value = OS.LINUX, architectures = "amd64")
class DiscoveryTest {
  /** As much of a driver as is asked before it is known to be of no use. */
  private static final String FAKE_DRIVER =
      """
      #include <stdlib.h>
      static int from_environment(const char *name) { return atoi(getenv(name)); }
      int cuInit(unsigned flags) { return from_environment("FAKE_INIT"); }
      int cuDriverGetVersion(int *version) { *version = from_environment("FAKE_VERSION"); return 0; }
      int cuDeviceGetCount(int *count) { *count = 0; return 0; }
      int cuGetErrorName(int code, const char **name) { *name = "CUDA_ERROR_FAKE"; return 0; }
      """;

  private static final Map<String, String> NO_DEVICE =
      Map.of("FAKE_INIT", "100", "FAKE_VERSION", "12060");

  @TempDir Path folder;

  @Test
  void aMissingDriverIsNamed() throws Exception {
    Assumptions.assumeFalse(driverIsPresent(), "this machine has an NVIDIA driver");
    assertThat(probe(Map.of()))
        .isEqualTo(
            "Unavailable[reason=no NVIDIA driver (libcuda.so.1 not found), remedy=install the"
                + " driver of your NVIDIA GPU; without a GPU: HEDDLE_CUDA=emulator ./heddle]");
    assertThat(cache()).as("nothing of JCuda was unpacked").doesNotExist();
  }

  @Test
  void aFileThatIsNoLibraryIsNamed() throws Exception {
    Files.createFile(folder.resolve("libcuda.so.1"));
    assertThat(probe(Map.of()))
        .contains("the NVIDIA driver's library can't be loaded")
        .contains("libcuda.so.1: file too short")
        .contains("reinstall the NVIDIA driver");
  }

  @Test
  void aStandInThatIsNotThereIsNamed() throws Exception {
    List<String> output =
        ForkedJvm.run(folder, ProbeRun.class, Map.of(), folder.resolve("none.so").toString());
    assertThat(output)
        .singleElement()
        .asString()
        .contains("heddle.cuda.library names " + folder.resolve("none.so"))
        .contains("HEDDLE_CUDA=emulator");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          0   | 12060 | the NVIDIA driver finds no device | CUDA_VISIBLE_DEVICES
          100 | 12060 | the NVIDIA driver finds no device | nvidia-smi
          803 | 12060 | library and its kernel module are of different versions: cuInit failed: CUDA_ERROR_FAKE (803) | restart the machine
          802 | 12060 | the NVIDIA driver is not ready: cuInit failed: CUDA_ERROR_FAKE (802) | nvidia-fabricmanager
          34  | 12060 | libcuda.so.1 is a toolkit's stub and no driver: cuInit failed: CUDA_ERROR_FAKE (34) | LD_LIBRARY_PATH
          999 | 12060 | the NVIDIA driver does not start: cuInit failed: CUDA_ERROR_FAKE (999) | nvidia-smi
          0   | 10020 | too old: it is for CUDA 10.2, and Heddle needs CUDA 11.0 (PTX 7.0) | update the NVIDIA driver to 450
          """)
  void aDriverThatIsOfNoUseSaysWhy(int init, int version, String reason, String remedy)
      throws Exception {
    NativeBuild.library(folder.resolve("libcuda.so.1"), FAKE_DRIVER);
    Map<String, String> environment =
        Map.of("FAKE_INIT", Integer.toString(init), "FAKE_VERSION", Integer.toString(version));
    assertThat(probe(environment)).startsWith("Unavailable").contains(reason).contains(remedy);
  }

  // ---- JCuda's native library

  @Test
  void processesThatStartTogetherUnpackOneWholeLibrary() throws Exception {
    NativeBuild.library(folder.resolve("libcuda.so.1"), FAKE_DRIVER);
    try (ExecutorService pool = Executors.newFixedThreadPool(4)) {
      List<Future<String>> answers = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        answers.add(pool.submit(() -> probe(NO_DEVICE)));
      }
      for (Future<String> answer : answers) {
        assertThat(answer.get()).contains("finds no device");
      }
    }
    try (Stream<Path> files = Files.list(cache().resolve("heddle/jcuda"))) {
      assertThat(files).as("nothing unfinished is left").hasSize(1);
    }
  }

  @Test
  void aDamagedLibraryIsReplaced() throws Exception {
    NativeBuild.library(folder.resolve("libcuda.so.1"), FAKE_DRIVER);
    probe(NO_DEVICE);
    Path library;
    try (Stream<Path> files = Files.list(cache().resolve("heddle/jcuda"))) {
      library = files.toList().getFirst();
    }
    byte[] whole = Files.readAllBytes(library);
    Files.write(library, Arrays.copyOf(whole, whole.length / 2));
    assertThat(probe(NO_DEVICE)).contains("finds no device");
    assertThat(Files.readAllBytes(library)).isEqualTo(whole);
  }

  @Test
  void whereTheCacheCannotBeWrittenATemporaryFolderServesAndGoes() throws Exception {
    NativeBuild.library(folder.resolve("libcuda.so.1"), FAKE_DRIVER);
    Files.createFile(cache());
    Path temporary = Files.createDirectory(folder.resolve("temporary"));
    assertThat(probe(NO_DEVICE, "-Djava.io.tmpdir=" + temporary)).contains("finds no device");
    try (Stream<Path> files = Files.list(temporary)) {
      assertThat(files.filter(file -> file.toString().contains("heddle"))).isEmpty();
    }
  }

  @Test
  void theSharedTemporaryFolderStaysAsItIs() throws Exception {
    NativeBuild.library(folder.resolve("libcuda.so.1"), FAKE_DRIVER);
    Path temporary = Files.createDirectory(folder.resolve("temporary"));
    probe(NO_DEVICE, "-Djava.io.tmpdir=" + temporary);
    try (Stream<Path> files = Files.list(temporary)) {
      assertThat(files.filter(file -> file.toString().contains("JCuda"))).isEmpty();
    }
  }

  /** The one line that is printed, with the folder first among those of libraries. */
  private String probe(Map<String, String> environment, String... options) throws Exception {
    Map<String, String> all = new TreeMap<>(environment);
    all.put("LD_LIBRARY_PATH", folder.toString());
    all.put("XDG_CACHE_HOME", cache().toString());
    List<String> output = ForkedJvm.run(folder, List.of(options), ProbeRun.class, all);
    assertThat(output).as("nothing but the answer is printed").hasSize(1);
    return output.getFirst();
  }

  private Path cache() {
    return folder.resolve("cache");
  }

  /** Asked in a process of its own: in this one the emulator may be loaded under that name. */
  private boolean driverIsPresent() throws Exception {
    return ForkedJvm.run(folder, LookUp.class, Map.of()).contains("present");
  }

  /** Prints whether the system's loader finds a driver. */
  static final class LookUp {
    public static void main(String[] arguments) {
      try (Arena arena = Arena.ofConfined()) {
        SymbolLookup.libraryLookup("libcuda.so.1", arena);
        System.out.println("present");
      } catch (IllegalArgumentException e) {
        System.out.println("absent");
      }
    }
  }
}
