package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import dev.heddle.core.KernelBuildException;
import dev.heddle.reference.ForkedJvm;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class NvccTest {
  /** A script that answers as nvcc does until it is to compile. */
  private static final String ANSWERS =
      """
      case $1 in
        -V) echo "Cuda compilation tools, release 12.4, V12.4.131" ;;
        --list-gpu-arch) printf 'compute_50\\ncompute_90\\ncompute_80\\ncompute_90a\\n' ;;
        *) %s ;;
      esac
      """;

  @TempDir Path folder;

  @Test
  void itCompilesWithMacrosAndBareNames() {
    Nvcc nvcc = real();
    assertThat(nvcc.name()).matches("nvcc \\d+\\.\\d+\\.\\d+");
    assertThat(nvcc.architectures()).contains(80, 90).isSorted();
    KernelVariant variant = Variants.scale(3);
    String ptx = PtxText.portable(nvcc.compile(variant, 80), variant.files());
    assertThat(ptx)
        .contains(".version 7.0\n.target sm_80")
        .contains(".entry scale(")
        .contains("0f40400000")
        .contains(".file\t1 \"scale.cu\"")
        .doesNotContain("/tmp", System.getProperty("java.io.tmpdir"));
  }

  @Test
  void theSameInputGivesTheSameOutput() {
    Nvcc nvcc = real();
    KernelVariant variant = Variants.scale(3);
    assertThat(PtxText.portable(nvcc.compile(variant, 80), variant.files()))
        .isEqualTo(PtxText.portable(nvcc.compile(variant, 80), variant.files()));
  }

  @Test
  void aKernelThatDoesNotCompileShowsLogCommandAndSource() {
    Nvcc nvcc = real();
    KernelBuildException failure =
        catchThrowableOfType(KernelBuildException.class, () -> nvcc.compile(Variants.broken(), 80));
    assertThat(failure.log())
        .contains("broken.cu(7): error:")
        .contains("\"nonsense\" is undefined")
        .contains("nvcc -ptx -std=c++17 -lineinfo -arch=compute_80");
    assertThat(failure.source()).isEqualTo(Variants.broken().text());
  }

  @Test
  void aFileThatNeedsANewerArchitectureIsRefusedByTheCompilerToo() {
    Nvcc nvcc = real();
    int lowest = nvcc.architectures().getFirst();
    Assumptions.assumeTrue(lowest < 80, nvcc.name() + " compiles for nothing below 8.0");
    KernelBuildException failure =
        catchThrowableOfType(
            KernelBuildException.class, () -> nvcc.compile(Variants.modern(), lowest));
    assertThat(failure.log()).contains("modern needs compute capability 8.0 or newer");
    assertThat(nvcc.compile(Variants.modern(), 80)).contains(".entry modern(");
  }

  // ---- looking for one

  @Test
  void withoutOneOnThePathThereIsNone() {
    assertThat(Nvcc.onPath("")).isEmpty();
    assertThat(Nvcc.onPath(folder.toString())).isEmpty();
    assertThat(CompilerSearch.tried(Optional.empty(), "nvcc", " on the PATH").missing())
        .isEqualTo("no nvcc on the PATH");
  }

  @Test
  @DisabledOnOs(OS.WINDOWS)
  void oneThatCannotCompileIsNamedWithWhatItSays() throws Exception {
    Path program =
        program(
            ANSWERS.formatted(
                "echo 'nvcc fatal   : Failed to preprocess host compiler properties.'; exit 1"));
    Optional<Nvcc> found = Nvcc.onPath(folder.toString());
    assertThat(found.orElseThrow().name()).isEqualTo("nvcc 12.4.131");
    assertThat(found.get().architectures()).containsExactly(50, 80, 90);
    CompilerSearch search = CompilerSearch.tried(found, "nvcc", " on the PATH");
    assertThat(search.compiler()).isEmpty();
    assertThat(search.missing())
        .isEqualTo(
            "no nvcc that works ("
                + program
                + ": nvcc fatal   : Failed to preprocess host compiler properties.)");
  }

  /** As where the temporary folder is full. */
  @Test
  @DisabledOnOs(OS.WINDOWS)
  void oneThatLeavesNoOutputIsNamedAndThrowsNothing() throws Exception {
    Path program = program(ANSWERS.formatted("exit 0"));
    CompilerSearch search =
        CompilerSearch.tried(Nvcc.onPath(folder.toString()), "nvcc", " on the PATH");
    assertThat(search.compiler()).isEmpty();
    assertThat(search.missing())
        .startsWith("no nvcc that works (" + program + ": nvcc 12.4.131 can't be run on trial.cu: ")
        .contains("NoSuchFileException", "kernel.ptx");
  }

  @Test
  @DisabledOnOs(OS.WINDOWS)
  void oneThatHangsIsEnded() throws Exception {
    Path program = program(ANSWERS.formatted("sleep 300"));
    Optional<Nvcc> found = Nvcc.at(program, Duration.ofSeconds(2));
    CompilerSearch search =
        assertTimeoutPreemptively(
            Duration.ofSeconds(60), () -> CompilerSearch.tried(found, "nvcc", " on the PATH"));
    assertThat(search.missing()).contains("nvcc did not end in 2 s");
  }

  @Test
  @DisabledOnOs(OS.WINDOWS)
  void flagsFromTheEnvironmentAreNotObeyed() throws Exception {
    Path program =
        program(ANSWERS.formatted("echo \"<$NVCC_PREPEND_FLAGS$NVCC_APPEND_FLAGS>\" > kernel.ptx"));
    Map<String, String> flags =
        Map.of("NVCC_PREPEND_FLAGS", "-O0", "NVCC_APPEND_FLAGS", "-use_fast_math");
    assertThat(ForkedJvm.run(folder, Compile.class, flags, program.toString()))
        .containsExactly("<>");
  }

  /** Prints what the nvcc that it is given makes of a kernel. */
  static final class Compile {
    public static void main(String[] arguments) {
      Nvcc nvcc = Nvcc.at(Path.of(arguments[0])).orElseThrow();
      System.out.print(nvcc.compile(Variants.scale(3), 80));
    }
  }

  @Test
  @DisabledOnOs(OS.WINDOWS)
  void aProgramOfThatNameThatIsNoCompilerIsPassedOver() throws Exception {
    program("echo 'command not installed'; exit 127\n");
    assertThat(Nvcc.onPath(folder.toString())).isEmpty();
  }

  private Path program(String script) throws Exception {
    Path program = folder.resolve("nvcc");
    Files.writeString(program, "#!/bin/sh\n" + script);
    assertThat(program.toFile().setExecutable(true)).isTrue();
    return program;
  }

  private static Nvcc real() {
    CompilerSearch search = CompilerSearch.forNvcc();
    Assumptions.assumeTrue(search.compiler().isPresent(), search.missing());
    return (Nvcc) search.compiler().orElseThrow();
  }
}
