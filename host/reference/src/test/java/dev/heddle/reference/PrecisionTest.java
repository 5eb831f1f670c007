package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Shape;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The narrow modes are the arithmetic of {@code float}, bit for bit. */
class PrecisionTest {
  private static final List<Precision> NARROW =
      List.of(Precision.FP32, Precision.FP32_REORDERED, Precision.FP32_FUSED);

  @Test
  void roundingTwiceIsRoundingOnce() {
    SplittableRandom random = new SplittableRandom(1);
    for (int trial = 0; trial < 2_000_000; trial++) {
      float a = Float.intBitsToFloat(random.nextInt());
      // Every other pair lies close together, so that sums don't swallow one of them.
      float b =
          (trial & 1) == 0
              ? Float.intBitsToFloat(random.nextInt())
              : a * (1 + random.nextInt(-8, 8) / 7f);
      assertSameBits(Precision.FP32.round((double) a + b), a + b);
      assertSameBits(Precision.FP32.round((double) a - b), a - b);
      assertSameBits(Precision.FP32.round((double) a * b), a * b);
      assertSameBits(Precision.FP32.round((double) a / b), a / b);
    }
  }

  @Test
  void addScaledRoundsTheProductUnlessFused() {
    SplittableRandom random = new SplittableRandom(2);
    boolean modesDiffer = false;
    for (int trial = 0; trial < 200_000; trial++) {
      float factor = (float) random.nextGaussian();
      float x = (float) random.nextGaussian() * (trial % 3 == 0 ? 1e-40f : 1);
      float sum = (float) random.nextGaussian() * (trial % 3 == 0 ? 1e-40f : 1);
      for (Precision precision : NARROW) {
        double[] sums = {sum};
        precision.addScaled(factor, new double[] {x}, 0, sums, 0, 1);
        assertSameBits(sums[0], LongHand.multiplyAdd(precision, factor, x, sum));
      }
      modesDiffer |= Math.fma(factor, x, sum) != sum + factor * x;
    }
    assertThat(modesDiffer).as("inputs tell a fused from an unfused product").isTrue();
  }

  /** Factors on q, k and v; the small ones make products, sums and results subnormal. */
  @ParameterizedTest
  @CsvSource({
    "FP32, 1, 1, 1",
    "FP32, 1e-20, 1e-20, 1",
    "FP32, 1, 1, 1e-40",
    "FP32, 1e-22, 1e-19, 1e-38",
    "FP32, 30, 30, 1e30",
    "FP16, 1, 1, 1",
    "FP16, 1e-6, 1e-3, 1e-6",
    "FP16, 300, 300, 1e4",
    "BF16, 1, 1, 1",
    "BF16, 1e-22, 1e-19, 1e-38",
    "BF16, 30, 30, 1e30",
  })
  void attentionIsPlainFloatArithmetic(DType dtype, float q, float k, float v) {
    AttentionProblem problem =
        AttentionProblem.of(new AttentionShape(1, 1, 1, 4, 19, 12, 5)).withDtype(dtype);
    Map<String, HostTensor> inputs = ContractCases.gaussian(problem.inputs());
    scale(inputs.get("q"), q);
    scale(inputs.get("k"), k);
    scale(inputs.get("v"), v);
    for (Precision precision : NARROW) {
      Map<String, double[]> got = new ScalarOperations(precision).evaluate(problem, wide(inputs));
      for (int i = 0; i < 4; i++) {
        float[] expected =
            LongHand.plainRow(
                rows(inputs.get("q"))[i],
                rows(inputs.get("k")),
                rows(inputs.get("v")),
                problem.softmaxScale(),
                precision,
                dtype);
        for (int e = 0; e < 5; e++) {
          assertSameBits(got.get("out")[i * 5 + e], expected[e]);
        }
        assertSameBits(got.get("lse")[i], expected[5]);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"1", "1e-22"})
  void linearIsPlainFloatArithmetic(float scale) {
    LinearProblem problem = new LinearProblem(3, 23, 4, true, DType.FP32);
    Map<String, HostTensor> inputs = ContractCases.gaussian(problem.inputs());
    inputs.values().forEach(tensor -> scale(tensor, scale));
    float[][] x = rows(inputs.get("x"));
    float[][] weight = rows(inputs.get("weight"));
    for (Precision precision : NARROW) {
      double[] y = new ScalarOperations(precision).evaluate(problem, wide(inputs)).get("y");
      for (int e = 0; e < y.length; e++) {
        float sum = 0;
        for (int step = 0; step < 23; step++) {
          int i = precision == Precision.FP32_REORDERED ? 22 - step : step;
          sum = LongHand.multiplyAdd(precision, x[e / 4][i], weight[i][e % 4], sum);
        }
        assertSameBits(y[e], sum + inputs.get("bias").get(e % 4));
      }
    }
  }

  @Test
  void theModesDiffer() {
    LinearProblem problem = new LinearProblem(8, 200, 8, true, DType.FP32);
    Map<String, double[]> inputs = wide(ContractCases.gaussian(problem.inputs()));
    List<double[]> results =
        NARROW.stream()
            .map(precision -> new ScalarOperations(precision).evaluate(problem, inputs).get("y"))
            .toList();
    assertThat(results.get(0)).isNotEqualTo(results.get(1)).isNotEqualTo(results.get(2));
    assertThat(results.get(1)).isNotEqualTo(results.get(2));
  }

  private static void scale(HostTensor tensor, float factor) {
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, tensor.get(i) * factor);
    }
  }

  /** The innermost dimension as rows, all outer ones flattened. */
  private static float[][] rows(HostTensor tensor) {
    Shape shape = tensor.shape();
    int length = shape.rowLength();
    float[][] rows = new float[tensor.size() / length][];
    float[] values = tensor.rounded(DType.FP32).floats();
    Arrays.setAll(rows, r -> Arrays.copyOfRange(values, r * length, (r + 1) * length));
    return rows;
  }

  private static Map<String, double[]> wide(Map<String, HostTensor> inputs) {
    Map<String, double[]> wide = new HashMap<>();
    inputs.forEach((name, tensor) -> wide.put(name, tensor.toDoubles()));
    return wide;
  }

  private static void assertSameBits(double got, float expected) {
    if (Double.doubleToLongBits(got) != Double.doubleToLongBits(expected)) {
      throw new AssertionError(got + " is not " + expected);
    }
  }
}
