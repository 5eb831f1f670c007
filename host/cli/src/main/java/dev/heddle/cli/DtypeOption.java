package dev.heddle.cli;

import dev.heddle.core.DType;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The storage type of the tensors. */
final class DtypeOption {
  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description =
          "Storage type of the tensors: fp32, fp16 or bf16. What is wider is rounded to it before"
              + " anything is computed, the reference included.")
  private @Nullable String dtype;

  /**
   * The type asked for; empty where none was.
   *
   * @throws IllegalArgumentException naming the value that is none
   */
  Optional<DType> dtype() {
    return Optional.ofNullable(dtype).map(DtypeOption::parse);
  }

  /**
   * The type of that name.
   *
   * @throws IllegalArgumentException naming the value that is none
   */
  static DType parse(String text) {
    return DType.FLOATING.stream()
        .filter(type -> type.label().equalsIgnoreCase(text))
        .findFirst()
        .orElseThrow(() ->
            new IllegalArgumentException(
                "--dtype: '" + text + "' is no storage type; fp32, fp16 and bf16 are"));
  }
}
