package dev.heddle.reference;

import dev.heddle.core.HostTensor;

/** How large an error may be. */
public interface TolerancePolicy {

  /** Short name by which users select it. */
  String name();

  /** Where the bound comes from, one sentence. */
  String derivation();

  /**
   * Judges one tensor.
   *
   * @throws IllegalArgumentException when {@code got} has another size or type
   */
  Verdict.Judged judge(ExpectedTensor expected, HostTensor got);
}
