package dev.heddle.reference;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * The rule of {@code allclose}: every element is within {@code atol + rtol |ref|} of the reference,
 * which is rounded to the tensor's type as these projects store it.
 *
 * <p>An infinity passes only where the reference is the same one. A NaN never passes, although
 * NumPy's rule takes it for equal to a NaN that is expected; {@link #onnxTest} alone, whose
 * reference is not Heddle's, does as NumPy.
 */
public final class AllClosePolicy implements TolerancePolicy {

  /**
   * What an element may be off.
   *
   * @param atol absolute part
   * @param rtol part of the reference's magnitude
   */
  public record Tolerance(double atol, double rtol) {

    /**
     * Checks the parts.
     *
     * @throws IllegalArgumentException when one is negative or not finite
     */
    public Tolerance {
      if (!(atol >= 0 && rtol >= 0 && Double.isFinite(atol + rtol))) {
        throw new IllegalArgumentException(
            "atol = " + atol + ", rtol = " + rtol + "; both are finite numbers of at least 0");
      }
    }

    double bound(double reference) {
      // An infinite reference would allow anything: it has to be met exactly.
      return atol + (Double.isInfinite(reference) ? 0 : rtol * Math.abs(reference));
    }
  }

  /** What ONNX's backend tests allow where they do not say otherwise. */
  public static final Tolerance ONNX = new Tolerance(1e-7, 1e-3);

  private final String name;
  private final String derivation;
  private final Map<DType, Tolerance> tolerances;
  private final boolean nanMeetsNan;

  private AllClosePolicy(
      String name, String derivation, Map<DType, Tolerance> tolerances, boolean nanMeetsNan) {
    this.name = name;
    this.derivation = derivation;
    this.tolerances = Map.copyOf(tolerances);
    this.nanMeetsNan = nanMeetsNan;
  }

  /**
   * PyTorch's rule for attention, by the tensor's type.
   *
   * <p>Source: PyTorch, {@code test/test_transformers.py}, {@code default_atol} and {@code
   * default_rtol}; {@code torch.testing.assert_close}.
   */
  public static AllClosePolicy pytorch() {
    return new AllClosePolicy(
        "pytorch",
        "|err| <= atol + rtol |ref|; atol, rtol: fp32 1e-5, 1.3e-6; fp16 1e-3, 1e-3; bf16 1e-3,"
            + " 1.6e-2",
        Map.of(
            DType.FP32, new Tolerance(1e-5, 1.3e-6),
            DType.FP16, new Tolerance(1e-3, 1e-3),
            DType.BF16, new Tolerance(1e-3, 1.6e-2)),
        false);
  }

  /**
   * The rule of ONNX's backend tests, the same for every type. Their inputs are uniform in [0, 1),
   * so that no result is small by cancellation; on normal values, as Heddle's cases have them, the
   * rule asks of such a result more digits than its type has.
   *
   * <p>Source: ONNX, {@code onnx/backend/test/runner/__init__.py}, {@code assert_similar_outputs},
   * with the defaults of {@code onnx/backend/test/loader/__init__.py}.
   */
  public static AllClosePolicy onnx() {
    return new AllClosePolicy(
        "onnx", "|err| <= 1e-7 + 1e-3 |ref|, every type", everyType(ONNX), false);
  }

  /**
   * The rule by which ONNX's runner judges the outputs that come with a test: NumPy's, to which a
   * NaN that is expected and found is no error.
   *
   * <p>Source: as {@link #onnx}.
   *
   * @param tolerance what the test allows
   */
  public static AllClosePolicy onnxTest(Tolerance tolerance) {
    return new AllClosePolicy(
        "onnx",
        String.format(
            Locale.ROOT,
            "|err| <= %.1e + %.1e |ref|, every type; NaN and infinities where the test has them",
            tolerance.atol,
            tolerance.rtol),
        everyType(tolerance),
        true);
  }

  private static Map<DType, Tolerance> everyType(Tolerance tolerance) {
    return DType.FLOATING.stream().collect(Collectors.toMap(type -> type, type -> tolerance));
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String derivation() {
    return derivation;
  }

  @Override
  public Verdict.Judged judge(ExpectedTensor expected, HostTensor got) {
    return nanMeetsNan ? judgeBesideNan(expected, got) : judgeStored(expected.stored(), got);
  }

  /** Judges what remains when a NaN that is expected and found counts as a 0 that is. */
  private Verdict.Judged judgeBesideNan(ExpectedTensor expected, HostTensor got) {
    ExpectedTensor stored = expected.stored();
    HostTensor seen = got.rounded(got.dtype());
    double[] exact = stored.exact();
    for (int e = 0; e < exact.length; e++) {
      int position = stored.position(e);
      if (Double.isNaN(exact[e]) && Float.isNaN(seen.get(position))) {
        exact[e] = 0;
        seen.set(position, 0);
      }
    }
    return judgeStored(stored, seen);
  }

  private Verdict.Judged judgeStored(ExpectedTensor stored, HostTensor got) {
    ErrorMeasures measures = ErrorMeasures.of(stored, got);
    Tolerance tolerance = tolerance(stored.dtype());
    Verdict.Judged worst = judged(stored, measures, Verdict.Element.worst(measures), tolerance);
    // NaN, also outside a sample, has been found and is the worst there is.
    if (Double.isNaN(measures.maxAbs())) {
      return worst;
    }
    double[] exact = stored.exact();
    for (int e = 0; e < exact.length; e++) {
      int position = stored.position(e);
      Verdict.Element element = new Verdict.Element(position, exact[e], got.get(position));
      Verdict.Judged judged = judged(stored, measures, element, tolerance);
      if (judged.errorRatio() > worst.errorRatio()) {
        worst = judged;
      }
    }
    return worst;
  }

  private static Verdict.Judged judged(
      ExpectedTensor expected,
      ErrorMeasures measures,
      Verdict.Element element,
      Tolerance tolerance) {
    return new Verdict.Judged(
        expected.name(),
        measures,
        element,
        Verdict.Judged.ERROR,
        ErrorMeasures.difference(element.expected(), element.got()),
        tolerance.bound(element.expected()));
  }

  private Tolerance tolerance(DType dtype) {
    Tolerance tolerance = tolerances.get(dtype);
    if (tolerance == null) {
      throw new IllegalStateException("no tolerance for " + dtype.label());
    }
    return tolerance;
  }
}
