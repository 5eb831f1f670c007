package dev.heddle.opencl;

import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Probe;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/** The processor as an OpenCL device. */
final class Processor {
  private Processor() {}

  /** One that has every rung for the operation; the test is skipped where there is none. */
  static Device of(OpenClBackend backend, Operation attention) {
    List<Device> devices =
        switch (backend.probe()) {
          case Probe.Available available -> available.devices();
          case Probe.Unavailable missing -> Assumptions.abort(missing.reason());
        };
    return devices.stream()
        .filter(device -> backend.algorithms(device, attention).contains("flash_cpu"))
        .findFirst()
        .orElseGet(() -> Assumptions.abort("no device has flash_cpu; install PoCL"));
  }
}
