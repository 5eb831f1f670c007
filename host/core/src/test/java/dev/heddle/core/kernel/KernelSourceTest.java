package dev.heddle.core.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Map;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Includes are put in place once, and every line keeps the number that a reader knows. */
class KernelSourceTest {
  private static final Function<String, String> FILES =
      Map.of(
              "kernel.cu",
              "// kernel\n#include \"a.h\"\n#include \"b.h\"\nlast\n",
              "a.h",
              "first a\n#include \"b.h\"\nlast a\n",
              "b.h",
              "only b\n")
          ::get;

  @Test
  void aFileIsPutInPlaceWhereItIsIncludedFirst() {
    assertThat(KernelSource.assemble("kernel.cu", FILES).text())
        .isEqualTo(
            """
            #line 1 "kernel.cu"
            // kernel
            #line 1 "a.h"
            first a
            #line 1 "b.h"
            only b
            #line 3 "a.h"
            last a
            #line 3 "kernel.cu"

            last
            """);
  }

  @Test
  void theHashIsOfTheWholeText() {
    String hash = KernelSource.assemble("kernel.cu", FILES).hash();
    assertThat(hash).matches("[0-9a-f]{64}");
    assertThat(
            KernelSource.assemble("kernel.cu", name -> FILES.apply(name).replace("only", "on"))
                .hash())
        .isNotEqualTo(hash);
  }

  @Test
  void sharedHeadersAreReadForEveryLanguage() {
    assertThat(KernelSource.resources("cl").apply("attention_args.h"))
        .isEqualTo(KernelSource.resources("cuda").apply("attention_args.h"))
        .contains("attention_args");
    assertThatThrownBy(() -> KernelSource.resources("cl").apply("no_such_file.h"))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("no kernel file no_such_file.h");
  }
}
