package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Each project's rule on errors planted just inside and just outside its bound. */
class PoliciesTest {
  private static final float INF = Float.POSITIVE_INFINITY;

  /** Bounds worked out by hand: atol + rtol |ref|. */
  @ParameterizedTest
  @CsvSource({
    "pytorch, FP32, 0, 1e-5",
    "pytorch, FP32, 2, 1.26e-5",
    "pytorch, FP32, -2, 1.26e-5",
    "pytorch, FP16, 0, 1e-3",
    "pytorch, FP16, 2, 3e-3",
    "pytorch, BF16, 0, 1e-3",
    "pytorch, BF16, 2, 3.3e-2",
    "onnx, FP32, 0, 1e-7",
    "onnx, FP32, 2, 2.0001e-3",
    "onnx, FP32, -2, 2.0001e-3",
    "onnx, FP16, 2, 2.0001e-3",
    "onnx, BF16, 0.0078125, 7.9125e-6"
  })
  void anElementMayBeAsFarOffAsItsMagnitudeAllows(
      String name, DType dtype, float reference, double bound) {
    TolerancePolicy policy = Policies.named(name).orElseThrow();
    ExpectedTensor expected = expected(dtype, 0.5, reference, 1);
    for (int sign : new int[] {1, -1}) {
      float inside = beside(dtype, reference, sign * bound, -sign);
      float outside = beside(dtype, reference, sign * bound, sign);
      assertThat(Math.abs((double) inside - reference)).isLessThanOrEqualTo(bound);
      assertThat(Math.abs((double) outside - reference)).isGreaterThan(bound);
      assertThat(policy.judge(expected, tensor(dtype, 0.5f, inside, 1)).passes()).isTrue();
      Verdict.Judged judged = policy.judge(expected, tensor(dtype, 0.5f, outside, 1));
      assertThat(judged.passes()).isFalse();
      assertThat(judged.worst().index()).isEqualTo(1);
      assertThat(judged.worst().got()).isEqualTo(outside);
      assertThat(judged.bound()).isCloseTo(bound, within(1e-9 * bound));
      assertThat(judged.error()).isEqualTo(Math.abs((double) outside - reference));
    }
  }

  /** NumPy's rule, by which ONNX's runner judges, takes two NaN for equal; the others do not. */
  @Test
  void aNanIsRightOnlyWhereAnOnnxTestHasOne() {
    TolerancePolicy test = AllClosePolicy.onnxTest(new AllClosePolicy.Tolerance(0.25, 0.5));
    float nan = Float.NaN;
    for (DType dtype : DType.FLOATING) {
      ExpectedTensor expected = expected(dtype, 1, Double.NaN, 2);
      assertThat(test.judge(expected, tensor(dtype, 1, nan, 2)).passes()).isTrue();
      assertThat(test.judge(expected, tensor(dtype, 1, nan, 3.25f)).passes()).isTrue();
      Verdict.Judged beyond = test.judge(expected, tensor(dtype, 1, nan, 3.5f));
      assertThat(beyond.passes()).isFalse();
      assertThat(beyond.worst()).isEqualTo(new Verdict.Element(2, 2, 3.5));
      assertThat(beyond.bound()).isEqualTo(1.25);
      Verdict.Judged number = test.judge(expected, tensor(dtype, 1, 0, 2));
      assertThat(number.passes()).isFalse();
      assertThat(number.worst().index()).isEqualTo(1);
      assertThat(test.judge(expected, tensor(dtype, nan, nan, 2)).passes()).isFalse();
      for (TolerancePolicy policy : Policies.all()) {
        assertThat(policy.judge(expected, tensor(dtype, 1, nan, 2)).passes()).isFalse();
      }
    }
  }

  /** The value of the type that is nearest to reference + offset on the side that sign says. */
  private static float beside(DType dtype, float reference, double offset, int sign) {
    float value = dtype.round((float) (reference + offset));
    while (sign > 0 ? (double) value - reference <= offset : (double) value - reference > offset) {
      value = next(dtype, value, sign);
    }
    while (sign > 0
        ? (double) next(dtype, value, -1) - reference > offset
        : (double) next(dtype, value, 1) - reference < offset) {
      value = next(dtype, value, -sign);
    }
    return value;
  }

  private static float next(DType dtype, float value, int sign) {
    if (dtype == DType.FP32) {
      return sign > 0 ? Math.nextUp(value) : Math.nextDown(value);
    }
    float step = (float) (dtype.ulp(value) / 2);
    for (float tried = step; ; tried += step) {
      float other = dtype.round(value + sign * tried);
      if (other != value) {
        return other;
      }
    }
  }

  /** The largest absolute error is within its bound; a smaller one elsewhere is not. */
  @Test
  void theWorstElementIsTheOneFurthestBeyondItsOwnBound() {
    ExpectedTensor expected = expected(DType.FP32, 1000, 1e-3, 2000);
    HostTensor got = tensor(DType.FP32, 1000.5f, 1.1e-3f, 2001);
    Verdict.Judged judged = AllClosePolicy.onnx().judge(expected, got);
    assertThat(judged.passes()).isFalse();
    assertThat(judged.worst().index()).isEqualTo(1);
    assertThat(judged.measures().worst()).isEqualTo(2);
  }

  /** The norm of 3, 4, 0 is 5, squared 25. */
  @Test
  void ggmlBoundsTheMeanSquareOfTheWhole() {
    TolerancePolicy ggml = new GgmlPolicy();
    ExpectedTensor expected = expected(DType.FP32, 3, 4, 0);
    float inside = (float) Math.sqrt(5e-4 * 25 * 0.999);
    float outside = (float) Math.sqrt(5e-4 * 25 * 1.001);
    assertThat(ggml.judge(expected, tensor(DType.FP32, 3, 4, inside)).passes()).isTrue();
    assertThat(ggml.judge(expected, tensor(DType.FP32, 3, 4 - inside, 0)).passes()).isTrue();
    Verdict.Judged judged = ggml.judge(expected, tensor(DType.FP32, 3, 4, outside));
    assertThat(judged.passes()).isFalse();
    assertThat(judged.measure()).isEqualTo("NMSE");
    assertThat(judged.bound()).isEqualTo(5e-4);
    assertThat(judged.error()).isCloseTo(5e-4 * 1.001, within(1e-9));
    assertThat(judged.worst().index()).isEqualTo(2);
    // Two errors, each inside alone, are outside together.
    assertThat(ggml.judge(expected, tensor(DType.FP32, 3 + inside, 4, inside)).passes()).isFalse();
    assertThat(ggml.judge(expected(DType.FP32, 0, 0), tensor(DType.FP32, 0, 0)).passes()).isTrue();
    assertThat(ggml.judge(expected(DType.FP32, 0, 0), tensor(DType.FP32, 0, 1e-30f)).passes())
        .isFalse();
  }

  /** 1.4 of fp16's smallest subnormal is stored as 1 of it, and 70000 as an infinity. */
  @Test
  void whatIsComparedWithIsRoundedAsItIsStored() {
    float tiny = 0x1p-24f;
    ExpectedTensor expected = expected(DType.FP16, 1.4 * tiny, 70_000);
    HostTensor stored = tensor(DType.FP16, tiny, INF);
    for (String name : List.of("pytorch", "onnx", "ggml")) {
      assertThat(Policies.named(name).orElseThrow().judge(expected, stored).error())
          .as("%s", name)
          .isZero();
    }
  }

  static List<TolerancePolicy> policies() {
    return Policies.all();
  }

  @ParameterizedTest
  @MethodSource("policies")
  void nanNeverPasses(TolerancePolicy policy) {
    for (DType dtype : DType.FLOATING) {
      for (double reference : new double[] {0, 1, -INF, INF, Double.NaN}) {
        ExpectedTensor expected = expected(dtype, 1, reference, 2);
        Verdict.Judged judged = policy.judge(expected, tensor(dtype, 1, Float.NaN, 2));
        assertThat(judged.passes()).as("%s of %s", policy.name(), reference).isFalse();
        assertThat(judged.worst().index()).isEqualTo(1);
        assertThat(judged.errorRatio()).isNaN();
      }
    }
    assertThat(policy.judge(expected(DType.FP32, 1, Double.NaN), tensor(DType.FP32, 1, 1)).passes())
        .isFalse();
  }

  /** A row that sees no key has lse = -inf: right, and nothing else is. */
  @ParameterizedTest
  @MethodSource("policies")
  void anInfinityPassesWhereItIsExpectedAndNowhereElse(TolerancePolicy policy) {
    ExpectedTensor lse = expected(DType.FP32, 1, Double.NEGATIVE_INFINITY, 2);
    assertThat(policy.judge(lse, tensor(DType.FP32, 1, -INF, 2)).errorRatio()).isZero();
    for (float wrong : new float[] {INF, 0, -Float.MAX_VALUE, -1e30f}) {
      Verdict.Judged judged = policy.judge(lse, tensor(DType.FP32, 1, wrong, 2));
      assertThat(judged.passes()).as("%s for -inf by %s", wrong, policy.name()).isFalse();
      assertThat(judged.worst().index()).isEqualTo(1);
    }
    ExpectedTensor finite = expected(DType.FP32, 1, 3e38, 2);
    for (float wrong : new float[] {INF, -INF}) {
      assertThat(policy.judge(finite, tensor(DType.FP32, 1, wrong, 2)).passes()).isFalse();
    }
  }

  @ParameterizedTest
  @MethodSource("policies")
  void aNanOutsideTheSampleFailsToo(TolerancePolicy policy) {
    ExpectedTensor sampled =
        new ExpectedTensor(
            "out", Shape.of(4), DType.FP32, 1, new int[] {0, 3}, new double[] {1, 2}, 0);
    assertThat(policy.judge(sampled, tensor(DType.FP32, 1, 77, 88, 2)).passes()).isTrue();
    Verdict.Judged judged = policy.judge(sampled, tensor(DType.FP32, 1, 77, Float.NaN, 2));
    assertThat(judged.passes()).isFalse();
    assertThat(judged.worst().index()).isEqualTo(2);
  }

  @ParameterizedTest
  @MethodSource("policies")
  void theExactResultRoundedPasses(TolerancePolicy policy) {
    double[] exact = {1 / 3.0, -2 / 3.0, 1e-3 / 7, 100 / 3.0, 0};
    for (DType dtype : DType.FLOATING) {
      HostTensor rounded = HostTensor.zeros(Shape.of(exact.length), dtype);
      IntStream.range(0, exact.length).forEach(i -> rounded.set(i, (float) exact[i]));
      assertThat(policy.judge(expected(dtype, exact), rounded).passes()).isTrue();
    }
  }

  @Test
  void everyPolicyHasANameOfItsOwnAndIsFoundByIt() {
    assertThat(Policies.all())
        .extracting(TolerancePolicy::name)
        .containsExactly("flash-attention", "pytorch", "onnx", "ggml");
    for (TolerancePolicy policy : Policies.all()) {
      assertThat(Policies.named(policy.name())).containsSame(policy);
    }
    assertThat(Policies.named("numpy")).isEmpty();
  }

  private static ExpectedTensor expected(DType dtype, double... exact) {
    int[] rows = IntStream.range(0, exact.length).toArray();
    return new ExpectedTensor("out", Shape.of(exact.length), dtype, 1, rows, exact, 0);
  }

  private static HostTensor tensor(DType dtype, float... values) {
    HostTensor tensor = HostTensor.zeros(Shape.of(values.length), dtype);
    for (int i = 0; i < values.length; i++) {
      tensor.set(i, values[i]);
    }
    return tensor;
  }
}
