package dev.heddle.core.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.Operation;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Entries come in the order of families and files, and only those that are meant for the size. */
class TunedTableTest {
  private static final String CPU_KERNEL = "attention_flash_cpu";

  private final TunedTable table = new TunedTable();

  @Test
  void theSmallestSizeThatHoldsTheRowsComesFirst() {
    for (int[] rowsAndBlock : new int[][] {{1, 16}, {16, 16}, {17, 32}, {33, 64}, {8193, 128}}) {
      assertThat(table.candidates(List.of("cpu"), attention(rowsAndBlock[0]), CPU_KERNEL))
          .first()
          .extracting(tunables -> tunables.get("BLOCK_M"))
          .isEqualTo(rowsAndBlock[1]);
    }
  }

  @Test
  void theMoreSpecialFamilyComesFirst() {
    String kernel = "attention_flash";
    List<Map<String, Integer>> general = candidates(kernel, "default");
    List<Map<String, Integer>> special = candidates(kernel, "cuda");
    assertThat(special).isNotEmpty().doesNotContainAnyElementsOf(general);
    assertThat(candidates(kernel, "cuda", "default").subList(0, special.size())).isEqualTo(special);
    assertThat(candidates(kernel, "default", "cuda").subList(0, general.size())).isEqualTo(general);
  }

  @Test
  void aFamilyOrAKernelWithoutEntriesHasNone() {
    assertThat(candidates("attention_flash", "no_such_family")).isEmpty();
    assertThat(candidates("attention_nothing", "cpu", "cuda", "default")).isEmpty();
  }

  @Test
  void aStageHasTheRowsOfItsAttention() {
    Operation scores = new AttentionStage(AttentionStage.Stage.SCORES, attention(17));
    assertThat(table.candidates(List.of("cpu"), scores, CPU_KERNEL))
        .isEqualTo(table.candidates(List.of("cpu"), attention(17), CPU_KERNEL));
  }

  private List<Map<String, Integer>> candidates(String kernel, String... families) {
    return table.candidates(List.of(families), attention(4096), kernel);
  }

  private static AttentionProblem attention(int rows) {
    return AttentionProblem.of(new AttentionShape(1, 1, 1, rows, 64, 64, 64));
  }
}
