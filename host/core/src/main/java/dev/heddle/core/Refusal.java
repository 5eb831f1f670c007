package dev.heddle.core;

/**
 * Why a backend does not run an operation on a device: a declared limit, by name.
 *
 * @param limit the limit's name, such as {@code dtype}, {@code headDim} or {@code deviceMemory}
 * @param reason one sentence with the value asked for and the value allowed
 */
public record Refusal(String limit, String reason) {

  /** As {@code limit: reason}. */
  @Override
  public String toString() {
    return limit + ": " + reason;
  }
}
