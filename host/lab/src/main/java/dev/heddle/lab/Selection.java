package dev.heddle.lab;

import dev.heddle.core.Backend;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Which devices a user wants.
 *
 * @param backend a backend's id, or any
 * @param device a device's index within its backend, or all
 */
public record Selection(Optional<String> backend, OptionalInt device) {
  /** Every device of every backend. */
  public static final Selection ALL = new Selection(Optional.empty(), OptionalInt.empty());

  boolean admits(Backend candidate) {
    return backend.isEmpty() || backend.get().equals(candidate.id());
  }
}
