package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.heddle.core.KernelBuildException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class NvrtcTest {
  /**
   * NVRTC's functions with its signatures: "compiles" to a text that tells what it was given, and
   * refuses a source with the word nonsense in it.
   */
  private static final String STAND_IN =
      """
      #include <stdio.h>
      #include <stdlib.h>
      #include <string.h>
      typedef struct { char *source, *name; char text[4096]; } program;
      int nvrtcVersion(int *major, int *minor) { *major = 11; *minor = 8; return 0; }
      int nvrtcCreateProgram(program **p, const char *source, const char *name, int headers,
                             const char *const *texts, const char *const *names) {
        if (headers) return 2;
        *p = (program *)calloc(1, sizeof(program));
        (*p)->source = strdup(source);
        (*p)->name = strdup(name);
        return 0;
      }
      int nvrtcCompileProgram(program *p, int count, const char *const *options) {
        if (strstr(p->source, "nonsense")) {
          snprintf(p->text, sizeof p->text, "%s(7): error: nonsense is undefined\\n", p->name);
          return 6;
        }
        strcpy(p->text, ".version 7.8\\n.target sm_80\\n//");
        for (int i = 0; i < count; i++) strcat(strcat(p->text, " "), options[i]);
        strcat(p->text, "\\n");
        return 0;
      }
      int nvrtcGetPTXSize(program *p, size_t *size) { *size = strlen(p->text) + 1; return 0; }
      int nvrtcGetPTX(program *p, char *text) { strcpy(text, p->text); return 0; }
      int nvrtcGetProgramLogSize(program *p, size_t *size) { return nvrtcGetPTXSize(p, size); }
      int nvrtcGetProgramLog(program *p, char *text) { return nvrtcGetPTX(p, text); }
      int nvrtcDestroyProgram(program **p) {
        free((*p)->source); free((*p)->name); free(*p); *p = 0;
        return 0;
      }
      """;

  private static final String ASKABLE =
      """
      int nvrtcGetNumSupportedArchs(int *count) { *count = 3; return 0; }
      int nvrtcGetSupportedArchs(int *list) { list[0] = 90; list[1] = 80; list[2] = 75; return 0; }
      """;

  @TempDir Path folder;

  @Test
  @EnabledOnOs(OS.LINUX)
  void everyFunctionIsCalledAsItsSignatureSays() throws Exception {
    Nvrtc nvrtc = standIn(STAND_IN + ASKABLE);
    assertThat(nvrtc.name()).isEqualTo("NVRTC 11.8");
    assertThat(nvrtc.architectures()).containsExactly(75, 80, 90);
    assertThat(nvrtc.compile(Variants.scale(3), 80))
        .isEqualTo(
            ".version 7.8\n.target sm_80\n// -std=c++17 -lineinfo -arch=compute_80 -DFACTOR=3\n");
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void aVersionThatCannotBeAskedHasTheArchitecturesOfItsTime() throws Exception {
    assertThat(standIn(STAND_IN).architectures()).contains(75, 80).doesNotContain(86, 90);
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void aKernelThatDoesNotCompileShowsLogAndSource() throws Exception {
    Nvrtc nvrtc = standIn(STAND_IN + ASKABLE);
    KernelBuildException failure =
        catchThrowableOfType(
            KernelBuildException.class, () -> nvrtc.compile(Variants.broken(), 80));
    assertThat(failure.log()).contains("broken.cu(7): error: nonsense is undefined");
    assertThat(failure.log()).contains("NVRTC 11.8 -std=c++17 -lineinfo -arch=compute_80");
    assertThat(failure.source()).isEqualTo(Variants.broken().text());
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void oneThatFailsToStartAProgramIsNamedAndThrowsNothing() throws Exception {
    Nvrtc nvrtc = standIn(STAND_IN.replace("if (headers) return 2;", "return 1;") + ASKABLE);
    CompilerSearch search = CompilerSearch.tried(Optional.of(nvrtc), "NVRTC", "");
    assertThat(search.compiler()).isEmpty();
    assertThat(search.missing())
        .startsWith("no NVRTC that works (" + nvrtc.location() + ": nvrtcCreateProgram of ")
        .endsWith(" failed: code 1)");
  }

  @Test
  void theNewestIsLookedForFirst() {
    assertThat(Nvrtc.candidates(Platform.Os.LINUX, Map.of("CUDA_PATH", "/toolkit")))
        .containsSubsequence(
            "libnvrtc.so.13",
            "libnvrtc.so.12",
            "libnvrtc.so.11.2",
            "/toolkit/lib64/libnvrtc.so.13",
            "/toolkit/lib64/libnvrtc.so.11.0");
    assertThat(Nvrtc.candidates(Platform.Os.WINDOWS, Map.of()))
        .containsSubsequence("nvrtc64_130_0.dll", "nvrtc64_120_0.dll", "nvrtc64_112_0.dll");
  }

  @Test
  void theRealOneCompilesWhatNvccCompiles() {
    Optional<Nvrtc> found = Nvrtc.onThisMachine();
    Assumptions.assumeTrue(found.isPresent(), "no NVRTC on this machine");
    Nvrtc nvrtc = found.get();
    assertThat(nvrtc.architectures()).contains(80, 90).isSorted();
    KernelVariant variant = Variants.scale(3);
    assertThat(PtxText.portable(nvrtc.compile(variant, 80), variant.files()))
        .contains(".version 7.0\n.target sm_80")
        .contains(".entry scale(")
        .contains(".file\t1 \"scale.cu\"");
    KernelBuildException failure =
        catchThrowableOfType(
            KernelBuildException.class, () -> nvrtc.compile(Variants.broken(), 80));
    assertThat(failure.log()).contains("broken.cu(7): error:").contains("nonsense");
  }

  /** Kernel files include nothing that NVRTC would need a toolkit for. */
  @Test
  void theRealOneCompilesEveryKernelFile() {
    Optional<Nvrtc> found = Nvrtc.onThisMachine();
    Assumptions.assumeTrue(found.isPresent(), "no NVRTC on this machine");
    Map<String, KernelVariant> files = new TreeMap<>();
    for (KernelVariant variant : ShippedKernels.variants()) {
      files.putIfAbsent(variant.file() + variant.macros().get("DTYPE"), variant);
    }
    assertThat(files).isNotEmpty();
    files.forEach((file, variant) ->
        assertThat(PtxText.target(found.get().compile(variant, 80))).as(file).isEqualTo(80));
  }

  /** The stand-in, under another name for each test: the loader gives one name's first file. */
  private Nvrtc standIn(String source) throws Exception {
    Path library = folder.resolve("libnvrtc-" + System.nanoTime() + ".so");
    NativeBuild.library(library, source);
    return Nvrtc.at(library.toString()).orElseThrow();
  }
}
