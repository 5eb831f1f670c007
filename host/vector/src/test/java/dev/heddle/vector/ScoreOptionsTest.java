package dev.heddle.vector;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ScoreOptionsTest {

  /** What is hidden is -inf, which a scale of 0 must not meet. */
  @Test
  void aScaleOfZeroAveragesWhatAMaskShows() {
    int seqlen = 40;
    AttentionProblem problem =
        AttentionProblem.of(AttentionShape.square(1, 1, seqlen, 8))
            .withScale(0)
            .withOptions(AttentionOptions.NONE.withMask(Broadcast.MATRIX));
    for (String algorithm : List.of("naive", "staged", "flash")) {
      Map<String, Span> tensors = FlashAttentionTest.tensors(problem);
      float[] mask = tensors.get("mask").array();
      for (int at = 0; at < mask.length; at++) {
        mask[at] = at % 3 == 0 ? 1 : 0;
      }
      try (Workers workers = new Workers(2)) {
        HostSession.Kernel kernel =
            switch (algorithm) {
              case "naive" -> new NaiveAttention(problem, tensors, workers);
              case "staged" -> new StagedAttention(problem, tensors, workers);
              default -> new FlashAttention(problem, tensors, workers);
            };
        kernel.run();
      }
      for (int query = 0; query < seqlen; query++) {
        double sum = 0;
        int visible = 0;
        for (int key = 0; key < seqlen; key++) {
          if (mask[query * seqlen + key] != 0) {
            sum += tensors.get("v").array()[key * 8];
            visible++;
          }
        }
        assertThat((double) tensors.get("out").array()[query * 8])
            .as("%s, query %d", algorithm, query)
            .isCloseTo(sum / visible, within(1e-5));
        assertThat((double) tensors.get("lse").array()[query])
            .as("%s, lse of query %d", algorithm, query)
            .isCloseTo(Math.log(visible), within(1e-5));
      }
    }
  }
}
