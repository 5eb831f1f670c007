package dev.heddle.lab;

import dev.heddle.core.Backend;
import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import java.util.List;
import java.util.Optional;

/**
 * Stands for a backend that the launcher left out, mostly because what it needs is not there:
 * unavailable, with the reason and the remedy.
 */
record AbsentBackend(String id, Probe.Unavailable probe) implements Backend {

  /**
   * TornadoVM's, which is built only where TornadoVM is. The launcher, which looks for it, passes
   * what it missed in the system property {@code heddle.tornado.missing}; without one, empty.
   */
  static Optional<Backend> tornado() {
    return Optional.ofNullable(System.getProperty("heddle.tornado.missing"))
        .map(
            reason -> new AbsentBackend("tornado", new Probe.Unavailable(reason, tornadoRemedy())));
  }

  private static String tornadoRemedy() {
    return "sdk install tornadovm, or set TORNADOVM_HOME to the folder of a release for JDK "
        + Runtime.version().feature()
        + " (https://www.tornadovm.org/downloads)";
  }

  @Override
  public List<String> algorithms(Device device, Operation operation) {
    return List.of();
  }

  @Override
  public Optional<Refusal> refusal(Device device, Operation operation, Plan plan) {
    throw new IllegalStateException(id + " has no device");
  }

  @Override
  public Session open(Device device) {
    throw new IllegalStateException(id + " has no device");
  }
}
