package dev.heddle.reference;

import java.util.List;
import java.util.Optional;

/** The tolerance policies by name. */
public final class Policies {
  private static final List<TolerancePolicy> ALL =
      List.of(
          new FlashAttentionPolicy(),
          AllClosePolicy.pytorch(),
          AllClosePolicy.onnx(),
          new GgmlPolicy());

  private Policies() {}

  /** Every policy; the first is Heddle's own measure. */
  public static List<TolerancePolicy> all() {
    return ALL;
  }

  /** The policy of that name. */
  public static Optional<TolerancePolicy> named(String name) {
    return ALL.stream().filter(policy -> policy.name().equals(name)).findFirst();
  }
}
