package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The oracle against arithmetic written out a second time. */
class OracleTest {
  private static final ScalarOperations EXACT = new ScalarOperations(Precision.FP64);

  static List<AttentionProblem> problems() {
    List<AttentionShape> shapes =
        List.of(
            new AttentionShape(1, 1, 1, 1, 1, 1, 1),
            new AttentionShape(2, 4, 2, 5, 7, 3, 6),
            new AttentionShape(1, 6, 3, 7, 3, 8, 2),
            new AttentionShape(2, 3, 1, 2, 40, 5, 5));
    List<BandMask> masks =
        List.of(
            BandMask.NONE,
            BandMask.causal(Alignment.TOP_LEFT),
            BandMask.causal(Alignment.BOTTOM_RIGHT),
            new BandMask(2, 1, Alignment.TOP_LEFT),
            new BandMask(1, 0, Alignment.BOTTOM_RIGHT),
            new BandMask(0, BandMask.UNBOUNDED, Alignment.BOTTOM_RIGHT));
    List<AttentionProblem> problems = new ArrayList<>();
    for (AttentionShape shape : shapes) {
      for (BandMask mask : masks) {
        problems.add(AttentionProblem.of(shape).withMask(mask));
      }
    }
    problems.add(AttentionProblem.of(shapes.get(1)).withScale(-3));
    problems.add(AttentionProblem.of(shapes.get(1)).withScale(0));
    return problems;
  }

  @ParameterizedTest
  @MethodSource("problems")
  void attentionIsTheTextbookFormula(AttentionProblem problem) {
    Map<String, HostTensor> inputs = ContractCases.gaussian(problem.inputs());
    Map<String, double[]> got = EXACT.evaluate(problem, widened(inputs));
    LongHand.Attention expected = LongHand.attention(problem, inputs);
    AttentionShape s = problem.shape();
    double[] out = got.get("out");
    double[] lse = got.get("lse");
    int row = 0;
    int element = 0;
    int empty = 0;
    for (int b = 0; b < s.batch(); b++) {
      for (int h = 0; h < s.headsQ(); h++) {
        for (int i = 0; i < s.seqlenQ(); i++) {
          double expectedLse = expected.lse()[b][h][i];
          if (expectedLse == Double.NEGATIVE_INFINITY) {
            empty++;
            assertThat(lse[row]).isEqualTo(Double.NEGATIVE_INFINITY);
          } else {
            assertThat(lse[row]).isCloseTo(expectedLse, within(1e-13 * scale(expectedLse)));
          }
          row++;
          for (int e = 0; e < s.headDimV(); e++) {
            double expectedOut = expected.out()[b][h][i][e];
            assertThat(out[element++]).isCloseTo(expectedOut, within(1e-13 * scale(expectedOut)));
          }
        }
      }
    }
    assertThat(out).hasSize(element);
    assertThat(lse).hasSize(row);
    if (s.seqlenQ() > s.seqlenK() && problem.mask().alignment() == Alignment.BOTTOM_RIGHT) {
      boolean boundedRight = problem.mask().right() != BandMask.UNBOUNDED;
      assertThat(empty > 0).as("rows that see nothing are among them").isEqualTo(boundedRight);
    }
  }

  @ParameterizedTest
  @MethodSource("problems")
  void stagesAgreeWithTheWhole(AttentionProblem problem) {
    Map<String, double[]> tensors = widened(ContractCases.gaussian(problem.inputs()));
    Map<String, double[]> whole = EXACT.evaluate(problem, tensors);
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      tensors.putAll(EXACT.evaluate(new AttentionStage(stage, problem), tensors));
    }
    assertThat(tensors.get("out")).isEqualTo(whole.get("out"));
    assertThat(tensors.get("lse")).isEqualTo(whole.get("lse"));
    double[] probabilities = tensors.get("probabilities");
    int seqlenK = problem.shape().seqlenK();
    for (int row = 0; row < probabilities.length / seqlenK; row++) {
      int i = row % problem.shape().seqlenQ();
      double sum = 0;
      boolean any = false;
      for (int j = 0; j < seqlenK; j++) {
        boolean visible = LongHand.visible(problem.mask(), problem.shape(), i, j);
        any |= visible;
        assertThat(probabilities[row * seqlenK + j] > 0).isEqualTo(visible);
        sum += probabilities[row * seqlenK + j];
      }
      assertThat(sum).isCloseTo(any ? 1 : 0, within(1e-14));
    }
  }

  @Test
  void rawScoresKnowNeitherScaleNorMask() {
    AttentionProblem masked =
        problems().get(1).withScale(7).withMask(new BandMask(0, 0, Alignment.TOP_LEFT));
    Map<String, double[]> inputs = widened(ContractCases.gaussian(masked.inputs()));
    double[] scores =
        EXACT
            .evaluate(new AttentionStage(AttentionStage.Stage.SCORES, masked), inputs)
            .get("scores");
    assertThat(scores).hasSize(1);
    assertThat(scores[0]).isEqualTo(inputs.get("q")[0] * inputs.get("k")[0]);
  }

  @ParameterizedTest
  @ValueSource(floats = {1, 1e4f})
  void onePassAgreesWithTwo(float logits) {
    List<AttentionProblem> all = new ArrayList<>(problems());
    all.add(AttentionProblem.of(new AttentionShape(1, 2, 1, 3, 131, 16, 9)));
    all.add(all.getLast().withMask(BandMask.causal(Alignment.BOTTOM_RIGHT)));
    all.add(all.getLast().withMask(new BandMask(50, 3, Alignment.TOP_LEFT)));
    for (AttentionProblem problem : all) {
      AttentionProblem scaled = problem.withScale(problem.softmaxScale() * logits);
      Map<String, double[]> inputs = widened(ContractCases.gaussian(problem.inputs()));
      // A maximum that rises with every tile is the hard case for the online softmax.
      double[] k = inputs.get("k");
      for (int e = 0; e < k.length; e++) {
        int key = e / problem.shape().headDim() % problem.shape().seqlenK();
        k[e] *= (1.0 + key) / problem.shape().seqlenK();
      }
      Map<String, double[]> twoPasses = EXACT.evaluate(scaled, inputs);
      Map<String, double[]> onePass = ScalarFlash.attention(scaled, inputs);
      assertClose(onePass.get("out"), twoPasses.get("out"));
      assertClose(onePass.get("lse"), twoPasses.get("lse"));
    }
  }

  @ParameterizedTest
  @EnumSource
  void aRowThatSeesNothingIsZeroAndMinusInfinity(Precision precision) {
    AttentionProblem problem =
        AttentionProblem.of(new AttentionShape(1, 1, 1, 4, 1, 2, 3))
            .withMask(BandMask.causal(Alignment.BOTTOM_RIGHT));
    Map<String, double[]> inputs = widened(ContractCases.gaussian(problem.inputs()));
    Map<String, double[]> got = new ScalarOperations(precision).evaluate(problem, inputs);
    assertThat(got.get("lse"))
        .startsWith(Double.NEGATIVE_INFINITY, Double.NEGATIVE_INFINITY, Double.NEGATIVE_INFINITY);
    assertThat(got.get("lse")[3]).isFinite();
    assertThat(got.get("out")).startsWith(0, 0, 0, 0, 0, 0, 0, 0, 0);
    assertThat(got.get("out")[9]).isEqualTo(inputs.get("v")[0]);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void linearIsTheSumOfProducts(boolean bias) {
    LinearProblem problem = new LinearProblem(5, 37, 6, bias, DType.FP32);
    Map<String, HostTensor> inputs = ContractCases.gaussian(problem.inputs());
    double[] y = EXACT.evaluate(problem, widened(inputs)).get("y");
    assertThat(y).hasSize(30);
    for (int e = 0; e < y.length; e++) {
      double expected = LongHand.linear(inputs, bias, e / 6, e % 6, 37);
      assertThat(y[e]).isCloseTo(expected, within(1e-13));
    }
  }

  @Test
  void headsSwapTheMiddleAxes() {
    HeadsTranspose problem = new HeadsTranspose(2, 3, 4, 5, DType.FP32);
    Map<String, double[]> inputs = widened(ContractCases.gaussian(problem.inputs()));
    double[] y = EXACT.evaluate(problem, inputs).get("y");
    for (int b = 0; b < 2; b++) {
      for (int o = 0; o < 3; o++) {
        for (int i = 0; i < 4; i++) {
          for (int w = 0; w < 5; w++) {
            assertThat(y[b * 60 + i * 15 + o * 5 + w])
                .isEqualTo(inputs.get("x")[b * 60 + o * 20 + i * 5 + w]);
          }
        }
      }
    }
  }

  @Test
  void theOracleDoesNotRoundToTheStorageTypeButPlainArithmeticDoes() {
    for (DType dtype : DType.FLOATING) {
      Operation problem = new LinearProblem(3, 11, 4, true, dtype);
      Map<String, double[]> inputs = widened(ContractCases.gaussian(problem.inputs()));
      double[] exact = EXACT.evaluate(problem, inputs).get("y");
      double[] plain = new ScalarOperations(Precision.FP32).evaluate(problem, inputs).get("y");
      assertThat(Arrays.stream(exact).anyMatch(y -> dtype.round((float) y) != y)).isTrue();
      assertThat(Arrays.stream(plain).allMatch(y -> dtype.round((float) y) == y)).isTrue();
    }
  }

  private static Map<String, double[]> widened(Map<String, HostTensor> inputs) {
    Map<String, double[]> wide = new HashMap<>();
    inputs.forEach((name, tensor) -> wide.put(name, tensor.toDoubles()));
    return wide;
  }

  private static double scale(double value) {
    return Math.max(1, Math.abs(value));
  }

  private static void assertClose(double[] got, double[] expected) {
    assertThat(got).hasSameSizeAs(expected);
    for (int i = 0; i < got.length; i++) {
      assertThat(ErrorMeasures.difference(got[i], expected[i]))
          .isLessThanOrEqualTo(1e-12 * scale(Double.isInfinite(expected[i]) ? 1 : expected[i]));
    }
  }
}
