package dev.heddle.reference;

import dev.heddle.core.DType;

/**
 * The arithmetic in which the scalar formulas are evaluated. Values travel as doubles; the narrow
 * modes round after every operation, which is exactly fp32 arithmetic: a double has more than twice
 * fp32's 24 significant bits plus two, so rounding twice gives what rounding once would.
 *
 * <p>On fp16 and bf16 operands the narrow modes stay fp32 and round to the operands' type what
 * tensor cores take in that type and what is stored in it: the weights of attention before they
 * meet V, and the results. Scores are never rounded to 16 bits, so that they overflow and blur
 * nowhere that fp32 does not.
 */
public enum Precision {
  /** Double precision throughout: the oracle. */
  FP64 {
    @Override
    double round(double value) {
      return value;
    }

    @Override
    double store(double value, DType dtype) {
      return value;
    }

    @Override
    void addScaled(double factor, double[] x, int xAt, double[] sum, int sumAt, int n) {
      for (int j = 0; j < n; j++) {
        sum[sumAt + j] += factor * x[xAt + j];
      }
    }
  },
  /** Every operation rounded to fp32, sums in the order of their index. */
  FP32 {
    @Override
    double round(double value) {
      return (float) value;
    }
  },
  /**
   * As {@link #FP32} with other, equally legitimate orders: sums run backwards and the scale is
   * applied to the query rather than to the score.
   */
  FP32_REORDERED {
    @Override
    double round(double value) {
      return (float) value;
    }

    @Override
    boolean reordered() {
      return true;
    }
  },
  /**
   * As {@link #FP32} with what devices' kernels do for speed: products are added without being
   * rounded first, by fused multiply-adds; exponentials and logarithms are those of base 2, with
   * the factor log2 e in the scale; and a row of attention is divided by its sum at the end, not
   * each weight. A double holds the product of two fp32 values exactly; its sum is rounded twice,
   * which about once in 2^29 gives the other neighbour of what a fused multiply-add gives: no
   * matter for the size of an error.
   */
  FP32_FUSED {
    @Override
    double round(double value) {
      return (float) value;
    }

    @Override
    void addScaled(double factor, double[] x, int xAt, double[] sum, int sumAt, int n) {
      for (int j = 0; j < n; j++) {
        sum[sumAt + j] = (float) (sum[sumAt + j] + factor * x[xAt + j]);
      }
    }

    @Override
    double scale(double softmaxScale) {
      return round(softmaxScale / LN_2);
    }

    @Override
    double exp(double score) {
      return round(Math.exp(score * LN_2));
    }

    @Override
    double logSumExp(double max, double sum) {
      double base2 = round(max + round(Math.log(sum) / LN_2));
      return round(base2 * round(LN_2));
    }

    @Override
    boolean dividesLast() {
      return true;
    }
  };

  private static final double LN_2 = Math.log(2);

  /** The value that this arithmetic keeps of a result. */
  abstract double round(double value);

  /** The value that a tensor of the type keeps of a result. */
  double store(double value, DType dtype) {
    return dtype.round((float) value);
  }

  /** Whether sums run backwards and the scale goes to the query. */
  boolean reordered() {
    return false;
  }

  /** The element that is added as number {@code step} of a sum of {@code count}. */
  final int inOrder(int step, int count) {
    return reordered() ? count - 1 - step : step;
  }

  /** The factor on q . k that makes a score of it, as {@link #exp} takes it. */
  double scale(double softmaxScale) {
    return softmaxScale;
  }

  /** The exponential of a difference of scores. */
  double exp(double score) {
    return round(Math.exp(score));
  }

  /** {@code max + ln sum}, of the largest score and the sum of exponentials. */
  double logSumExp(double max, double sum) {
    return round(max + round(Math.log(sum)));
  }

  /** Whether a row of attention is divided by its sum of exponentials after the product with V. */
  boolean dividesLast() {
    return false;
  }

  /** {@code sum += factor * x} over {@code n} elements, product and sum rounded each. */
  void addScaled(double factor, double[] x, int xAt, double[] sum, int sumAt, int n) {
    for (int j = 0; j < n; j++) {
      sum[sumAt + j] = (float) (sum[sumAt + j] + (float) (factor * x[xAt + j]));
    }
  }
}
