package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.AttentionStage.Stage;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The bounds on loop iterations lie between what llvmpipe was seen to finish and to leave. */
class LoopIterationsTest {
  private static final long LLVMPIPE = 65535;
  private static final OpenClBackend BACKEND = new OpenClBackend();

  @ParameterizedTest
  @CsvSource({"naive, 9000, 22000", "staged, 8000, 22000", "flash, 30000, 70000"})
  void longAttentionTakesMore(String algorithm, int finishes, int leaves) {
    assertThat(iterations(attention(finishes, 8), algorithm)).isLessThanOrEqualTo(LLVMPIPE);
    assertThat(iterations(attention(leaves, 8), algorithm)).isGreaterThan(LLVMPIPE);
    AttentionStage values = new AttentionStage(Stage.VALUES, attention(leaves, 8));
    if (!algorithm.equals("flash")) {
      assertThat(iterations(values, algorithm)).isGreaterThan(LLVMPIPE);
    }
  }

  @Test
  void ordinaryAttentionTakesLess() {
    for (String algorithm : new String[] {"naive", "staged", "flash"}) {
      assertThat(iterations(attention(4096, 128), algorithm)).isBetween(1L, LLVMPIPE);
    }
    HeadsTranspose heads = new HeadsTranspose(1, 100_000, 4, 64, DType.FP32);
    assertThat(iterations(heads, "transpose")).isZero();
  }

  private static AttentionProblem attention(int keys, int headDim) {
    return AttentionProblem.of(new AttentionShape(1, 1, 1, 2, keys, headDim, headDim));
  }

  private static long iterations(Operation operation, String algorithm) {
    return Ladder.loopIterations(operation, BACKEND.recipe(operation, Plan.of(algorithm)));
  }
}
