package dev.heddle.lab;

/** What was asked for is sound, but no device here can run it. */
public final class NothingToRunException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** One sentence with the reason, and the remedy where there is one. */
  public NothingToRunException(String message) {
    super(message);
  }
}
