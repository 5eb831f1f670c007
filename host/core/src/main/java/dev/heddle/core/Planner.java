package dev.heddle.core;

import java.util.List;
import java.util.Optional;

/** Chooses how an operation is computed on a device. */
public final class Planner {
  private final Backend backend;
  private final Device device;

  /** A planner for one device. */
  public Planner(Backend backend, Device device) {
    this.backend = backend;
    this.device = device;
  }

  /**
   * The highest rung of the ladder that supports the operation, with its best known tunables.
   *
   * @throws UnsupportedProblemException with the highest rung's refusal when every rung refuses
   */
  public Plan plan(Operation operation) {
    List<String> ladder = backend.algorithms(device, operation);
    if (ladder.isEmpty()) {
      throw new UnsupportedProblemException(
          new Refusal("operation", device.id() + " has no " + operation.name()));
    }
    for (String algorithm : ladder.reversed()) {
      Plan plan = backend.plan(device, operation, algorithm);
      if (backend.refusal(device, operation, plan).isEmpty()) {
        return plan;
      }
    }
    throw new UnsupportedProblemException(
        backend
            .refusal(device, operation, backend.plan(device, operation, ladder.getLast()))
            .orElseThrow());
  }

  /**
   * The plan of a chosen algorithm.
   *
   * @throws IllegalArgumentException when the backend has no such algorithm for the operation
   */
  public Plan plan(Operation operation, String algorithm) {
    List<String> ladder = backend.algorithms(device, operation);
    if (!ladder.contains(algorithm)) {
      throw new IllegalArgumentException(
          device.id()
              + " has no algorithm '"
              + algorithm
              + "' for "
              + operation.name()
              + "; it has "
              + String.join(", ", ladder));
    }
    return backend.plan(device, operation, algorithm);
  }

  /** The refusal of this operation under a chosen algorithm, or empty when it runs. */
  public Optional<Refusal> refusal(Operation operation, String algorithm) {
    return backend.refusal(device, operation, plan(operation, algorithm));
  }
}
