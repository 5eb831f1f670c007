package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.kernel.KernelSource;
import dev.heddle.core.kernel.Signature;
import dev.heddle.core.kernel.Signature.Parameter;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Names and types come from the .cu file, sizes from the PTX, and the two have to agree. */
class SignatureTest {
  private static final String CU =
      """
      typedef struct { int rows; long stride; } planted_args;
      // planted(const int *not, int this) { would be one.
      FORCE_INLINE float planted_part(const float *x) { return *x; }
      extern "C" __global__ void __launch_bounds__(32 * (THREADS / 32), 1)
          planted(const storage_t *__restrict__ x,  // read, and (again) read
                  float *y, const planted_args args) {
        planted_part(y);
      }
      extern "C" __global__ void second(float* z) {}
      """;

  private static final String PTX =
      """
      .visible .entry second(
      	.param .u64 second_param_0
      )
      { ret; }
      .visible .entry planted(
      	.param .u64 .ptr .align 1 planted_param_0,
      	.param .u64 planted_param_1,
      	.param .align 8 .b8 planted_param_2[16]
      )
      .maxntid 32, 1, 1
      { ret; }
      """;

  @Test
  void parametersAreReadWhateverStandsAroundThem() {
    assertThat(signature(CU, "planted", PTX).parameters())
        .containsExactly(
            new Parameter("x", "storage_t", true),
            new Parameter("y", "float", true),
            new Parameter("args", "planted_args", false));
    assertThat(signature(CU, "second", PTX).parameters())
        .containsExactly(new Parameter("z", "float", true));
  }

  @Test
  void anotherNumberOrSizeIsAMismatch() {
    assertMismatch(CU.replace("float *y,", ""), PTX, "[8, 16]", "[8, 8, 16]");
    assertMismatch(CU.replace("long stride", "long stride; int more"), PTX, "[8, 8, 24]");
    assertMismatch(CU, PTX.replace("param_2[16]", "param_2[12]"), "[8, 8, 12]");
    assertMismatch(CU, PTX.replace(".u64 planted_param_1", ".u32 planted_param_1"), "[8, 4, 16]");
    assertMismatch(CU.replace("planted_args args", "other_args args"), PTX, "other_args args");
  }

  @Test
  void aBlockOfAnotherSizeThanCompiledForIsAMismatch() {
    Entry.requireBlock("planted", List.of(32), PTX);
    Entry.requireBlock("planted", List.of(8, 4, 1), PTX);
    Entry.requireBlock("planted", List.of(8, 8), PTX.replace("32, 1, 1", "64"));
    for (List<Integer> other : List.of(List.of(16), List.of(8, 4, 2))) {
      assertThatThrownBy(() -> Entry.requireBlock("planted", other, PTX))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContainingAll("planted", other.toString(), "compiled for 32");
    }
    String asking = PTX.replace("1\n{ ret; }", "1\n{ mov.u32 %r1, %ntid.x; ret; }");
    Entry.requireBlock("planted", List.of(16), asking);
    assertThatThrownBy(() -> Entry.requireBlock("planted", List.of(8, 4, 2), asking))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContainingAll("planted", "[8, 4, 2], 64 threads", "at most 32");
    assertThatThrownBy(() -> Entry.requireBlock("second", List.of(32), PTX))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the PTX of second has no .maxntid: its source lacks __launch_bounds__");
  }

  @Test
  void aKernelThatIsNotThereIsNamed() {
    assertThatThrownBy(() -> signature(CU, "third", PTX))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("planted.cu has no kernel third");
    assertThatThrownBy(() -> signature(CU, "planted", PTX.replace(" planted(", " other(")))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the PTX has no kernel planted");
  }

  private static void assertMismatch(String cu, String ptx, String... parts) {
    assertThatThrownBy(() -> signature(cu, "planted", ptx))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContainingAll(parts);
  }

  private static Signature signature(String cu, String kernel, String ptx) {
    return Entry.signature(new KernelSource("planted.cu", cu), kernel, ptx);
  }
}
