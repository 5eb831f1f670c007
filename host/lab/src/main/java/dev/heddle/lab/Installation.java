package dev.heddle.lab;

import dev.heddle.core.Backend;
import dev.heddle.core.Device;
import dev.heddle.core.DeviceException;
import dev.heddle.core.KernelBuildException;
import dev.heddle.core.Probe;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.ServiceLoader;

/** The backends on the class path and what they found on this machine; probed once. */
public final class Installation {
  private final Map<Backend, Probe> probes = new LinkedHashMap<>();

  private Installation(List<Backend> backends) {
    for (Backend backend : backends) {
      probes.put(backend, backend.probe());
    }
  }

  /**
   * Looks for every backend that the service loader knows; what the launcher left out is there too.
   */
  public static Installation find() {
    List<Backend> backends = new ArrayList<>();
    ServiceLoader.load(Backend.class).forEach(backends::add);
    AbsentBackend.tornado().ifPresent(backends::add);
    backends.sort(Comparator.comparing(Backend::id, Installation::byLadder));
    return new Installation(backends);
  }

  /** An installation of just these backends. */
  public static Installation of(List<Backend> backends) {
    return new Installation(backends);
  }

  /** What each backend found, in the order of the reports. */
  public Map<Backend, Probe> probes() {
    return java.util.Collections.unmodifiableMap(probes);
  }

  /** A device with the backend it belongs to. */
  public record Candidate(Backend backend, Device device) {

    /** Whether it computes on the host's cores, as what it is and not as an emulator. */
    boolean isHost() {
      return device.kind() == Device.Kind.CPU && !device.emulated();
    }

    /**
     * Measured peak rate of fp32 multiply-adds, flop/s; empty for an emulator, where the backend
     * has no kernel for it, and where that fails.
     */
    public OptionalDouble peakFlops() {
      if (device.emulated()) {
        return OptionalDouble.empty();
      }
      try {
        return backend.measurePeakFlops(device);
      } catch (DeviceException | KernelBuildException e) {
        return OptionalDouble.empty();
      }
    }
  }

  /**
   * The devices that a selection leaves.
   *
   * @throws IllegalArgumentException when the selection names a backend or a device that does not
   *     exist
   * @throws NothingToRunException when the backend that it names is unavailable
   */
  public List<Candidate> candidates(Selection selection) {
    List<Candidate> candidates = new ArrayList<>();
    for (Map.Entry<Backend, Probe> entry : probes.entrySet()) {
      if (selection.admits(entry.getKey())
          && entry.getValue() instanceof Probe.Available available) {
        for (Device device : available.devices()) {
          candidates.add(new Candidate(entry.getKey(), device));
        }
      }
    }
    selection.backend().ifPresent(this::requireAvailable);
    if (selection.device().isPresent()) {
      int wanted = selection.device().getAsInt();
      List<Candidate> chosen =
          candidates.stream().filter(c -> c.device().index() == wanted).toList();
      if (chosen.isEmpty()) {
        throw new IllegalArgumentException(
            "there is no device "
                + wanted
                + "; there are "
                + String.join(", ", candidates.stream().map(c -> c.device().id()).toList()));
      }
      return chosen;
    }
    return candidates;
  }

  /** The backends among those selected that are unavailable, with what they said. */
  Map<String, Probe.Unavailable> missing(Selection selection) {
    Map<String, Probe.Unavailable> missing = new LinkedHashMap<>();
    probes.forEach((backend, probe) -> {
      if (selection.admits(backend) && probe instanceof Probe.Unavailable unavailable) {
        missing.put(backend.id(), unavailable);
      }
    });
    return missing;
  }

  /**
   * Peak rate of the host's processor in flop/s, by the first backend that has a kernel for it; the
   * ceiling of every device that computes on the host's cores.
   */
  public OptionalDouble hostPeakFlops() {
    for (Candidate candidate : candidates(Selection.ALL)) {
      if (candidate.isHost()) {
        OptionalDouble peak = candidate.peakFlops();
        if (peak.isPresent()) {
          return peak;
        }
      }
    }
    return OptionalDouble.empty();
  }

  private void requireAvailable(String id) {
    Map.Entry<Backend, Probe> found =
        probes.entrySet().stream()
            .filter(entry -> entry.getKey().id().equals(id))
            .findFirst()
            .orElseThrow(() ->
                new IllegalArgumentException(
                    "there is no backend '"
                        + id
                        + "'; there are "
                        + String.join(", ", probes.keySet().stream().map(Backend::id).toList())));
    if (found.getValue() instanceof Probe.Unavailable missing) {
      throw new NothingToRunException(
          id + " is unavailable: " + missing.reason() + "; " + missing.remedy());
    }
  }

  /** The oracle first, then what every JVM has, then the accelerators by name. */
  private static int byLadder(String a, String b) {
    List<String> order = List.of("reference", "vector");
    int rankA = order.contains(a) ? order.indexOf(a) : order.size();
    int rankB = order.contains(b) ? order.indexOf(b) : order.size();
    return rankA != rankB ? Integer.compare(rankA, rankB) : a.compareTo(b);
  }
}
