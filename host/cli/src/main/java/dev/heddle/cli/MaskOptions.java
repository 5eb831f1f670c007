package dev.heddle.cli;

import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Which keys a query sees. */
final class MaskOptions {
  @Option(
      names = "--causal",
      arity = "0..1",
      fallbackValue = "top-left",
      paramLabel = "ALIGNMENT",
      description =
          "Hide keys after the diagonal, which starts top-left (when bare) or ends bottom-right.")
  private @Nullable String causal;

  @Option(
      names = "--window",
      paramLabel = "LEFT,RIGHT[,ALIGNMENT]",
      description =
          "Show only LEFT keys before and RIGHT keys after the diagonal, top-left unless"
              + " bottom-right is said; -1 is unbounded.")
  private @Nullable String window;

  /**
   * The mask asked for.
   *
   * @throws IllegalArgumentException naming the option and the value that can't be used
   */
  BandMask mask() {
    if (causal != null && window != null) {
      throw new IllegalArgumentException(
          "--causal and --window exclude each other; a causal window is --window LEFT,0");
    }
    if (causal != null) {
      return BandMask.causal(alignment("--causal", causal));
    }
    if (window != null) {
      List<String> parts = List.of(window.split(",", -1));
      if (parts.size() < 2 || parts.size() > 3) {
        throw new IllegalArgumentException(
            "--window "
                + window
                + ": two sides and perhaps an alignment are needed, as in 128,0,bottom-right");
      }
      return new BandMask(
          side(parts.get(0)),
          side(parts.get(1)),
          parts.size() == 3 ? alignment("--window", parts.get(2)) : Alignment.TOP_LEFT);
    }
    return BandMask.NONE;
  }

  private int side(String text) {
    long value = Numbers.whole("--window " + window, text);
    if (value < -1) {
      throw new IllegalArgumentException(
          "--window " + window + ": " + value + " is no side; 0 or more, or -1 for unbounded");
    }
    return value == -1 ? BandMask.UNBOUNDED : (int) Math.min(value, BandMask.UNBOUNDED);
  }

  private static Alignment alignment(String option, String text) {
    for (Alignment alignment : Alignment.values()) {
      if (alignment.label().equals(text)) {
        return alignment;
      }
    }
    throw new IllegalArgumentException(
        option + ": '" + text + "' is no alignment; top-left and bottom-right are");
  }
}
