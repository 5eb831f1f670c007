package dev.heddle.reference;

import dev.heddle.core.HostTensor;

/**
 * ggml's rule for attention and for matrix products: the normalised mean squared error of the whole
 * tensor, {@code sum (err^2) / sum (ref^2)}, is at most 5e-4. The reference is rounded to the
 * tensor's type, as what ggml compares with is.
 *
 * <p>A NaN fails, and so does an infinity where the reference has not the same one; equal ones are
 * no error. ggml takes the largest finite value for an infinity, too; here it is none.
 *
 * <p>Source: ggml, {@code tests/test-backend-ops.cpp}, {@code nmse} and {@code max_nmse_err} of
 * {@code test_flash_attn_ext} and {@code test_mul_mat}.
 */
public final class GgmlPolicy implements TolerancePolicy {
  private static final double MAX_NMSE = 5e-4;

  @Override
  public String name() {
    return "ggml";
  }

  @Override
  public String derivation() {
    return "NMSE = sum (err^2) / sum (ref^2) <= 5e-4";
  }

  @Override
  public Verdict.Judged judge(ExpectedTensor expected, HostTensor got) {
    ErrorMeasures measures = ErrorMeasures.of(expected.stored(), got);
    return new Verdict.Judged(
        expected.name(),
        measures,
        Verdict.Element.worst(measures),
        "NMSE",
        measures.nmse(),
        MAX_NMSE);
  }
}
