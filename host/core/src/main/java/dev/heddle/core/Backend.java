package dev.heddle.core;

import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * A way to compute: found through {@link java.util.ServiceLoader}. Constructors load nothing native
 * and never fail.
 */
public interface Backend {

  /** Short name by which users select it: {@code vector}, {@code opencl}. */
  String id();

  /** Looks for devices; never throws, whatever is missing or broken. */
  Probe probe();

  /**
   * Remarks on this backend that take time to find out, such as which compiler works. A list of
   * devices shows them; nothing else waits for them.
   */
  default List<String> remarks() {
    return List.of();
  }

  /**
   * The rungs of the ladder that this backend has for such an operation on such a device, slowest
   * first; the last one that is not refused is the default.
   */
  List<String> algorithms(Device device, Operation operation);

  /** The best known tunables of an algorithm on a device. */
  default Plan plan(Device device, Operation operation, String algorithm) {
    return Plan.of(algorithm);
  }

  /**
   * The declared limit that keeps this operation from running under this plan, or empty when it
   * runs. {@link Session#prepare} refuses exactly what is declared here.
   */
  Optional<Refusal> refusal(Device device, Operation operation, Plan plan);

  /**
   * Opens a device.
   *
   * @throws DeviceException when the driver fails
   */
  Session open(Device device);

  /**
   * Measures the device's peak rate of fused multiply-adds in flop/s with a kernel of the backend's
   * own, or empty where it has none. Takes about a second.
   */
  default OptionalDouble measurePeakFlops(Device device) {
    return OptionalDouble.empty();
  }
}
