package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PtxTextTest {
  private static final String RAW =
      """
      .version 9.0
      .target sm_80
      .address_size 64

      .visible .entry f(
      	.param .u64 f_param_0
      )
      {
      	.loc	1 12 0
      	ld.param.u64 	%rd1, [f_param_0];
      	.loc	3 449 9, function_name $L__info_string0, inlined_at 1 14 3
      	shfl.sync.bfly.b32 	%r10|%p2, %r6, %r8, %r7, %r9;
      	.loc	2 7 5, function_name $L__info_string1, inlined_at 1 15 3
      	add.f32 	%f5, %f3, %f4;
      	ret;
      }
      	.file	1 "/somewhere/else/attention_flash.cu"
      	.file	2 "/somewhere/else/tile.h"
      	.file	3 "/usr/local/cuda/include/sm_30_intrinsics.hpp"
      	.section	.debug_str
      	{
      $L__info_string0:
      .b8 95,90
      $L__info_string1:
      .b8 95,91

      	}
      """;

  private static final String PORTABLE =
      """
      .version 7.0
      .target sm_80
      .address_size 64

      .visible .entry f(
      	.param .u64 f_param_0
      )
      {
      	.loc	1 12 0
      	ld.param.u64 	%rd1, [f_param_0];
      	.loc	1 14 3
      	shfl.sync.bfly.b32 	%r10|%p2, %r6, %r8, %r7, %r9;
      	.loc	2 7 5
      	add.f32 	%f5, %f3, %f4;
      	ret;
      }
      	.file	1 "attention_flash.cu"
      	.file	2 "tile.h"
      """;

  private static final Set<String> SOURCES = Set.of("attention_flash.cu", "tile.h");

  @Test
  void onlyTheVersionAndTheLineInformationChange() {
    assertThat(PtxText.portable(RAW, SOURCES)).isEqualTo(PORTABLE);
  }

  /** What was rewritten before is not taken for what would be written now. */
  @Test
  void theFormatsNumberIsPartOfWhatPtxIsKnownByAndRisesWithEveryChange() {
    KernelVariant variant = Variants.scale(2);
    assertThat(variant.key())
        .isEqualTo(variant.key(PtxText.FORMAT))
        .isNotEqualTo(variant.key(PtxText.FORMAT + 1));
    assertThat(PtxText.FORMAT + " " + PORTABLE.hashCode())
        .as("where the portable text has changed, PtxText.FORMAT has to be raised, and this line")
        .isEqualTo("1 -1431828092");
  }

  @Test
  void whatIsPortableStaysAsItIs() {
    assertThat(PtxText.portable(PORTABLE, SOURCES)).isEqualTo(PORTABLE);
  }

  @ParameterizedTest
  @CsvSource({"61,7.0", "75,7.0", "80,7.0", "86,7.1", "90,7.8", "100,8.6", "120,8.7", "121,8.8"})
  void theVersionIsTheLowestThatHasTheArchitecture(int architecture, String version) {
    String raw = RAW.replace("sm_80", "sm_" + architecture);
    assertThat(PtxText.portable(raw, SOURCES))
        .contains(".version " + version + "\n.target sm_" + architecture + "\n");
  }

  @Test
  void theVersionOfAnUnknownArchitectureIsTheCompilers() {
    assertThat(PtxText.portable(RAW.replace("sm_80", "sm_135"), SOURCES))
        .contains(".version 9.0\n");
  }
}
