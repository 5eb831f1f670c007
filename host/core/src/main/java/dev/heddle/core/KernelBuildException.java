package dev.heddle.core;

/** A kernel did not compile. */
public final class KernelBuildException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final String log;
  private final String source;

  /**
   * A failed build.
   *
   * @param kernel the kernel's file name
   * @param log what the compiler printed
   * @param source the text that it was given
   */
  public KernelBuildException(String kernel, String log, String source) {
    super(kernel + " did not compile: " + log.strip());
    this.log = log;
    this.source = source;
  }

  /** What the compiler printed. */
  public String log() {
    return log;
  }

  /** The text that the compiler was given. */
  public String source() {
    return source;
  }
}
