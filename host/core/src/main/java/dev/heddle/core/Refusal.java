package dev.heddle.core;

import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Why a backend does not run an operation on a device: a declared limit, by name.
 *
 * @param limit the limit's name, such as {@code dtype}, {@code headDim} or {@code deviceMemory}
 * @param reason one sentence with the value asked for and the value allowed
 */
public record Refusal(String limit, String reason) {

  /** Refuses a plan whose algorithm is not on the device's ladder for the operation. */
  public static Optional<Refusal> ofAlgorithm(
      Device device, Operation operation, Plan plan, List<String> ladder) {
    return ladder.contains(plan.algorithm())
        ? Optional.empty()
        : Optional.of(
            new Refusal(
                "algorithm",
                device.id()
                    + " has no "
                    + plan.kernelName(operation)
                    + "; for "
                    + operation.name()
                    + " it has "
                    + String.join(", ", ladder)));
  }

  /** Refuses a storage type other than fp32. */
  public static Optional<Refusal> unlessFp32(DType dtype) {
    return unlessAmong(Set.of(DType.FP32), dtype);
  }

  /** Refuses a storage type that is not among those supported. */
  public static Optional<Refusal> unlessAmong(Set<DType> supported, DType dtype) {
    if (supported.contains(dtype)) {
      return Optional.empty();
    }
    List<String> labels =
        DType.FLOATING.stream().filter(supported::contains).map(DType::label).toList();
    return Optional.of(
        new Refusal(
            "dtype",
            dtype.label()
                + " is not supported; "
                + String.join(" and ", labels)
                + (labels.size() == 1 ? " is" : " are")));
  }

  /** Refuses an option of attention that an algorithm does not have. */
  public static Optional<Refusal> unlessOptions(
      Set<AttentionOption> supported, Operation operation, String algorithm) {
    return AttentionOptions.of(operation).kinds().stream()
        .filter(kind -> !supported.contains(kind))
        .findFirst()
        .map(kind ->
            new Refusal(
                kind.label(),
                "%s of %s has no option %s; %s"
                    .formatted(
                        algorithm,
                        operation.name(),
                        kind.label(),
                        supported.isEmpty()
                            ? "it has none"
                            : "it has "
                                + supported.stream()
                                    .sorted()
                                    .map(AttentionOption::label)
                                    .collect(Collectors.joining(", ")))));
  }

  /** As {@code limit: reason}. */
  @Override
  public String toString() {
    return limit + ": " + reason;
  }
}
