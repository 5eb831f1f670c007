package dev.heddle.reference;

/** How large an error may be. */
public interface TolerancePolicy {

  /** Short name by which users select it. */
  String name();

  /** Where the bound comes from, one sentence. */
  String derivation();

  /**
   * The error as a share of what the policy allows. A result passes when {@code ratio <= 1}; NaN
   * never does.
   */
  double errorRatio(ExpectedTensor expected, ErrorMeasures measures);
}
