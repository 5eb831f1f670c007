package dev.heddle.core;

/** A backend was asked for an operation that it declares not to support. */
public final class UnsupportedProblemException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final transient Refusal refusal;

  /** Carries the declared limit. */
  public UnsupportedProblemException(Refusal refusal) {
    super(refusal.toString());
    this.refusal = refusal;
  }

  /** The limit that was hit. */
  public Refusal refusal() {
    return refusal;
  }
}
