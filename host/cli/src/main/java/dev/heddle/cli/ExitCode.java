package dev.heddle.cli;

/** What the process tells its caller. */
enum ExitCode {
  /** All verdicts pass. */
  PASSED(0),
  /** A verdict failed. */
  FAILED(1),
  /** Bad input: an option, a file or a size. */
  BAD_INPUT(2),
  /** Nothing could run. */
  NOTHING_RAN(3);

  private final int code;

  ExitCode(int code) {
    this.code = code;
  }

  int code() {
    return code;
  }
}
