package dev.heddle.cli;

import dev.heddle.core.Backend;
import dev.heddle.core.Device;
import dev.heddle.core.Probe;
import dev.heddle.lab.Installation;
import java.io.PrintWriter;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalDouble;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code heddle devices}. */
@Command(
    name = "devices",
    description = "Lists every backend and device, or why a backend is unavailable and the remedy.",
    mixinStandardHelpOptions = true,
    footerHeading = "%nExamples:%n",
    footer = {"  heddle devices", "  heddle devices --peak"})
final class DevicesCommand implements Callable<Integer> {
  @Option(
      names = "--peak",
      description = "Also measure each device's peak rate of fused multiply-adds, fp32.")
  private boolean peak;

  @CommandLine.Spec private CommandLine.Model.@Nullable CommandSpec spec;

  @Override
  public Integer call() {
    PrintWriter out = Objects.requireNonNull(spec).commandLine().getOut();
    Table table =
        new Table()
            .column("DEVICE", Table.Align.LEFT)
            .column("NAME", Table.Align.LEFT)
            .column("DRIVER", Table.Align.LEFT)
            .column("UNITS", Table.Align.RIGHT)
            .column("MEMORY", Table.Align.RIGHT);
    if (peak) {
      table.column("FMA PEAK", Table.Align.RIGHT);
    }
    boolean any = false;
    Map<Backend, Probe> probes = Installation.find().probes();
    for (Map.Entry<Backend, Probe> entry : probes.entrySet()) {
      if (entry.getValue() instanceof Probe.Available available) {
        for (Device device : available.devices()) {
          any = true;
          row(table, new Installation.Candidate(entry.getKey(), device));
        }
      }
    }
    table.print(out);
    for (Map.Entry<Backend, Probe> entry : probes.entrySet()) {
      switch (entry.getValue()) {
        case Probe.Available available -> {
          Backend backend = entry.getKey();
          Stream.concat(available.notes().stream(), backend.remarks().stream())
              .forEach(note -> out.println(backend.id() + ": " + note));
        }
        case Probe.Unavailable missing -> out.println(Text.missing(entry.getKey().id(), missing));
      }
    }
    return (any ? ExitCode.PASSED : ExitCode.NOTHING_RAN).code();
  }

  private void row(Table table, Installation.Candidate candidate) {
    Device device = candidate.device();
    String memory = Text.bytes(device.limits().memoryBytes());
    String units = Integer.toString(device.limits().computeUnits());
    if (!peak) {
      table.row(device.id(), device.displayName(), device.driver(), units, memory);
      return;
    }
    OptionalDouble flops = candidate.peakFlops();
    table.row(
        device.id(),
        device.displayName(),
        device.driver(),
        units,
        memory,
        flops.isPresent()
            ? String.format(Locale.ROOT, "%.0f GFLOP/s", flops.getAsDouble() * 1e-9)
            : "-");
  }
}
