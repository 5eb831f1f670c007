package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearProblem;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Problems too large for the oracle are judged on some of their rows, and on all for NaN. */
class SamplingTest {
  private static final AttentionProblem PROBLEM =
      AttentionProblem.of(new AttentionShape(2, 4, 2, 150, 20, 8, 6));

  private static final int ROWS = 2 * 4 * 150;
  private static final Chain CHAIN = Chain.of(PROBLEM);
  private static final Map<String, HostTensor> INPUTS = ContractCases.gaussian(PROBLEM.inputs());
  private static final Expectation FULL = Expectation.of(CHAIN, INPUTS);
  private static final double FULL_WORK = CHAIN.flops() / 2;

  @Test
  void allRowsAreComputedUpToTheLimitAndSomeBeyond() {
    assertThat(FULL.sampled()).isFalse();
    assertThat(Expectation.of(CHAIN, INPUTS, FULL_WORK).sampled()).isFalse();
    assertThat(Expectation.of(CHAIN, INPUTS, Math.nextDown(FULL_WORK)).sampled()).isTrue();
  }

  @Test
  void theSampleIsSpreadAndAlwaysTheSame() {
    for (double share : new double[] {0, 0.1, 0.5}) {
      Expectation sample = Expectation.of(CHAIN, INPUTS, share * FULL_WORK);
      int wanted = Math.max(64, (int) (share * ROWS));
      for (ExpectedTensor tensor : sample.tensors()) {
        int[] rows = tensor.rows();
        assertThat(rows).isSorted().doesNotHaveDuplicates();
        assertThat(rows[0]).as("first row").isZero();
        assertThat(rows[rows.length - 1]).as("last row").isEqualTo(ROWS - 1);
        assertThat(rows).hasSizeBetween(wanted - 1, wanted + 2);
        for (int r = 1; r < rows.length; r++) {
          assertThat(rows[r] - rows[r - 1])
              .as("gap of at most two strata")
              .isLessThanOrEqualTo(2 * Math.ceilDiv(ROWS, wanted));
        }
        assertThat(tensor.sampled()).isTrue();
      }
      Expectation again = Expectation.of(CHAIN, INPUTS, share * FULL_WORK);
      assertThat(again.tensors().getFirst().rows())
          .isEqualTo(sample.tensors().getFirst().rows())
          .isEqualTo(sample.tensors().getLast().rows());
    }
  }

  @Test
  void sampledRowsAreThoseOfTheWhole() {
    Expectation sample = Expectation.of(CHAIN, INPUTS, 0);
    for (int t = 0; t < 2; t++) {
      ExpectedTensor some = sample.tensors().get(t);
      ExpectedTensor all = FULL.tensors().get(t);
      assertThat(some.name()).isEqualTo(all.name());
      assertThat(some.shape()).isEqualTo(all.shape());
      assertThat(some.rowLength()).isEqualTo(t == 0 ? 6 : 1);
      for (int e = 0; e < some.exact().length; e++) {
        int position = some.rows()[e / some.rowLength()] * some.rowLength() + e % some.rowLength();
        assertThat(some.position(e)).isEqualTo(position);
        assertThat(some.exact()[e]).isEqualTo(all.exact()[position]);
      }
      assertThat(some.samePrecisionError())
          .isPositive()
          .isLessThanOrEqualTo(all.samePrecisionError());
    }
  }

  @Test
  void declaredRowsAreJudgedAndNanEverywhere() {
    Expectation sample = Expectation.of(CHAIN, INPUTS, 0);
    int[] rows = sample.tensors().getFirst().rows();
    for (int row = 0; row < ROWS; row++) {
      boolean declared = Arrays.binarySearch(rows, row) >= 0;
      for (String tensor : List.of("out", "lse")) {
        int rowLength = tensor.equals("out") ? 6 : 1;
        int index = (row + 1) * rowLength - 1;
        assertThat(passes(sample, tensor, index, 77)).isEqualTo(!declared);
        assertThat(passes(sample, tensor, index, Float.NaN)).isFalse();
      }
    }
    assertThat(VERIFIER.judge(sample, correct(), List.of())).isInstanceOf(Verdict.Pass.class);
  }

  @Test
  void aNanOutsideTheSampleIsNamed() {
    Expectation sample = Expectation.of(CHAIN, INPUTS, 0);
    int[] rows = sample.tensors().getFirst().rows();
    int row = 0;
    while (Arrays.binarySearch(rows, row) >= 0) {
      row++;
    }
    Map<String, HostTensor> result = correct();
    result.get("out").set(row * 6 + 3, Float.NaN);
    String reason = ((Verdict.Fail) VERIFIER.judge(sample, result, List.of())).message();
    assertThat(reason).startsWith("out[0, 0, " + row + ", 3] is NaN");
  }

  @Test
  void otherOperationsAndLongerChainsAreComputedInFull() {
    LinearProblem linear = new LinearProblem(200, 3, 4, true, DType.FP32);
    assertThat(
            Expectation.of(Chain.of(linear), ContractCases.gaussian(linear.inputs()), 0).sampled())
        .isFalse();
    ContractCases.Case layer = ContractCases.layer(DType.FP32);
    assertThat(Expectation.of(layer.chain(), layer.inputs(), 0).sampled()).isFalse();
  }

  @Test
  void fewerRowsThanTheSmallestSampleAreAllComputed() {
    AttentionProblem small = AttentionProblem.of(new AttentionShape(1, 1, 1, 5, 9, 4, 4));
    Expectation all = Expectation.of(Chain.of(small), ContractCases.gaussian(small.inputs()), 0);
    assertThat(all.tensors().getFirst().rows()).containsExactly(0, 1, 2, 3, 4);
    assertThat(all.sampled()).isFalse();
  }

  private static final Verifier VERIFIER = new Verifier(new FlashAttentionPolicy());

  private static boolean passes(Expectation sample, String tensor, int index, float value) {
    Map<String, HostTensor> result = correct();
    result.get(tensor).set(index, value);
    return VERIFIER.judge(sample, result, List.of()) instanceof Verdict.Pass;
  }

  private static Map<String, HostTensor> correct() {
    Map<String, HostTensor> result = new HashMap<>();
    for (ExpectedTensor tensor : FULL.tensors()) {
      HostTensor rounded = HostTensor.zeros(tensor.shape(), DType.FP32);
      for (int i = 0; i < rounded.size(); i++) {
        rounded.set(i, (float) tensor.exact()[i]);
      }
      result.put(tensor.name(), rounded);
    }
    return result;
  }
}
