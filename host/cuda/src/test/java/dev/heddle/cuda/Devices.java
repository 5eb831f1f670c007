package dev.heddle.cuda;

import dev.heddle.core.Backend;
import dev.heddle.core.Device;
import dev.heddle.core.Probe;

/** The device that tests run on. */
final class Devices {
  private Devices() {}

  /** The emulator's device, which was loaded before. */
  static Device emulator(Backend backend) {
    return switch (backend.probe()) {
      case Probe.Available available -> available.devices().getFirst();
      case Probe.Unavailable missing -> throw new AssertionError(missing.reason());
    };
  }
}
