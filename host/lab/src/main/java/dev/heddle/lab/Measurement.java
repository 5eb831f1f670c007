package dev.heddle.lab;

import dev.heddle.core.PreparedChain;
import dev.heddle.core.Timing;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import java.util.function.Function;
import java.util.stream.LongStream;

/**
 * How long repeated runs of a prepared chain took, transfers and compilation apart.
 *
 * @param rounds the counted runs of each round, in order
 */
public record Measurement(List<Round> rounds) {
  /** A run as long as this is not repeated as often as the protocol says. */
  private static final long PATIENCE_NS = 3_000_000_000L;

  /**
   * The counted runs of one round, in order.
   *
   * @param hostNs times from submission to completion on the host's clock, ns
   * @param deviceNs times inside kernels on the device's clock, ns; empty where it has none
   */
  public record Round(List<Long> hostNs, List<Long> deviceNs) {
    /**
     * Checks the lists.
     *
     * @throws IllegalArgumentException when no run was counted, or not every one by the device
     */
    public Round {
      hostNs = List.copyOf(hostNs);
      deviceNs = List.copyOf(deviceNs);
      if (hostNs.isEmpty() || (!deviceNs.isEmpty() && deviceNs.size() != hostNs.size())) {
        throw new IllegalArgumentException(
            hostNs.size() + " runs by the host's clock, " + deviceNs.size() + " by the device's");
      }
    }
  }

  /**
   * Checks that there is a round.
   *
   * @throws IllegalArgumentException when there is none
   */
  public Measurement {
    rounds = List.copyOf(rounds);
    if (rounds.isEmpty()) {
      throw new IllegalArgumentException("a measurement needs a round");
    }
  }

  /**
   * Warms up and counts runs, as often as the protocol says.
   *
   * @param afterRound what happens after each round, such as a peer's
   */
  static Measurement of(PreparedChain chain, Protocol protocol, Runnable afterRound) {
    List<Round> rounds = new ArrayList<>();
    for (int i = 0; i < protocol.rounds(); i++) {
      rounds.add(round(chain, protocol));
      afterRound.run();
    }
    return new Measurement(rounds);
  }

  private static Round round(PreparedChain chain, Protocol protocol) {
    long spent = 0;
    long last;
    do {
      last = chain.run().hostNs();
      spent += last;
    } while (spent < protocol.warmUpNs());
    int fewest = last > PATIENCE_NS ? 1 : protocol.fewestRuns();
    List<Long> host = new ArrayList<>();
    List<Long> device = new ArrayList<>();
    spent = 0;
    while (host.size() < fewest
        || (spent < protocol.countedNs() && host.size() < protocol.mostRuns())) {
      Timing timing = chain.run();
      host.add(timing.hostNs());
      timing.deviceNs().ifPresent(device::add);
      spent += timing.hostNs();
    }
    return new Round(host, device.size() == host.size() ? device : List.of());
  }

  /** Runs that were counted. */
  public int runs() {
    return rounds.stream().mapToInt(round -> round.hostNs().size()).sum();
  }

  /** Median time from submission to completion on the host's clock, ns. */
  public long medianNs() {
    return median(all(Round::hostNs)).orElseThrow();
  }

  /** Shortest such time, ns. */
  public long minNs() {
    return all(Round::hostNs).min().orElseThrow();
  }

  /** Longest such time, ns. */
  public long maxNs() {
    return all(Round::hostNs).max().orElseThrow();
  }

  /** Median time inside kernels on the device's clock, ns; empty where it has none. */
  public OptionalLong deviceMedianNs() {
    return rounds.stream().anyMatch(round -> round.deviceNs().isEmpty())
        ? OptionalLong.empty()
        : median(all(Round::deviceNs));
  }

  private LongStream all(Function<Round, List<Long>> clock) {
    return rounds.stream().map(clock).flatMapToLong(Measurement::stream);
  }

  /** The median of some samples; empty when there are none. */
  static OptionalLong median(LongStream samples) {
    long[] sorted = samples.sorted().toArray();
    int count = sorted.length;
    return count == 0
        ? OptionalLong.empty()
        : OptionalLong.of((sorted[(count - 1) / 2] + sorted[count / 2]) / 2);
  }

  private static LongStream stream(List<Long> samples) {
    return samples.stream().mapToLong(Long::longValue);
  }
}
