package dev.heddle.reference;

import dev.heddle.core.HostTensor;
import java.util.Arrays;

/**
 * How far a tensor is from what it should be.
 *
 * @param maxAbs largest {@code |got - expected|}; NaN when an element is NaN
 * @param relL2 {@code ||got - expected|| / ||expected||}
 * @param nmse {@code ||got - expected||^2 / ||expected||^2}, normalised mean squared error
 * @param ulps distances in units in the last place of the tensor's type
 * @param worst row-major index of the element with the largest error, a NaN before all others
 * @param expected the worst element's value by the oracle
 * @param got the worst element's value as computed
 */
public record ErrorMeasures(
    double maxAbs,
    double relL2,
    double nmse,
    UlpHistogram ulps,
    int worst,
    double expected,
    double got) {

  /**
   * Measures {@code got} on the rows that were computed, and looks for NaN and infinities on all.
   */
  public static ErrorMeasures of(ExpectedTensor expected, HostTensor got) {
    if (got.dtype() != expected.dtype() || got.size() != expected.shape().elements()) {
      throw new IllegalArgumentException(
          expected.name()
              + " should be "
              + expected.dtype().label()
              + " "
              + expected.shape()
              + ", not "
              + got.dtype().label()
              + " "
              + got.shape());
    }
    double[] exact = expected.exact();
    UlpHistogram ulps = new UlpHistogram(expected.dtype());
    double maxAbs = 0;
    double squaredError = 0;
    double squaredNorm = 0;
    int worst = expected.position(0);
    double worstExpected = exact[0];
    for (int e = 0; e < exact.length; e++) {
      int position = expected.position(e);
      double value = got.get(position);
      double error = difference(exact[e], value);
      ulps.add((float) exact[e], (float) value);
      if (error != 0) {
        squaredError += error * error;
      }
      if (Double.isFinite(exact[e])) {
        squaredNorm += exact[e] * exact[e];
      }
      // A NaN is worse than anything and stays the worst.
      if (!(error <= maxAbs) && !Double.isNaN(maxAbs)) {
        maxAbs = error;
        worst = position;
        worstExpected = exact[e];
      }
    }
    if (expected.sampled() && !Double.isNaN(maxAbs)) {
      int stray = strayOutsideTheSample(expected, got);
      if (stray >= 0) {
        maxAbs = Double.NaN;
        squaredError = Double.NaN;
        worst = stray;
        worstExpected = Double.NaN;
      }
    }
    double nmse = squaredError == 0 ? 0 : squaredError / squaredNorm;
    return new ErrorMeasures(
        maxAbs, Math.sqrt(nmse), nmse, ulps, worst, worstExpected, got.get(worst));
  }

  /**
   * First element that no row can hold: NaN, +inf, or -inf where the sample knows none. The rows
   * that see no key are the first or the last of a head, so the sample holds one if there is any.
   */
  private static int strayOutsideTheSample(ExpectedTensor expected, HostTensor got) {
    boolean minusInfinity =
        Arrays.stream(expected.exact()).anyMatch(value -> value == Double.NEGATIVE_INFINITY);
    for (int i = 0; i < got.size(); i++) {
      float value = got.get(i);
      if (!Float.isFinite(value) && !(minusInfinity && value == Float.NEGATIVE_INFINITY)) {
        return i;
      }
    }
    return -1;
  }

  /**
   * {@code |a - b|}, where equal infinities differ by nothing and a NaN differs from everything,
   * itself too.
   */
  static double difference(double a, double b) {
    return a == b ? 0 : Math.abs(a - b);
  }
}
