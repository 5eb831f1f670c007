package dev.heddle.vector;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.HostSession.Span;
import dev.heddle.core.HostTensor;
import dev.heddle.core.TensorSpec;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

class FlashAttentionTest {

  @Test
  void causalSkipsTheTilesThatNobodySees() {
    AttentionShape shape = AttentionShape.square(1, 1, 2048, 8);
    AttentionProblem full = AttentionProblem.of(shape);
    long all = tiles(full);
    assertThat(all)
        .isEqualTo((long) Math.ceilDiv(2048, Lanes.PANEL) * (2048 / FlashAttention.BLOCK_N));
    long causal = tiles(full.withMask(BandMask.causal(Alignment.TOP_LEFT)));
    // Half of them, and at most one more per query block for the diagonal.
    assertThat(causal).isBetween(all / 2, all / 2 + Math.ceilDiv(2048, Lanes.PANEL));
    long window = tiles(full.withMask(new BandMask(63, 0, Alignment.TOP_LEFT)));
    assertThat(window).isLessThanOrEqualTo(3L * Math.ceilDiv(2048, Lanes.PANEL));
    AttentionShape nothing = new AttentionShape(1, 1, 1, 500, 1, 8, 8);
    BandMask beyond = new BandMask(0, 0, Alignment.TOP_LEFT);
    assertThat(tiles(AttentionProblem.of(nothing).withMask(beyond))).isEqualTo(1);
  }

  @Test
  void extraMemoryIsLinearInTheSequenceLength() {
    long perKey = 0;
    for (int seqlen : new int[] {1024, 2048, 4096, 32768}) {
      AttentionShape shape = AttentionShape.square(1, 1, seqlen, 64);
      AttentionProblem problem = AttentionProblem.of(shape);
      long bytes = FlashAttention.scratchBytes(problem, 2);
      AttentionShape twice = AttentionShape.square(1, 1, 2 * seqlen, 64);
      long doubled = FlashAttention.scratchBytes(problem.withShape(twice), 2);
      long growth = (doubled - bytes) / seqlen;
      assertThat(perKey == 0 || growth == perKey).isTrue();
      perKey = growth;
      try (Workers workers = new Workers(2)) {
        FlashAttention flash = new FlashAttention(problem, tensors(problem), workers);
        assertThat(flash.scratchBytes()).as("declared and held").isEqualTo(bytes);
      }
    }
    // K and V once more, and a few bytes of bookkeeping per key.
    assertThat(perKey).isLessThan(2 * 64 * Float.BYTES + 8);
  }

  @Test
  void allocatesNothingThatGrowsWhileRunning() {
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 600, 64));
    try (Workers workers = new Workers(1)) {
      FlashAttention flash = new FlashAttention(problem, tensors(problem), workers);
      var threads =
          (com.sun.management.ThreadMXBean)
              java.lang.management.ManagementFactory.getThreadMXBean();
      // Interpreted code boxes every vector; what remains once it is compiled must be less than any
      // array that the algorithm works on.
      long packedKeys = 600L * 64 * Float.BYTES;
      long deadline = System.nanoTime() + 20_000_000_000L;
      long allocated = Long.MAX_VALUE;
      while (allocated >= packedKeys && System.nanoTime() < deadline) {
        long before = threads.getCurrentThreadAllocatedBytes();
        flash.run();
        allocated = threads.getCurrentThreadAllocatedBytes() - before;
      }
      assertThat(allocated).as("bytes allocated by one run").isLessThan(packedKeys);
    }
  }

  @Test
  void aWildValueReachesOnlyTheQueriesThatSeeIt() {
    AttentionShape shape = AttentionShape.square(1, 1, 100, 8);
    AttentionProblem problem =
        AttentionProblem.of(shape).withMask(BandMask.causal(Alignment.TOP_LEFT));
    for (float wild : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
      Map<String, Span> tensors = tensors(problem);
      Span v = tensors.get("v");
      v.array()[70 * 8 + 3] = wild;
      try (Workers workers = new Workers(2)) {
        new FlashAttention(problem, tensors, workers).run();
      }
      Span out = tensors.get("out");
      for (int i = 0; i < out.length(); i++) {
        boolean reached = i / 8 >= 70 && i % 8 == 3;
        assertThat(Float.isFinite(out.array()[i])).as("out[%d]", i).isNotEqualTo(reached);
      }
    }
  }

  @Test
  void groupsOfHeadsWithFewQueriesShareABlock() {
    // 8 heads of one query each: one block of 8 lanes instead of 8 blocks of one.
    AttentionProblem problem =
        AttentionProblem.of(new AttentionShape(1, 8, 1, 1, FlashAttention.BLOCK_N, 8, 8));
    assertThat(tiles(problem)).isEqualTo(Math.ceilDiv(8, Lanes.PANEL));
  }

  private static long tiles(AttentionProblem problem) {
    try (Workers workers = new Workers(2)) {
      FlashAttention flash = new FlashAttention(problem, tensors(problem), workers);
      flash.run();
      return flash.tilesOfLastRun();
    }
  }

  private static Map<String, Span> tensors(AttentionProblem problem) {
    Map<String, Span> tensors = new HashMap<>();
    for (TensorSpec spec : problem.inputs()) {
      HostTensor values = HostTensor.gaussian(spec.shape(), spec.dtype(), spec.name().hashCode());
      tensors.put(spec.name(), new Span(values.floats(), 0, values.size()));
    }
    for (TensorSpec spec : problem.outputs()) {
      int length = (int) spec.shape().elements();
      tensors.put(spec.name(), new Span(new float[length], 0, length));
    }
    return tensors;
  }
}
