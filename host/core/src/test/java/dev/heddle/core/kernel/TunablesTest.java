package dev.heddle.core.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.Refusal;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a kernel file declares is refused by the limit that it is about, in the file's words. */
class TunablesTest {
  private static final String FILE =
      """
      #ifndef BLOCK_M
      #define BLOCK_M 64  // {16,64} rows
      #endif
      #ifndef STAGES
      #define STAGES 2  // {1,2,3} tiles in flight
      #endif
      #if STAGES == 3 && HEAD_DIM > 128
      #error "three stages need a HEAD_DIM of at most 128"
      #endif
      #if HEAD_DIM != 32 && HEAD_DIM != 64 && \\
          HEAD_DIM != 256
      #error "HEAD_DIM must be 32, 64 or 256"
      #endif
      #if DTYPE == 0
      #error "fp16 and bf16 only"
      #endif
      #if __CUDA_ARCH__ < 800
      #error "needs compute capability 8.0"
      #endif
      #if HEAD_DIM_V != HEAD_DIM
      #error "one head dimension"
      #endif
      """;

  private static final Tunables TUNABLES = Tunables.of(new KernelSource("planted.cu", FILE));

  @Test
  void whatIsDeclaredIsRead() {
    assertThat(TUNABLES.declared().keySet()).containsExactly("BLOCK_M", "STAGES");
    assertThat(TUNABLES.complete(Map.of("STAGES", 3)))
        .containsExactlyInAnyOrderEntriesOf(Map.of("BLOCK_M", 64, "STAGES", 3));
    assertThat(TUNABLES.constraints()).hasSize(5);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      nullValues = "none",
      value = {
        "2 |  64 |  64 | 1 | 800 | none              | none",
        "2 | 256 | 256 | 2 | 900 | none              | none",
        "3 | 256 | 256 | 1 | 800 | tunables          | three stages need a HEAD_DIM of at most 128",
        "2 |  48 |  48 | 1 | 800 | headDim           | HEAD_DIM must be 32, 64 or 256",
        "2 |  64 |  64 | 0 | 800 | dtype             | fp16 and bf16 only",
        "2 |  64 |  64 | 1 | 750 | computeCapability | needs compute capability 8.0",
        "2 |  64 |  32 | 1 | 800 | headDim           | one head dimension",
      })
  void aConstraintNamesTheLimitThatItIsAbout(
      int stages, int headDim, int headDimV, int dtype, int arch, String limit, String reason) {
    Map<String, Integer> given =
        Map.of("HEAD_DIM", headDim, "HEAD_DIM_V", headDimV, "DTYPE", dtype, "__CUDA_ARCH__", arch);
    assertThat(TUNABLES.refusal(Map.of("STAGES", stages), given).orElse(null))
        .isEqualTo(limit == null ? null : new Refusal(limit, reason));
  }

  @Test
  void aChoiceThatTheFileDoesNotOfferIsRefused() {
    assertThat(TUNABLES.refusal(Map.of("BLOCK_M", 32), Map.of()).orElseThrow())
        .isEqualTo(new Refusal("tunables", "BLOCK_M = 32; it must be one of [16, 64]"));
    assertThat(TUNABLES.refusal(Map.of("BLOCK_K", 8), Map.of()).orElseThrow())
        .isEqualTo(
            new Refusal(
                "tunables", "BLOCK_K is no tunable of this kernel; it has [BLOCK_M, STAGES]"));
  }

  @Test
  void aConstraintOverAMacroThatNobodyGivesIsAnError() {
    assertThatThrownBy(() -> TUNABLES.refusal(Map.of("STAGES", 3), Map.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("HEAD_DIM");
  }

  @Test
  void aGuardOfAnotherMacroIsAnError() {
    KernelSource swapped =
        new KernelSource("planted.cl", FILE.replace("#define STAGES", "#define STAGE"));
    assertThatThrownBy(() -> Tunables.of(swapped))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("planted.cl guards STAGES but defines STAGE");
  }
}
