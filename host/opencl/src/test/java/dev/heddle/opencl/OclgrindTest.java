package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.reference.ForkedJvm;
import dev.heddle.reference.Mutation;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every kernel under Oclgrind with its race, memory and initialisation checks on. */
class OclgrindTest {
  private static final String ICD = "liboclgrind-rt-icd.so";

  @TempDir Path folder;

  @Test
  void noKernelRacesOrTouchesWhatItShouldNot() throws Exception {
    List<String> output = run();
    assertThat(verdicts(output)).hasSize(3 * 18 + 6).allMatch(line -> line.endsWith(" pass"));
    assertThat(output).filteredOn(OclgrindTest::isFinding).isEmpty();
    assertThat(output).filteredOn(OclgrindTest::tellsOfABarrier).isEmpty();
  }

  @ParameterizedTest
  @MethodSource("dev.heddle.opencl.MutatedKernelTest#races")
  void aMissingBarrierIsReported(MutatedKernelTest.Faulty faulty) throws Exception {
    assertThat(run(faulty)).anyMatch(OclgrindTest::tellsOfABarrier);
  }

  @ParameterizedTest
  @MethodSource("dev.heddle.opencl.MutatedKernelTest#overreads")
  void aReadBeyondATensorIsReported(MutatedKernelTest.Faulty faulty) throws Exception {
    assertThat(run(faulty)).anyMatch(line -> line.contains("Invalid read"));
  }

  @Test
  void aMissingTailGuardIsReported() throws Exception {
    List<String> output =
        run(
            "attention_naive.cl",
            "if (d >= HEAD_DIM_V || i >= args.seqlen_q) return;",
            "",
            "naive");
    assertThat(output).anyMatch(line -> line.contains("Invalid write"));
  }

  @Test
  void aMissingInitialisationIsReported() throws Exception {
    List<String> output =
        run(
            "attention_naive.cl",
            "float l = head.sink == -INFINITY ? 0.0f : exp(head.sink - m_safe);",
            "float l;",
            "naive");
    assertThat(output).anyMatch(line -> line.contains("Uninitialized"));
  }

  /** Of a copy the guard bands can't show it: they hold the same on both sides. */
  @Test
  void aCopyBeyondTheEndIsReported() throws Exception {
    List<String> output =
        run(
            "cache_append.cl",
            "min(start + THREADS * EACH, elements)",
            "start + THREADS * EACH",
            "append");
    assertThat(output).anyMatch(line -> line.contains("Invalid write"));
  }

  /**
   * Lines in which the simulator names something wrong. "Controlflow depends on uninitialized
   * value" is not among them: it also says so of what a kernel reads back of its own stores to a
   * buffer that nothing wrote to before.
   */
  private static boolean isFinding(String line) {
    return Stream.of("data race", "Invalid ", "Uninitialized", "divergence", "Oclgrind - OpenCL")
        .anyMatch(line::contains);
  }

  /**
   * A race; or a product of tiles that no one has written yet, for the first work-item to read them
   * is told of before the race is.
   */
  private static boolean tellsOfABarrier(String line) {
    return line.contains("data race") || line.contains("of local_tiles.h");
  }

  private static List<String> verdicts(List<String> output) {
    return output.stream().filter(line -> line.startsWith(OclgrindRun.VERDICT)).toList();
  }

  private List<String> run(MutatedKernelTest.Faulty faulty)
      throws IOException, InterruptedException {
    Mutation mutation = faulty.mutation();
    return run(mutation.file(), mutation.original(), mutation.replacement(), faulty.algorithm());
  }

  private List<String> run(String... fault) throws IOException, InterruptedException {
    Path library =
        icd().orElseGet(() -> Assumptions.abort("Oclgrind (" + ICD + ") is not installed"));
    Path vendors = Files.createDirectory(folder.resolve("vendors"));
    Files.writeString(vendors.resolve("oclgrind.icd"), library + "\n");
    Map<String, String> environment = new HashMap<>();
    environment.put("OCL_ICD_VENDORS", vendors.toString());
    for (String check : List.of("DATA_RACES", "UNINITIALIZED", "CHECK_API")) {
      environment.put("OCLGRIND_" + check, "1");
    }
    // Optimised code holds freeze instructions, which Oclgrind's initialisation check does not
    // know.
    environment.put("OCLGRIND_BUILD_OPTIONS", "-cl-opt-disable");
    return ForkedJvm.run(folder, OclgrindRun.class, environment, fault);
  }

  /** Oclgrind's driver library, where systems put it. */
  private static Optional<Path> icd() throws IOException {
    for (String root : List.of("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/oclgrind/lib")) {
      if (Files.isDirectory(Path.of(root))) {
        try (Stream<Path> found =
            Files.find(Path.of(root), 3, (path, attributes) -> path.endsWith(ICD))) {
          Optional<Path> first = found.findFirst();
          if (first.isPresent()) {
            return first;
          }
        }
      }
    }
    return Optional.empty();
  }
}
