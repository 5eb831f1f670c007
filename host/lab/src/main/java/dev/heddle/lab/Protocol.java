package dev.heddle.lab;

/**
 * How a trial is timed: in rounds, each of which warms up and then counts runs.
 *
 * @param rounds how often; a peer's rounds lie between a device's, so that a drift of clocks or
 *     temperature meets both
 * @param warmUpNs a round's time before runs are counted, ns
 * @param countedNs a round's time in which runs are counted, ns
 * @param fewestRuns runs that a round counts at least, however long they take
 * @param mostRuns runs that a round counts at most
 */
public record Protocol(int rounds, long warmUpNs, long countedNs, int fewestRuns, int mostRuns) {
  private static final long WARM_UP_NS = 400_000_000L;
  private static final long COUNTED_NS = 600_000_000L;
  private static final int FEWEST_RUNS = 5;
  private static final int MOST_RUNS = 2000;

  /** One round: a warm-up in which the JVM compiles what it will, then a little longer counted. */
  public static final Protocol STANDARD = inRounds(1, MOST_RUNS);

  /**
   * Checks the numbers.
   *
   * @throws IllegalArgumentException when a count is not positive or the fewest exceed the most
   */
  public Protocol {
    if (rounds < 1) {
      throw new IllegalArgumentException("rounds = " + rounds + "; at least 1 is needed");
    }
    if (fewestRuns < 1 || mostRuns < fewestRuns) {
      throw new IllegalArgumentException(
          "runs = " + mostRuns + "; at least " + Math.max(1, fewestRuns) + " are needed");
    }
  }

  /**
   * The standard's times divided among this many rounds.
   *
   * @param mostRuns runs that a round counts at most
   * @throws IllegalArgumentException when there are no rounds, or fewer runs than a median needs
   */
  public static Protocol inRounds(int rounds, int mostRuns) {
    int parts = Math.max(1, rounds);
    return new Protocol(rounds, WARM_UP_NS / parts, COUNTED_NS / parts, FEWEST_RUNS, mostRuns);
  }
}
