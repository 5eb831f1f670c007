package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;

class PtxKernelTest {
  private static final String PTX =
      """
      .version 7.0
      .target sm_80
      .address_size 64

      .extern .shared .align 16 .b8 tiles[];

      .visible .entry products(
      	.param .u64 products_param_0
      )
      .maxntid 32, 4, 1
      .minnctapersm 1
      {
      	.reg .pred 	%p<3>;
      	.loc	1 12 0
      	ld.param.u64 	%rd1, [products_param_0];
      $L__BB0_1:
      	.loc	1 14 3
      	mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32
      		{%f1, %f2, %f3, %f4},
      		{%r1, %r2, %r3, %r4},
      		{%r5, %r6},
      		{%f1, %f2, %f3, %f4};
      	mov.u32 	%r9, tiles;
      $L__BB0_2:
      	add.s32 	%r8, %r8, 1;
      	@%p1 bra 	$L__BB0_2;
      	ex2.approx.ftz.f32 	%f5, %f5;
      	@!%p2 bra 	$L__BB0_1;
      	bra.uni 	$L__BB0_3;
      $L__BB0_3:
      	ret;
      }

      .visible .entry plain(
      	.param .u64 plain_param_0
      )
      {
      	mov.u32 	%r1, 0;
      	ret;
      }
      """;

  @Test
  void bothKernelsAreRead() {
    List<PtxKernel> kernels = PtxKernel.of(PTX);
    assertThat(kernels).extracting(PtxKernel::name).containsExactly("products", "plain");
    assertThat(kernels).extracting(PtxKernel::threads).containsExactly(128, 1);
    assertThat(kernels).extracting(PtxKernel::usesDynamicShared).containsExactly(true, false);
  }

  @Test
  void theMainLoopIsTheOneWithTheProducts() {
    PtxKernel.Mix mix = PtxKernel.of(PTX).getFirst().mainLoop();
    assertThat(mix.products()).isEqualTo(1);
    assertThat(mix.kinds()).containsOnlyKeys("mma", "mov", "add", "bra", "ex2");
    assertThat(mix.kinds()).containsEntry("bra", 2);
    assertThat(mix.others()).isEqualTo(5);
  }

  @Test
  void aKernelWithoutALoopHasNoMainLoop() {
    assertThat(PtxKernel.of(PTX).getLast().mainLoop().products()).isZero();
  }
}
