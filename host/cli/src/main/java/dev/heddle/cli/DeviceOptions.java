package dev.heddle.cli;

import dev.heddle.lab.Selection;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Where and by which algorithm to compute. */
final class DeviceOptions {
  @Option(
      names = "--backend",
      paramLabel = "ID",
      description = "Only this backend; heddle devices lists them.")
  private @Nullable String backend;

  @Option(
      names = "--device",
      paramLabel = "N",
      description = "Only the device of this number within its backend.")
  private @Nullable Integer device;

  @Option(
      names = "--algorithm",
      paramLabel = "NAME",
      description = "Only this algorithm: naive, staged, flash, flash_cpu, ...")
  private @Nullable String algorithm;

  Selection selection() {
    return new Selection(
        Optional.ofNullable(backend),
        device == null ? OptionalInt.empty() : OptionalInt.of(device));
  }

  Optional<String> algorithm() {
    return Optional.ofNullable(algorithm);
  }
}
