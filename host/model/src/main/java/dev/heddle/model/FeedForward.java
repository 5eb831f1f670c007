package dev.heddle.model;

import dev.heddle.core.HostTensor;
import org.apache.commons.numbers.gamma.Erfc;

/**
 * The position-wise network of one layer: {@code down(gelu(up(x)))}.
 *
 * @param up {@code [HIDDEN, INTERMEDIATE]}
 * @param down {@code [INTERMEDIATE, HIDDEN]}
 */
public record FeedForward(Projection up, Projection down) {

  /**
   * Checks that the projections fit each other.
   *
   * @throws IllegalArgumentException when {@code down} does not take what {@code up} gives
   */
  public FeedForward {
    if (up.weight().shape().dim(1) != down.weight().shape().dim(0)) {
      throw new IllegalArgumentException(
          "down " + down.weight().shape() + " does not fit up " + up.weight().shape());
    }
  }

  /**
   * The exact Gaussian error linear unit {@code x Phi(x)}, where Phi is the standard normal
   * distribution function.
   *
   * <p>Written with erfc and not as {@code 1 + erf}, which cancels for negative x.
   *
   * <p>Source: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016, equation 1.
   */
  static double gelu(double x) {
    return 0.5 * x * Erfc.value(-x / Math.sqrt(2));
  }

  /** {@link #gelu(double)} of every element, rounded to fp32. */
  static HostTensor gelu(HostTensor x) {
    HostTensor y = HostTensor.zeros(x.shape(), x.dtype());
    for (int i = 0; i < x.size(); i++) {
      y.set(i, (float) gelu(x.get(i)));
    }
    return y;
  }
}
