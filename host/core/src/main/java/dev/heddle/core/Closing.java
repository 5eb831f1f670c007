package dev.heddle.core;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** Closes several things, each of them whatever closing the others does. */
public final class Closing {
  private Closing() {}

  /**
   * Takes every step, in order.
   *
   * @throws RuntimeException what the first step threw that failed; what the later ones threw is
   *     suppressed in it
   */
  public static void all(List<Runnable> steps) {
    Throwable first = run(null, steps);
    switch (first) {
      case null -> {}
      case Error error -> throw error;
      default -> throw (RuntimeException) first;
    }
  }

  /**
   * Takes every step because of a failure that the caller throws on; what they throw is suppressed
   * in it.
   */
  public static void after(Throwable failure, List<Runnable> steps) {
    run(failure, steps);
  }

  private static @Nullable Throwable run(@Nullable Throwable failure, List<Runnable> steps) {
    Throwable first = failure;
    for (Runnable step : steps) {
      try {
        step.run();
      } catch (RuntimeException | Error e) {
        if (first == null) {
          first = e;
        } else if (!first.equals(e)) {
          first.addSuppressed(e);
        }
      }
    }
    return first;
  }
}
