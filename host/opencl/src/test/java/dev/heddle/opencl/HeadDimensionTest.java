package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.Device;
import dev.heddle.core.Plan;
import dev.heddle.core.Planner;
import dev.heddle.core.Refusal;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.reference.KernelTrial;
import dev.heddle.reference.Verdict;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Head dimensions of any size run or are refused; none ends the process. */
class HeadDimensionTest {
  private static final OpenClBackend BACKEND = new OpenClBackend();

  @ParameterizedTest
  @CsvSource({
    "1, 1", "7, 5", "64, 257", "1000, 1024", "2049, 2047", "4064, 4064", "8160, 8160",
    "1, 16319", "16319, 1", "9000, 9000", "1, 32000", "32000, 1", "20000, 20000", "3, 262144"
  })
  void everyRungRunsOrRefuses(int headDim, int headDimV) {
    AttentionProblem attention = attention(headDim, headDimV);
    Device device = Processor.of(BACKEND, attention);
    KernelTrial trial = KernelTrial.of(attention);
    for (String algorithm : BACKEND.algorithms(device, attention)) {
      Plan plan = BACKEND.plan(device, attention, algorithm);
      Optional<Refusal> refusal = BACKEND.refusal(device, attention, plan);
      if (refusal.isPresent()) {
        assertThat(refusal.get().limit()).isIn("privateMemoryBytes", "localMemoryBytes");
      } else {
        assertThat(trial.verdict(BACKEND, device, plan))
            .as(algorithm)
            .isInstanceOf(Verdict.Pass.class);
      }
    }
  }

  /** The default plan takes fewer rows as they grow, and then the next lower rung. */
  @ParameterizedTest
  @CsvSource({
    "1024, flash_cpu, 64",
    "2016, flash_cpu, 64",
    "2017, flash_cpu, 32",
    "4064, flash_cpu, 32",
    "4065, flash_cpu, 16",
    "8160, flash_cpu, 16"
  })
  void blocksShrinkUntilTheyFit(int headDim, String algorithm, int blockM) {
    Plan plan = planned(headDim);
    assertThat(plan.algorithm()).isEqualTo(algorithm);
    assertThat(plan.tunables()).containsEntry("BLOCK_M", blockM);
  }

  @Test
  void aLowerRungTakesOverWhereNoBlockFits() {
    assertThat(planned(8161).algorithm()).isNotEqualTo("flash_cpu");
    assertThat(planned(200_000).algorithm()).isEqualTo("staged");
  }

  @Test
  void theRefusalNamesTheBytes() {
    AttentionProblem attention = attention(20_000, 20_000);
    Device device = Processor.of(BACKEND, attention);
    Plan plan = Plan.of("flash_cpu", Map.of("BLOCK_M", 64, "BLOCK_N", 64));
    Refusal refusal = BACKEND.refusal(device, attention, plan).orElseThrow();
    assertThat(refusal.limit()).isEqualTo("privateMemoryBytes");
    assertThat(refusal.reason())
        .contains(Integer.toString(4 * 64 * (20_000 + 20_000 + 64)), Integer.toString(1 << 20));
  }

  /**
   * On a processor one thread holds a work-group's private arrays, elsewhere each work-item its.
   */
  @Test
  void aProcessorCountsTheWholeWorkGroup() {
    AttentionProblem attention = attention(1, 40_000);
    TreeMap<String, Integer> tunables =
        new TreeMap<>(Map.of("BLOCK_M", 32, "BLOCK_N", 8, "THREADS_M", 8, "THREADS_N", 8));
    Recipe recipe = Ladder.recipe("attention_flash.cl", attention, "flash", tunables);
    assertThat(recipe.privateBytes()).isEqualTo(4 * 4 * (5000 + 1 + 5));
    assertThat(Limits.refusal(device(Device.Kind.GPU), attention, recipe, 0)).isEmpty();
    assertThat(Limits.refusal(device(Device.Kind.CPU), attention, recipe, 0))
        .map(Refusal::limit)
        .contains("privateMemoryBytes");
  }

  private static Device device(Device.Kind kind) {
    Device.Limits limits = new Device.Limits(1L << 40, 1L << 40, 1L << 30, 1024, 1);
    return new Device("opencl", 0, "a device", "a driver", kind, false, limits);
  }

  private static Plan planned(int headDim) {
    AttentionProblem attention = attention(headDim, headDim);
    Device device = Processor.of(BACKEND, attention);
    return new Planner(BACKEND, device).plan(attention);
  }

  private static AttentionProblem attention(int headDim, int headDimV) {
    return AttentionProblem.of(new AttentionShape(1, 1, 1, 70, 37, headDim, headDimV))
        .withMask(new BandMask(60, 9, BandMask.Alignment.BOTTOM_RIGHT));
  }
}
