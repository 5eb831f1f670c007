package dev.heddle.cuda;

import dev.heddle.core.DType;

/**
 * A change of a rung's PTX.
 *
 * @param name what is wrong; where nothing is, why
 * @param outcome how that shows
 */
record PtxChange(String name, Rung rung, PtxTrial trial, PtxEdit edit, Outcome outcome) {

  /** How a run ends. */
  enum Outcome {
    PASS("^pass$"),
    WRONG("^fail: "),
    RACE("^trap: .*shared-memory race: .* (read|written) by .* with no barrier between"),
    UNFINISHED_COPY("^trap: .*unfinished cp\\.async"),
    UNINITIALISED("^trap: .*uninitialised"),
    OUT_OF_BOUNDS("^trap: .*out of bounds"),
    DEADLOCK("^trap: .*deadlock"),
    MEMBER_MASK("^trap: .*member mask"),
    REFUSED("^not loaded: ");

    final String pattern;

    Outcome(String pattern) {
      this.pattern = pattern;
    }
  }

  /** A rung with its kernel, or one of its kernels. */
  record Rung(String algorithm, String kernel, DType dtype) {
    PtxChange change(String name, Outcome outcome, PtxTrial trial, PtxEdit edit) {
      return new PtxChange(name, this, trial, edit.in(kernel), outcome);
    }

    @Override
    public String toString() {
      return kernel + " " + dtype.label();
    }
  }

  @Override
  public String toString() {
    return rung + ": " + name;
  }
}
