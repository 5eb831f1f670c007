package dev.heddle.lab;

import dev.heddle.core.PreparedChain;
import dev.heddle.core.Timing;
import java.util.Arrays;
import java.util.OptionalLong;

/**
 * How long repeated runs of a prepared chain took, transfers and compilation apart.
 *
 * @param runs runs that were counted
 * @param medianNs median time from submission to completion on the host's clock, ns
 * @param minNs shortest such time, ns
 * @param maxNs longest such time, ns
 * @param deviceMedianNs median time inside kernels on the device's clock, ns; empty where it has
 *     none
 */
public record Measurement(
    int runs, long medianNs, long minNs, long maxNs, OptionalLong deviceMedianNs) {
  private static final int FEWEST_RUNS = 5;
  private static final int MOST_RUNS = 2000;
  private static final long WARM_UP_NS = 400_000_000L;
  private static final long COUNTED_NS = 600_000_000L;

  /** A run as long as this is not repeated {@link #FEWEST_RUNS} times. */
  private static final long PATIENCE_NS = 3_000_000_000L;

  /** Warms up until the JVM has compiled what it will, then counts runs. */
  static Measurement of(PreparedChain chain) {
    long spent = 0;
    long last = 0;
    do {
      last = chain.run().hostNs();
      spent += last;
    } while (spent < WARM_UP_NS);
    int fewest = last > PATIENCE_NS ? 1 : FEWEST_RUNS;
    long[] host = new long[MOST_RUNS];
    long[] device = new long[MOST_RUNS];
    boolean deviceClock = true;
    int runs = 0;
    spent = 0;
    while (runs < fewest || (spent < COUNTED_NS && runs < MOST_RUNS)) {
      Timing timing = chain.run();
      host[runs] = timing.hostNs();
      device[runs] = timing.deviceNs().orElse(0);
      deviceClock &= timing.deviceNs().isPresent();
      spent += timing.hostNs();
      runs++;
    }
    Arrays.sort(host, 0, runs);
    Arrays.sort(device, 0, runs);
    return new Measurement(
        runs,
        median(host, runs),
        host[0],
        host[runs - 1],
        deviceClock ? OptionalLong.of(median(device, runs)) : OptionalLong.empty());
  }

  private static long median(long[] sorted, int count) {
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
  }
}
