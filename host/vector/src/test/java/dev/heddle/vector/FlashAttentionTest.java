package dev.heddle.vector;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Blocks;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.DType;
import dev.heddle.core.HostSession.Span;
import dev.heddle.core.HostTensor;
import dev.heddle.core.TensorSpec;
import dev.heddle.reference.ForkedJvm;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FlashAttentionTest {
  @TempDir private Path folder;

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
  void keysBehindTheLengthAreNotLookedAt() {
    AttentionProblem problem =
        AttentionProblem.of(new AttentionShape(2, 1, 1, 256, 2048, 8, 8))
            .withOptions(AttentionOptions.NONE.withKeyLengths(true));
    Map<String, Span> tensors = tensors(problem);
    float[] lengths = tensors.get("key_lengths").array();
    lengths[0] = 3 * FlashAttention.BLOCK_N;
    lengths[1] = 0;
    assertThat(tiles(problem, tensors)).isEqualTo(3L * Math.ceilDiv(256, Lanes.PANEL));
  }

  @Test
  void hiddenBlocksAreSkipped() {
    int seqlen = 1024;
    int block = FlashAttention.BLOCK_N;
    int blocks = seqlen / block;
    AttentionProblem problem =
        AttentionProblem.of(AttentionShape.square(1, 1, seqlen, 8))
            .withOptions(AttentionOptions.NONE.withBlocks(new Blocks(block, block, false, false)));
    Map<String, Span> tensors = tensors(problem);
    float[] visible = tensors.get("block_mask").array();
    Arrays.fill(visible, 0);
    assertThat(tiles(problem, tensors)).isZero();
    for (int i = 0; i < blocks; i++) {
      visible[i * blocks + (i * 3 + 1) % blocks] = 1;
    }
    assertThat(tiles(problem, tensors)).isEqualTo(Math.ceilDiv(seqlen, Lanes.PANEL));
  }

  /** Tiles start and end where blocks do, so that blocks of any size are looked at once. */
  @Test
  void tilesCoverWhatBlocksShow() {
    for (int keys : new int[] {1, 3, 7, 50, 200}) {
      AttentionProblem problem =
          AttentionProblem.of(AttentionShape.square(1, 1, 700, 8))
              .withOptions(AttentionOptions.NONE.withBlocks(new Blocks(700, keys, false, false)));
      Map<String, Span> tensors = tensors(problem);
      float[] visible = tensors.get("block_mask").array();
      for (int i = 0; i < visible.length; i++) {
        visible[i] = i % 5 == 2 || i == visible.length - 1 ? 1 : 0;
      }
      ScoreTile tile = new ScoreTile(problem, new ScoreOptions(problem, tensors));
      tile.bind(new ScoreOptions(problem, tensors), 0, 1, Lanes.PANEL);
      int covered = 0;
      int start = tile.start(0, 700);
      while (start < 700) {
        for (int key = covered; key < start; key++) {
          assertThat(visible[key / keys]).as("key %d, blocks of %d", key, keys).isZero();
        }
        int length = tile.keys(start, 700);
        assertThat(length).isBetween(1, FlashAttention.BLOCK_N);
        assertThat(start % Lanes.STRIP + length % Lanes.STRIP).isZero();
        covered = start + length;
        start = tile.start(covered, 700);
      }
      assertThat(covered).isGreaterThanOrEqualTo(700);
    }
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

  /** What remains once it is compiled must be less than any array that the algorithm works on. */
  @Test
  void allocatesNothingThatGrowsWhileRunning() throws IOException, InterruptedException {
    long packedKeys = 600L * 64 * Float.BYTES;
    List<String> options =
        ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
            .filter(option -> option.startsWith("-X") || option.startsWith("--add-modules"))
            .toList();
    List<String> output =
        ForkedJvm.run(folder, options, AllocationRun.class, Map.of(), Long.toString(packedKeys));
    assertThat(output)
        .filteredOn(line -> line.startsWith(AllocationRun.BYTES))
        .singleElement()
        .satisfies(line ->
            assertThat(Long.parseLong(line.substring(AllocationRun.BYTES.length())))
                .as(line)
                .isLessThan(packedKeys));
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

  /** Hidden from every query, by masks and biases that are one for all and by such as are not. */
  @Test
  void whatIsHiddenMayBeNan() {
    AttentionProblem plain = AttentionProblem.of(AttentionShape.square(1, 1, 100, 8));
    for (boolean rows : new boolean[] {false, true}) {
      Broadcast layout = new Broadcast(false, false, rows);
      Map<String, AttentionOptions> hiding =
          Map.of(
              "mask", AttentionOptions.NONE.withMask(layout),
              "bias", AttentionOptions.NONE.withBias(layout));
      hiding.forEach((name, options) -> {
        AttentionProblem problem = plain.withOptions(options);
        Map<String, Span> tensors = tensors(problem);
        float[] hides = tensors.get(name).array();
        for (int at = 70; at < hides.length; at += 100) {
          hides[at] = name.equals("mask") ? 0 : Float.NEGATIVE_INFINITY;
        }
        for (String wild : new String[] {"k", "v"}) {
          Arrays.fill(tensors.get(wild).array(), 70 * 8, 71 * 8, Float.NaN);
        }
        tiles(problem, tensors);
        for (String output : new String[] {"out", "lse"}) {
          for (float value : tensors.get(output).array()) {
            assertThat(Float.isFinite(value)).as("%s, %s", options, output).isTrue();
          }
        }
      });
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
    return tiles(problem, tensors(problem));
  }

  private static long tiles(AttentionProblem problem, Map<String, Span> tensors) {
    try (Workers workers = new Workers(2)) {
      FlashAttention flash = new FlashAttention(problem, tensors, workers);
      flash.run();
      return flash.tilesOfLastRun();
    }
  }

  /** Normal numbers in every input, zeros in every output. */
  static Map<String, Span> tensors(AttentionProblem problem) {
    Map<String, Span> tensors = new HashMap<>();
    for (TensorSpec spec : problem.inputs()) {
      // As a session holds them: whatever the type, an element is an fp32 number.
      HostTensor values = HostTensor.gaussian(spec.shape(), DType.FP32, spec.name().hashCode());
      tensors.put(spec.name(), new Span(values.floats(), 0, values.size()));
    }
    for (TensorSpec spec : problem.outputs()) {
      int length = (int) spec.shape().elements();
      tensors.put(spec.name(), new Span(new float[length], 0, length));
    }
    return tensors;
  }
}
