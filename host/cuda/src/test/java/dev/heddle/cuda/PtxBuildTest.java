package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.KernelBuildException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PtxBuildTest {
  @TempDir Path folder;
  @TempDir Path kept;
  private final RecordingCompiler compiler = new RecordingCompiler("nvcc 1.0");

  /** Keeps nothing: its folder is below a file. */
  private PtxCache cache;

  @BeforeEach
  void noCache() throws Exception {
    cache = new PtxCache(Files.createFile(kept.resolve("file")).resolve("folder"));
  }

  @Test
  void aVariantIsMadeForTheOldestArchitectureThatItsFileAllowsAndForTheNextOneItTellsApart()
      throws Exception {
    build(compiler, Variants.scale(2), Variants.modern(), Variants.adaptive());
    assertThat(compiler.jobs())
        .containsExactlyInAnyOrder(
            "scale.cu 75", "modern.cu 80", "adaptive.cu 75", "adaptive.cu 80");
    ShippedPtx index = index();
    assertThat(index.compiler()).isEqualTo("nvcc 1.0");
    assertThat(index.entries())
        .containsExactly(
            ShippedPtx.Entry.of(Variants.scale(2), 75),
            ShippedPtx.Entry.of(Variants.modern(), 80),
            ShippedPtx.Entry.of(Variants.adaptive(), 75),
            ShippedPtx.Entry.of(Variants.adaptive(), 80));
    for (ShippedPtx.Entry entry : index.entries()) {
      assertThat(folder.resolve(entry.fileName()))
          .content()
          .isEqualTo(
              ".version 7.0\n.target sm_%d\n// %s\n"
                  .formatted(entry.architecture(), entry.macros()));
    }
  }

  @Test
  void aCompilerThatHasDroppedTheOldestMakesItForTheLowestThatItHas() throws Exception {
    RecordingCompiler newer = new RecordingCompiler("nvcc 2.0", List.of(50, 80, 90));
    build(newer, Variants.scale(2), Variants.modern(), Variants.adaptive());
    assertThat(newer.jobs())
        .containsExactlyInAnyOrder("scale.cu 80", "modern.cu 80", "adaptive.cu 80");
    RecordingCompiler newest = new RecordingCompiler("nvcc 3.0", List.of(90, 100));
    build(newest, Variants.modern(), Variants.adaptive());
    assertThat(newest.jobs()).containsExactlyInAnyOrder("modern.cu 90", "adaptive.cu 90");
  }

  @Test
  void onlyWhatChangedIsMadeAgainAndWhatIsNotWantedGoes() throws Exception {
    build(compiler, Variants.scale(2), Variants.scale(3));
    compiler.jobs();
    build(compiler, Variants.scale(2), Variants.scale(3));
    assertThat(compiler.jobs()).isEmpty();
    build(compiler, Variants.scale(2), Variants.modern());
    assertThat(compiler.jobs()).containsExactly("modern.cu 80");
    assertThat(files()).hasSize(3).noneMatch(name -> name.startsWith(nameOf(Variants.scale(3))));
  }

  @Test
  void anotherCompilerMakesEverythingAgain() throws Exception {
    build(compiler, Variants.scale(2));
    RecordingCompiler other = new RecordingCompiler("nvcc 1.1");
    build(other, Variants.scale(2));
    assertThat(other.jobs()).containsExactly("scale.cu 75");
    assertThat(index().compiler()).isEqualTo("nvcc 1.1");
  }

  @Test
  void anotherBuildOfTheSameSourcesTakesWhatWasKept() throws Exception {
    cache = new PtxCache(kept);
    build(compiler, Variants.scale(2));
    compiler.jobs();
    String text = Files.readString(only());
    Files.delete(only());
    build(compiler, Variants.scale(2));
    assertThat(compiler.jobs()).isEmpty();
    assertThat(only()).content().isEqualTo(text);
  }

  private Path only() {
    return folder.resolve(ShippedPtx.Entry.of(Variants.scale(2), 75).fileName());
  }

  @Test
  void aFileThatIsGoneIsMadeAgain() throws Exception {
    build(compiler, Variants.scale(2));
    compiler.jobs();
    Files.delete(only());
    build(compiler, Variants.scale(2));
    assertThat(compiler.jobs()).containsExactly("scale.cu 75");
  }

  @Test
  void withoutACompilerNothingIsShipped() throws Exception {
    build(compiler, Variants.scale(2));
    PtxBuild.build(folder, Optional.empty(), new PtxCache(kept), List.of(Variants.scale(2)));
    assertThat(files()).isEmpty();
  }

  @Test
  void aKernelThatDoesNotCompileEndsTheBuildAndTheNextOneStartsAnew() throws Exception {
    build(compiler, Variants.scale(2));
    KernelCompiler failing = new FailingCompiler(compiler);
    assertThatThrownBy(() -> build(failing, Variants.scale(2), Variants.broken()))
        .isInstanceOf(KernelBuildException.class)
        .hasMessageContaining("broken.cu did not compile: no");
    assertThat(files()).doesNotContain(ShippedPtx.INDEX);
    compiler.jobs();
    build(compiler, Variants.scale(2));
    assertThat(compiler.jobs()).containsExactly("scale.cu 75");
  }

  /** Refuses whatever is called broken. */
  private record FailingCompiler(KernelCompiler sound) implements KernelCompiler {
    @Override
    public String name() {
      return sound.name();
    }

    @Override
    public String location() {
      return sound.location();
    }

    @Override
    public List<Integer> architectures() {
      return sound.architectures();
    }

    @Override
    public String compile(KernelVariant variant, int architecture) {
      if (variant.file().equals("broken.cu")) {
        throw new KernelBuildException(variant.file(), "no", variant.text());
      }
      return sound.compile(variant, architecture);
    }
  }

  private void build(KernelCompiler with, KernelVariant... variants) throws Exception {
    PtxBuild.build(folder, Optional.of(with), cache, List.of(variants));
  }

  private ShippedPtx index() throws Exception {
    return ShippedPtx.parse(Files.readString(folder.resolve(ShippedPtx.INDEX)));
  }

  private List<String> files() throws Exception {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).toList();
    }
  }

  private static String nameOf(KernelVariant variant) {
    String name = ShippedPtx.Entry.of(variant, 80).fileName();
    return name.substring(0, name.indexOf(".compute"));
  }
}
