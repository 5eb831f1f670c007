package dev.heddle.opencl;

import dev.heddle.core.Backend;
import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;

/** Every device of every OpenCL platform, driven by hand-written kernels through JOCL. */
public final class OpenClBackend implements Backend {
  private final Function<String, String> files;
  private final boolean guardBands;
  private final LiveObjects live = new LiveObjects();
  private final TunedTable tuned = new TunedTable();
  private final Map<String, KernelSource> sources = new ConcurrentHashMap<>();
  private final Map<String, Tunables> tunables = new ConcurrentHashMap<>();
  private final Discoverer discoverer = new Discoverer();

  /** Created by the service loader. */
  public OpenClBackend() {
    this(KernelSource.RESOURCES, true);
  }

  /**
   * A backend with other kernel files.
   *
   * @param files text of a kernel file or header by its name
   * @param guardBands whether tensors lie between guard bands
   */
  OpenClBackend(Function<String, String> files, boolean guardBands) {
    this.files = files;
    this.guardBands = guardBands;
  }

  @Override
  public String id() {
    return "opencl";
  }

  @Override
  public Probe probe() {
    return discoverer.found().probe();
  }

  @Override
  public List<String> algorithms(Device device, Operation operation) {
    return Ladder.algorithms(target(device), operation);
  }

  @Override
  public Plan plan(Device device, Operation operation, String algorithm) {
    Plan fallback = Plan.of(algorithm);
    if (!algorithms(device, operation).contains(algorithm)) {
      return fallback;
    }
    String kernel = Ladder.file(operation, algorithm);
    for (Map<String, Integer> candidate : tuned.candidates(target(device), operation, kernel)) {
      Plan plan = Plan.of(algorithm, candidate);
      if (refusal(device, operation, plan).isEmpty()) {
        return plan;
      }
    }
    return fallback;
  }

  @Override
  public Optional<Refusal> refusal(Device device, Operation operation, Plan plan) {
    Optional<Refusal> unknown =
        Refusal.ofAlgorithm(device, operation, plan, algorithms(device, operation));
    if (unknown.isPresent()) {
      return unknown;
    }
    Tunables declared = tunables(Ladder.file(operation, plan.algorithm()));
    return declared
        .violation(plan.tunables())
        .map(sentence -> new Refusal("tunables", sentence))
        .or(() -> Refusal.unlessFp32(operation.dtype()))
        .or(() ->
            Limits.refusal(device, operation, recipe(operation, plan), guardBytes(target(device))));
  }

  @Override
  public Session open(Device device) {
    return new OpenClSession(this, target(device));
  }

  @Override
  public OptionalDouble measurePeakFlops(Device device) {
    if (device.emulated()) {
      return OptionalDouble.empty();
    }
    try (OpenClSession session = new OpenClSession(this, target(device))) {
      return OptionalDouble.of(PeakRate.measure(session));
    }
  }

  /** OpenCL objects that sessions of this backend created and have not released yet. */
  LiveObjects liveObjects() {
    return live;
  }

  /** Bytes of each guard band on that device. */
  int guardBytes(ClDevice device) {
    return guardBands ? Math.max(DeviceBuffer.GUARD_BYTES, device.alignment()) : 0;
  }

  /** What a plan launches. */
  Recipe recipe(Operation operation, Plan plan) {
    Tunables declared = tunables(Ladder.file(operation, plan.algorithm()));
    return Ladder.recipe(operation, plan.algorithm(), declared.complete(plan.tunables()));
  }

  /** A kernel file with its includes in place. */
  KernelSource source(String file) {
    return sources.computeIfAbsent(file, name -> KernelSource.assemble(name, files));
  }

  /** What a kernel file lets be chosen. */
  Tunables tunables(String file) {
    return tunables.computeIfAbsent(file, name -> Tunables.of(source(name)));
  }

  private ClDevice target(Device device) {
    return discoverer.found().devices().stream()
        .filter(candidate -> candidate.device().equals(device))
        .findFirst()
        .orElseThrow(() ->
            new IllegalArgumentException(device.id() + " is no OpenCL device of this machine"));
  }

  /** Looks for devices once; nothing native is loaded before. */
  private final class Discoverer {
    private volatile Optional<Discovery> discovery = Optional.empty();

    synchronized Discovery found() {
      if (discovery.isEmpty()) {
        discovery = Optional.of(Discovery.run(id()));
      }
      return discovery.get();
    }
  }
}
