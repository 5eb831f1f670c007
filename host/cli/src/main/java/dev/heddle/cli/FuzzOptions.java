package dev.heddle.cli;

import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.lab.Fuzz;
import dev.heddle.lab.Installation;
import dev.heddle.reference.FuzzCase;
import dev.heddle.reference.Relation;
import dev.heddle.reference.TolerancePolicy;
import java.io.PrintWriter;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Drawn problems in place of a suite's. */
final class FuzzOptions {
  private static final long MOST_SECONDS = 7 * 24 * 3600;

  @Option(
      names = "--fuzz",
      paramLabel = "SECONDS",
      description =
          "Draw problems for so long in place of a suite's: judge each against the reference, try"
              + " relations that need none, and shrink what fails.")
  private @Nullable String seconds;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description =
          "Seed of --fuzz: the same draws the same problems on every machine. Default: by the time")
  private @Nullable String seed;

  @Option(
      names = "--fuzz-case",
      paramLabel = "CASE",
      description = "Only this problem, as --fuzz prints it.")
  private @Nullable String problem;

  boolean isGiven() {
    return seconds != null || seed != null || problem != null;
  }

  /**
   * Asks the devices.
   *
   * @param given storage types that were asked for; empty for all
   */
  ExitCode run(
      Set<DType> given,
      DeviceOptions devices,
      TolerancePolicy policy,
      PrintWriter out,
      PrintWriter err) {
    Fuzz.Request request = request(given, devices, policy);
    Fuzz fuzz;
    try (Progress progress = new Progress(err)) {
      progress.accept("looking for devices");
      fuzz = Fuzz.run(Installation.find(), request, progress);
    }
    print(fuzz, request, out);
    return ConformCommand.exitCode(
        fuzz.tallies().stream().mapToInt(Fuzz.Tally::failed).sum(),
        fuzz.tallies().stream().mapToInt(Fuzz.Tally::passed).sum());
  }

  private Fuzz.Request request(Set<DType> given, DeviceOptions devices, TolerancePolicy policy) {
    Set<DType> all = Set.copyOf(DType.FLOATING);
    if (problem != null) {
      if (seconds != null || seed != null || !given.isEmpty()) {
        throw new IllegalArgumentException(
            "--fuzz-case excludes --fuzz, --seed and --dtype: the case says it all");
      }
      FuzzCase only = FuzzCase.parse(problem);
      return new Fuzz.Request(
          0, Optional.of(only), 0, all, devices.selection(), devices.algorithm(), policy);
    }
    if (seconds == null) {
      throw new IllegalArgumentException("--seed is for --fuzz SECONDS, which is not given");
    }
    long duration = Numbers.whole("--fuzz", seconds);
    if (duration < 1 || duration > MOST_SECONDS) {
      throw new IllegalArgumentException(
          "--fuzz " + seconds + "; from 1 to " + MOST_SECONDS + " seconds are possible");
    }
    return new Fuzz.Request(
        seed == null ? System.currentTimeMillis() : Numbers.whole("--seed", seed),
        Optional.empty(),
        duration * 1_000_000_000,
        given.isEmpty() ? all : given,
        devices.selection(),
        devices.algorithm(),
        policy);
  }

  private static void print(Fuzz fuzz, Fuzz.Request request, PrintWriter out) {
    out.println(
        request.only().map(one -> "case " + one).orElse("fuzz, seed " + request.seed())
            + ": judged by "
            + request.policy().name()
            + ", and by relations:");
    for (Relation relation : Relation.values()) {
      out.println("  " + relation.label());
    }
    out.println();
    Table table =
        new Table()
            .column("DEVICE", Table.Align.LEFT)
            .column("PASS", Table.Align.RIGHT)
            .column("STRAINED", Table.Align.RIGHT)
            .column("FAIL", Table.Align.RIGHT)
            .column("REFUSED", Table.Align.RIGHT)
            .column("CASES/S", Table.Align.RIGHT);
    for (Fuzz.Tally tally : fuzz.tallies()) {
      Device device = tally.device();
      table.row(
          device.id() + " " + device.displayName(),
          Integer.toString(tally.passed()),
          Integer.toString(tally.strained()),
          Integer.toString(tally.failed()),
          Integer.toString(tally.refused()),
          String.format(Locale.ROOT, "%.1f", tally.perSecond()));
    }
    table.print(out);
    out.println("each algorithm of a device counts; compilation and all relations are in its time");
    out.println(
        "strained: passes, since fp32 in another order may be as far off, though the rule says no");
    fuzz.missing().forEach((id, missing) -> out.println(Text.missing(id, missing)));
    for (Fuzz.Failure failure : fuzz.failures()) {
      out.println();
      out.println(
          "FAIL "
              + failure.smallest()
              + ", attention_"
              + failure.algorithm()
              + " on "
              + failure.device().id());
      out.println("  " + failure.message());
      if (!failure.drawn().equals(failure.smallest())) {
        out.println("  shrunk from " + failure.drawn());
      }
      out.println("  again: " + Fuzz.command(failure, request.policy()));
    }
    int failed = fuzz.tallies().stream().mapToInt(Fuzz.Tally::failed).sum();
    out.println();
    out.println(
        String.format(
            Locale.ROOT,
            "problems: %d, results that FAIL: %d%s, in %.1f s",
            fuzz.cases(),
            failed,
            failed > fuzz.failures().size()
                ? " (" + fuzz.failures().size() + " of them shown)"
                : "",
            fuzz.elapsedNs() * 1e-9));
  }
}
