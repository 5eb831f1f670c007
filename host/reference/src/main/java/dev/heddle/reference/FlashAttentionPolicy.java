package dev.heddle.reference;

/**
 * FlashAttention's own test rule: the largest absolute error is at most twice that of a plain
 * implementation in the same precision, plus an absolute term for results so well conditioned that
 * the plain one makes no error.
 *
 * <p>{@code bound = 2 e + 2 max|(ref + 0.3 - 0.3) - ref|}, the second term in fp32: twice the
 * rounding that an innocent addition costs at the magnitude of the reference. {@code e} is the
 * largest error of three plain evaluations that differ in the order of their sums, in where the
 * scale is applied, as FlashAttention's reference with {@code reorder_ops} does, and in whether
 * multiply-adds are fused, so that one lucky order does not set the bound.
 *
 * <p>Source: Dao-AILab, flash-attention, {@code tests/test_flash_attn.py} and {@code hopper/}.
 */
public final class FlashAttentionPolicy implements TolerancePolicy {
  private static final float NUDGE = 0.3f;

  @Override
  public String name() {
    return "flash-attention";
  }

  @Override
  public String derivation() {
    return "max|err| <= 2 x same-precision error + 2 max|(ref + 0.3 - 0.3) - ref|";
  }

  @Override
  public double errorRatio(ExpectedTensor expected, ErrorMeasures measures) {
    double error = measures.maxAbs();
    if (error == 0) {
      return 0;
    }
    double bound = bound(expected);
    // Where plain arithmetic overflows and the oracle does not, the rule would allow anything.
    return Double.isFinite(bound) ? error / bound : Double.NaN;
  }

  static double bound(ExpectedTensor expected) {
    double rounding = 0;
    for (double value : expected.exact()) {
      float reference = (float) value;
      if (Float.isFinite(reference)) {
        float nudged = (reference + NUDGE) - NUDGE;
        rounding = Math.max(rounding, Math.abs(nudged - reference));
      }
    }
    return 2 * expected.samePrecisionError() + 2 * rounding;
  }
}
