package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.Refusal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PtxLibraryTest {
  private static final String NO_COMPILER = "no nvcc on the PATH and no NVRTC (libnvrtc)";

  @TempDir Path folder;
  private RecordingCompiler compiler = new RecordingCompiler("nvcc 1.0");
  private PtxCache cache;

  @BeforeEach
  void emptyCache() {
    cache = new PtxCache(folder.resolve("ptx"));
  }

  // ---- what is compiled

  @Test
  void theDevicesOwnArchitectureIsCompiledFor() {
    Ptx ptx = library().ptx(Variants.device(90), Variants.scale(2));
    assertThat(ptx.origin()).isEqualTo("nvcc 1.0");
    assertThat(ptx.text()).isEqualTo(".version 7.8\n.target sm_90\n// {FACTOR=2}\n");
  }

  @Test
  void theHighestArchitectureBelowTheDevicesIsCompiledForWhereTheCompilerIsOlder() {
    library().ptx(Variants.device(120), Variants.scale(2));
    library().ptx(Variants.device(86), Variants.scale(2));
    assertThat(compiler.jobs()).containsExactly("scale.cu 90", "scale.cu 80");
  }

  // ---- what is kept

  @Test
  void whatWasCompiledOnceIsKept() {
    String first = library().ptx(Variants.device(80), Variants.scale(2)).text();
    String second = library().ptx(Variants.device(80), Variants.scale(2)).text();
    assertThat(compiler.jobs()).hasSize(1);
    assertThat(second).isEqualTo(first);
  }

  @Test
  void anyOtherSourceOptionOrCompilerIsCompiledAnew() {
    library().ptx(Variants.device(80), Variants.scale(2));
    library().ptx(Variants.device(80), Variants.scale(3));
    library().ptx(Variants.device(90), Variants.scale(2));
    library().ptx(Variants.device(80), Variants.modern());
    assertThat(compiler.jobs())
        .containsExactly("scale.cu 80", "scale.cu 80", "scale.cu 90", "modern.cu 80");
    compiler = new RecordingCompiler("nvcc 1.1");
    library().ptx(Variants.device(80), Variants.scale(2));
    assertThat(compiler.jobs()).hasSize(1);
  }

  @Test
  void aDamagedFileIsNoticedAndMadeAgain() throws Exception {
    KernelVariant variant = Variants.scale(2);
    String whole = library().ptx(Variants.device(80), variant).text();
    Path file = cache.file(variant, compiler, 80);
    byte[] kept = Files.readAllBytes(file);
    byte[] cut = Arrays.copyOf(kept, kept.length - 3);
    byte[] changed = kept.clone();
    changed[kept.length - 3] ^= 1;
    List<byte[]> damages =
        List.of(cut, changed, new byte[0], new byte[] {(byte) 0xFF, (byte) 0xFE, 10, (byte) 0xC0});
    for (byte[] damaged : damages) {
      compiler.jobs();
      Files.write(file, damaged);
      assertThat(library().ptx(Variants.device(80), variant).text()).isEqualTo(whole);
      assertThat(compiler.jobs()).as(new String(damaged, StandardCharsets.ISO_8859_1)).hasSize(1);
      assertThat(Files.readAllBytes(file)).isEqualTo(kept);
    }
  }

  @Test
  void withoutAFolderToKeepThemInKernelsAreCompiledEachTime() throws Exception {
    cache = new PtxCache(Files.createFile(folder.resolve("a file")).resolve("ptx"));
    for (int time = 1; time <= 2; time++) {
      assertThat(library().ptx(Variants.device(80), Variants.scale(2)).text()).contains("sm_80");
      assertThat(compiler.jobs()).hasSize(1);
    }
  }

  // ---- what is refused

  @Test
  void withoutACompilerTheReasonNamesWhatIsMissing() {
    assertThat(without().refusal(Variants.device(80), Variants.scale(2)))
        .contains(
            new Refusal(
                "compiler",
                "scale.cu is not shipped with {FACTOR=2}, and there is " + NO_COMPILER));
    assertThat(library().refusal(Variants.device(80), Variants.scale(2))).isEmpty();
  }

  @Test
  void aDeviceThatTheCompilerNoLongerKnowsIsRefused() {
    assertThat(library().refusal(Variants.device(61), Variants.scale(2)))
        .contains(
            new Refusal(
                "compiler",
                "scale.cu is not shipped with {FACTOR=2}, and nvcc 1.0 compiles for 7.5 and newer"
                    + " only"));
    assertThat(compiler.jobs()).as("nothing is compiled to find out").isEmpty();
  }

  @Test
  void aDeviceOlderThanWhatIsShippedIsRefusedWithoutACompiler() {
    KernelVariant variant = Variants.scale(2);
    ShippedPtx shipped = new ShippedPtx("nvcc 13", List.of(ShippedPtx.Entry.of(variant, 75)));
    PtxLibrary library = new PtxLibrary(shipped, () -> missing(), cache);
    assertThat(library.refusal(Variants.device(61), variant))
        .contains(
            new Refusal(
                "computeCapability",
                "scale.cu is shipped for 7.5 and newer, Test GPU has 6.1, and there is "
                    + NO_COMPILER));
    assertThat(library.refusal(Variants.device(75), variant)).isEmpty();
    assertThat(library.refusal(Variants.device(75), Variants.scale(3))).isPresent();
  }

  @Test
  void theWaysAreToldInOneLine() {
    assertThat(without().ways())
        .isEqualTo("no PTX is shipped (built without nvcc); no other: there is " + NO_COMPILER);
    ShippedPtx shipped =
        new ShippedPtx("nvcc 13.0.88", List.of(ShippedPtx.Entry.of(Variants.scale(2), 80)));
    assertThat(new PtxLibrary(shipped, this::search, cache).ways())
        .isEqualTo(
            "PTX shipped for the default tunables (nvcc 13.0.88); others are compiled by nvcc 1.0"
                + " (/bin/nvcc)");
  }

  private PtxLibrary library() {
    return new PtxLibrary(new ShippedPtx("", List.of()), this::search, cache);
  }

  private PtxLibrary without() {
    return new PtxLibrary(new ShippedPtx("", List.of()), PtxLibraryTest::missing, cache);
  }

  private static CompilerSearch missing() {
    return new CompilerSearch(Optional.empty(), NO_COMPILER);
  }

  private CompilerSearch search() {
    return new CompilerSearch(Optional.of(compiler), "");
  }
}
