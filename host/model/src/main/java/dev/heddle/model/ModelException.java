package dev.heddle.model;

/** The model or its tokenizer can't be used; the message says in one line what is wrong with it. */
public final class ModelException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** A failure that no other exception caused. */
  public ModelException(String message) {
    super(message);
  }

  /** A failure that {@code cause} explains further. */
  public ModelException(String message, Throwable cause) {
    super(message, cause);
  }
}
