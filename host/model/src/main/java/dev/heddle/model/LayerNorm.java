package dev.heddle.model;

import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;

/**
 * Layer normalisation of each row: {@code y = (x - mean(x)) / sqrt(var(x) + epsilon) * gamma +
 * beta}, with the population variance.
 *
 * <p>Computed in double and rounded once, so that it adds nothing to the error of the operations
 * around it.
 *
 * <p>Source: Ba, Kiros and Hinton, Layer Normalization, 2016, equations 3 and 4.
 *
 * @param gamma gain {@code [HIDDEN]}
 * @param beta offset {@code [HIDDEN]}
 */
public record LayerNorm(HostTensor gamma, HostTensor beta) {
  private static final double EPSILON = 1e-12;

  /**
   * Checks the shapes.
   *
   * @throws IllegalArgumentException when gain and offset are not vectors of one length
   */
  public LayerNorm {
    if (gamma.shape().rank() != 1 || !gamma.shape().equals(beta.shape())) {
      throw new IllegalArgumentException(
          "a layer normalisation needs gamma and beta of one length, not "
              + (gamma.shape() + " and " + beta.shape()));
    }
  }

  /**
   * The normalised sum of two tensors: a sub-layer's output and what bypassed it.
   *
   * @throws IllegalArgumentException when the shapes differ or the rows are not as long as gamma
   */
  public HostTensor ofSum(HostTensor x, HostTensor residual) {
    if (!x.shape().equals(residual.shape())) {
      throw new IllegalArgumentException("can't add " + residual.shape() + " to " + x.shape());
    }
    double[] sum = x.toDoubles();
    for (int i = 0; i < sum.length; i++) {
      sum[i] += residual.get(i);
    }
    return of(sum, x.shape());
  }

  /**
   * The normalised rows of {@code x}.
   *
   * @throws IllegalArgumentException when the rows are not as long as gamma
   */
  HostTensor of(double[] x, Shape shape) {
    int width = shape.rowLength();
    if (width != gamma.size()) {
      throw new IllegalArgumentException(
          "rows of " + width + " elements; gamma and beta have " + gamma.size());
    }
    HostTensor y = HostTensor.zeros(shape, gamma.dtype());
    for (int row = 0; row < x.length; row += width) {
      double mean = 0;
      for (int i = 0; i < width; i++) {
        mean += x[row + i];
      }
      mean /= width;
      double variance = 0;
      for (int i = 0; i < width; i++) {
        variance += (x[row + i] - mean) * (x[row + i] - mean);
      }
      double scale = 1 / Math.sqrt(variance / width + EPSILON);
      for (int i = 0; i < width; i++) {
        y.set(row + i, (float) ((x[row + i] - mean) * scale * gamma.get(i) + beta.get(i)));
      }
    }
    return y;
  }
}
