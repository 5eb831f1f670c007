package dev.heddle.cli;

import dev.heddle.core.Probe;
import java.util.Locale;

/** Quantities and notices as the terminal shows them. */
final class Text {
  private static final String[] BINARY = {"B", "KiB", "MiB", "GiB", "TiB"};

  private Text() {}

  /** Bytes in the largest binary unit that leaves at least one, such as {@code 15.6 GiB}. */
  static String bytes(long bytes) {
    double value = bytes;
    int unit = 0;
    while (value >= 1024 && unit < BINARY.length - 1) {
      value /= 1024;
      unit++;
    }
    return String.format(Locale.ROOT, unit == 0 ? "%.0f %s" : "%.1f %s", value, BINARY[unit]);
  }

  /** Nanoseconds in a unit that leaves one to three digits before the point. */
  static String time(long ns) {
    if (ns < 1_000_000) {
      return String.format(Locale.ROOT, "%.1f us", ns * 1e-3);
    }
    return ns < 1_000_000_000
        ? String.format(Locale.ROOT, "%.2f ms", ns * 1e-6)
        : String.format(Locale.ROOT, "%.2f s", ns * 1e-9);
  }

  /** Why a backend is not there and what to do. */
  static String missing(String backend, Probe.Unavailable missing) {
    return backend + ": unavailable: " + missing.reason() + "; " + missing.remedy();
  }
}
