package dev.heddle.vector;

import dev.heddle.core.HostSession.Span;
import java.util.Map;

/** Where an operation's tensors lie. */
final class Tensors {

  private Tensors() {}

  /**
   * The tensor that the operation calls {@code name}.
   *
   * @throws IllegalArgumentException when it was not given
   */
  static Span get(Map<String, Span> tensors, String name) {
    Span span = tensors.get(name);
    if (span == null) {
      throw new IllegalArgumentException("no tensor given for '" + name + "'");
    }
    return span;
  }
}
