package dev.heddle.reference;

import dev.heddle.core.HostTensor;

/**
 * FlashAttention's own test rule: the largest absolute error is at most twice that of a plain
 * implementation in the same precision, plus an absolute term for results so well conditioned that
 * the plain one makes no error.
 *
 * <p>{@code bound = 2 e + 2 max|(ref + 0.3 - 0.3) - ref| + ulp(max|ref|) / 2}. The second term, in
 * fp32, is twice the rounding that an innocent addition costs at the magnitude of the reference.
 * The third, in the result's type, makes the exact result pass once it is rounded, however lucky
 * the plain one was. {@code e} is the largest error of three plain evaluations that differ in the
 * order of their sums, in where the scale is applied, as FlashAttention's reference with {@code
 * reorder_ops} does, and in whether multiply-adds are fused, exponentials of base 2 and sums
 * divided by last, as in every kernel; so that one lucky order does not set the bound.
 *
 * <p>For fp16 and bf16 the rule is stricter than FlashAttention's in two places, since a bound made
 * of what no kernel has to lose would excuse real faults:
 *
 * <ul>
 *   <li>FlashAttention's plain implementation rounds scores to 16 bits. Ours keeps them fp32, as
 *       every kernel of Heddle has to, and rounds the weights and the result. So the bound exists
 *       where 16-bit scores would overflow, beyond 65504 in fp16, and stays tight where they would
 *       blur, as bf16 scores of 1000 by up to 4.
 *   <li>FlashAttention takes the second term in the result's type, where {@code 0.3} costs a small
 *       result many units in the last place. Here it stays fp32.
 * </ul>
 *
 * <p>The largest error can't tell a result that is truncated where it should be rounded, or off by
 * one unit in the last place throughout; {@link ErrorMeasures#ulps} shows such a result.
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
    return "max|err| <= 2 x same-precision error + 2 max|(ref + 0.3 - 0.3) - ref|"
        + " + ulp(max|ref|) / 2";
  }

  @Override
  public Verdict.Judged judge(ExpectedTensor expected, HostTensor got) {
    ErrorMeasures measures = ErrorMeasures.of(expected, got);
    // Where plain arithmetic overflows and the oracle does not, the bound is none.
    return new Verdict.Judged(
        expected.name(),
        measures,
        Verdict.Element.worst(measures),
        Verdict.Judged.ERROR,
        measures.maxAbs(),
        bound(expected));
  }

  static double bound(ExpectedTensor expected) {
    double rounding = 0;
    float largest = 0;
    for (double value : expected.exact()) {
      float reference = (float) value;
      if (Float.isFinite(reference)) {
        float nudged = (reference + NUDGE) - NUDGE;
        rounding = Math.max(rounding, Math.abs(nudged - reference));
        largest = Math.max(largest, Math.abs(reference));
      }
    }
    double halfUnit = expected.dtype().ulp(largest) / 2;
    return 2 * expected.samePrecisionError() + 2 * rounding + halfUnit;
  }
}
