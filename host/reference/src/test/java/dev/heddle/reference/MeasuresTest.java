package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Error measures, the ULP histogram and FlashAttention's rule, on numbers worked out by hand. */
class MeasuresTest {
  private static final float INF = Float.POSITIVE_INFINITY;

  @Test
  void ulpClassesDouble() {
    assertThat(ulps(1, 1)).hasToString("0:1");
    assertThat(ulps(1, Math.nextUp(1f))).hasToString("1:1");
    assertThat(ulps(1, up(1, 2))).hasToString("2:1");
    assertThat(ulps(1, up(1, 3))).hasToString("3-4:1");
    assertThat(ulps(up(1, 4), 1)).hasToString("3-4:1");
    assertThat(ulps(1, up(1, 5))).hasToString("5-8:1");
    assertThat(ulps(1, 2)).hasToString("4194305-8388608:1");
    assertThat(ulps(-Float.MIN_VALUE, Float.MIN_VALUE)).hasToString("2:1");
    assertThat(ulps(-0f, 0f)).hasToString("0:1");
    assertThat(ulps(Float.MAX_VALUE, INF)).hasToString("1:1");
    assertThat(ulps(-INF, INF)).hasToString("2147483649-4294967296:1");
    assertThat(ulps(INF, INF)).hasToString("0:1");
    assertThat(ulps(Float.NaN, 1)).hasToString("NaN:1");
    assertThat(ulps(Float.NaN, Float.NaN)).hasToString("NaN:1");
  }

  @Test
  void ulpsOfA16BitTypeAreItsOwn() {
    float halfStep = 1 + 1 / 1024f;
    assertThat(ulps(DType.FP16, 1, halfStep)).hasToString("1:1");
    assertThat(ulps(DType.FP16, 1, 1 + 1 / 4096f)).as("rounds to 1").hasToString("0:1");
    assertThat(ulps(DType.BF16, 1, 1 + 1 / 128f)).hasToString("1:1");
    assertThat(ulps(DType.FP16, -0x1p-24f, 0x1p-24f)).hasToString("2:1");
    assertThat(ulps(DType.FP16, -0f, 0f)).hasToString("0:1");
    assertThat(ulps(DType.FP16, 65504, INF)).hasToString("1:1");
    assertThat(ulps(DType.BF16, -INF, INF)).hasToString("32769-65536:1");
    assertThat(ulps(DType.FP16, Float.NaN, 1)).hasToString("NaN:1");
    assertThat(ulps(DType.BF16, Float.NaN, Float.NaN)).hasToString("NaN:1");
  }

  @Test
  void ulpCountsAddUp() {
    UlpHistogram ulps = new UlpHistogram(DType.FP32);
    for (int distance = 0; distance <= 16; distance++) {
      ulps.add(1, up(1, distance));
    }
    ulps.add(-INF, INF);
    ulps.add(Float.NaN, 1);
    assertThat(ulps.exact()).isEqualTo(1);
    assertThat(ulps.within(0)).isEqualTo(2);
    assertThat(ulps.within(1)).isEqualTo(3);
    assertThat(ulps.within(2)).isEqualTo(5);
    assertThat(ulps.within(4)).isEqualTo(17);
    assertThat(ulps.within(31)).isEqualTo(17);
    assertThat(ulps.within(32)).isEqualTo(18);
    assertThat(ulps.within(33)).as("a NaN is within no distance").isEqualTo(18);
    assertThat(ulps.within(60)).isEqualTo(18);
    assertThat(ulps.nans()).isEqualTo(1);
    assertThat(ulps.total()).isEqualTo(19);
  }

  @Test
  void errorsByHand() {
    ErrorMeasures measures = measure(new double[] {3, 4, 0, -12}, 3, 4.5f, 0, -13);
    assertThat(measures.maxAbs()).isEqualTo(1);
    assertThat(measures.worst()).isEqualTo(3);
    assertThat(measures.expected()).isEqualTo(-12);
    assertThat(measures.got()).isEqualTo(-13);
    assertThat(measures.nmse()).isEqualTo(1.25 / 169);
    assertThat(measures.relL2()).isCloseTo(Math.sqrt(1.25) / 13, within(1e-15));
    assertThat(measures.ulps().exact()).isEqualTo(2);
  }

  @Test
  void equalIsNoError() {
    ErrorMeasures measures = measure(new double[] {0, 1, -INF, INF}, -0f, 1, -INF, INF);
    assertThat(measures.maxAbs()).isZero();
    assertThat(measures.relL2()).isZero();
    assertThat(measures.nmse()).isZero();
    assertThat(measures.ulps().exact()).isEqualTo(4);
  }

  @Test
  void anInfinityInTheWrongPlaceIsAnInfiniteError() {
    for (float[] pair : new float[][] {{-INF, INF}, {-INF, 0}, {1, INF}, {0, -INF}}) {
      ErrorMeasures measures = measure(new double[] {1, pair[0], 2}, 1, pair[1], 2);
      assertThat(measures.maxAbs()).isEqualTo(Double.POSITIVE_INFINITY);
      assertThat(measures.worst()).isEqualTo(1);
    }
  }

  @Test
  void aNanIsWorseThanAnything() {
    ErrorMeasures measures = measure(new double[] {1, 2, 3, 4}, 7, Float.NaN, INF, Float.NaN);
    assertThat(measures.maxAbs()).isNaN();
    assertThat(measures.relL2()).isNaN();
    assertThat(measures.nmse()).isNaN();
    assertThat(measures.worst()).isEqualTo(1);
    assertThat(measures.ulps().nans()).isEqualTo(2);
    assertThat(measure(new double[] {1, Double.NaN}, 1, Float.NaN).maxAbs())
        .as("a NaN is not equal to a NaN that was expected")
        .isNaN();
    assertThat(measure(new double[] {Double.NaN, 1}, 0, 1).maxAbs()).isNaN();
    assertThat(measure(new double[] {-INF, 1}, Float.NaN, 1).maxAbs()).isNaN();
  }

  @Test
  void anotherSizeIsRefused() {
    assertThatThrownBy(() -> measure(new double[] {1, 2}, 1, 2, 3))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("out should be fp32 [2], not fp32 [3]");
  }

  /**
   * 1 + 0.3f is 43620762 units of 2^-25, a tie between multiples of 4 that goes to 43620760, and
   * taking 0.3f off again leaves 2 units less than 1: 2^-24, which is also half a unit of 1.
   */
  @Test
  void theBoundByHand() {
    double ofOne = 0x1p-24;
    assertThat(bound(0, 1)).isEqualTo(2 * ofOne + 0x1p-24);
    assertThat(bound(1e-3, 1)).isEqualTo(2e-3 + 2 * ofOne + 0x1p-24);
    // 2^-26 is half a unit of 0.3f and vanishes in the sum; 0 and -inf lose nothing.
    assertThat(bound(0, 0x1p-26)).isEqualTo(2 * 0x1p-26 + 0x1p-50);
    assertThat(bound(0, 0, Double.NEGATIVE_INFINITY)).isEqualTo(Float.MIN_VALUE / 2.0);
    assertThat(bound(0, 0x1p-26, 1, 0)).isEqualTo(2 * ofOne + 0x1p-24);
  }

  /** Between 1 and 2 a unit in the last place is 2^-10 in fp16 and 2^-7 in bf16. */
  @Test
  void halfAUnitInTheLastPlaceIsThatOfTheType() {
    double fp32 = bound(1e-3, 0.1, -1.5) - 0x1p-24;
    assertThat(bound(expected(DType.FP16, 1e-3, 0.1, -1.5)))
        .isCloseTo(fp32 + 0x1p-11, within(1e-18));
    assertThat(bound(expected(DType.BF16, 1e-3, 0.1, -1.5)))
        .isCloseTo(fp32 + 0x1p-8, within(1e-18));
    assertThat(bound(expected(DType.FP16, 0, 0x1p-20))).isEqualTo(0x1p-25);
    assertThat(bound(expected(DType.FP16, 0, Double.NEGATIVE_INFINITY))).isEqualTo(0x1p-25);
  }

  @Test
  void theExactResultRoundedAlwaysPasses() {
    SplittableRandom random = new SplittableRandom(3);
    for (DType dtype : DType.FLOATING) {
      for (int trial = 0; trial < 100_000; trial++) {
        float exact = (float) random.nextGaussian() * Math.scalb(1f, random.nextInt(-26, 14));
        ExpectedTensor one = expected(dtype, 0, exact);
        HostTensor rounded = HostTensor.zeros(Shape.of(1), dtype).fill(exact);
        double ratio = new FlashAttentionPolicy().judge(one, rounded).errorRatio();
        assertThat(ratio).as("%s as %s", exact, dtype).isLessThanOrEqualTo(1);
      }
    }
  }

  @Test
  void anotherTypeIsRefused() {
    assertThatThrownBy(() -> ErrorMeasures.of(expected(DType.BF16, 0, 1), tensor(1)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("out should be bf16 [1], not fp32 [1]");
  }

  @Test
  void theRatioIsTheShareOfTheBound() {
    FlashAttentionPolicy policy = new FlashAttentionPolicy();
    ExpectedTensor one = expected(0.25, 1.0);
    double bound = bound(0.25, 1);
    assertThat(policy.judge(one, tensor(1.25f)).errorRatio()).isEqualTo(0.25 / bound);
    assertThat(passes(one, 1.5f)).isTrue();
    assertThat(passes(one, 1.5625f)).isFalse();
  }

  @Test
  void noErrorPassesUnderTheSmallestBoundAndTheSmallestErrorFails() {
    assertThat(passes(expected(0, 0), 0)).isTrue();
    assertThat(passes(expected(0, Double.NEGATIVE_INFINITY), -INF)).isTrue();
    assertThat(passes(expected(0, 0), Float.MIN_VALUE)).isFalse();
  }

  @Test
  void nanNeverPasses() {
    for (double error : new double[] {0, 1, Double.POSITIVE_INFINITY, Double.NaN}) {
      assertThat(passes(expected(error, 1), Float.NaN)).isFalse();
      assertThat(passes(expected(error, Double.NaN), Float.NaN)).isFalse();
      assertThat(passes(expected(error, Double.NaN), 1)).isFalse();
      assertThat(passes(expected(error, Double.NEGATIVE_INFINITY), Float.NaN)).isFalse();
    }
  }

  /** Plain fp32 overflowed where the oracle did not: nothing is known about the right error. */
  @Test
  void aBoundWithoutLimitAllowsNothing() {
    for (double error : new double[] {Double.POSITIVE_INFINITY, Double.NaN}) {
      assertThat(passes(expected(error, 1), 2)).isFalse();
      assertThat(passes(expected(error, 1), INF)).isFalse();
      assertThat(passes(expected(error, 1), 1)).as("what is exactly right").isTrue();
    }
  }

  private static boolean passes(ExpectedTensor expected, float got) {
    return new FlashAttentionPolicy().judge(expected, tensor(got)).passes();
  }

  private static ErrorMeasures measure(double[] exact, float... got) {
    return ErrorMeasures.of(expected(0, exact), tensor(got));
  }

  private static double bound(double samePrecisionError, double... exact) {
    return bound(expected(samePrecisionError, exact));
  }

  private static double bound(ExpectedTensor expected) {
    return FlashAttentionPolicy.bound(expected);
  }

  private static ExpectedTensor expected(double samePrecisionError, double... exact) {
    return expected(DType.FP32, samePrecisionError, exact);
  }

  private static ExpectedTensor expected(DType dtype, double samePrecisionError, double... exact) {
    int[] rows = IntStream.range(0, exact.length).toArray();
    Shape shape = Shape.of(exact.length);
    return new ExpectedTensor("out", shape, dtype, 1, rows, exact, samePrecisionError);
  }

  private static HostTensor tensor(float... values) {
    return HostTensor.of(Shape.of(values.length), values);
  }

  private static UlpHistogram ulps(float expected, float got) {
    return ulps(DType.FP32, expected, got);
  }

  private static UlpHistogram ulps(DType dtype, float expected, float got) {
    UlpHistogram ulps = new UlpHistogram(dtype);
    ulps.add(expected, got);
    return ulps;
  }

  private static float up(float value, int steps) {
    return Float.intBitsToFloat(Float.floatToRawIntBits(value) + steps);
  }
}
