package dev.heddle.core;

import java.util.List;
import java.util.Optional;

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
    return dtype == DType.FP32
        ? Optional.empty()
        : Optional.of(new Refusal("dtype", dtype.label() + " is not supported; fp32 is"));
  }

  /** As {@code limit: reason}. */
  @Override
  public String toString() {
    return limit + ": " + reason;
  }
}
