package dev.heddle.opencl;

import dev.heddle.core.Backend;
import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.core.kernel.KernelFiles;
import dev.heddle.core.kernel.KernelSource;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Siblings;
import dev.heddle.core.kernel.TunedTable;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Function;

/** Every device of every OpenCL platform, driven by hand-written kernels through JOCL. */
public final class OpenClBackend implements Backend {
  /** Reads kernel files and headers by name from the jar. */
  static final Function<String, String> RESOURCES = KernelSource.resources("cl");

  private final KernelFiles files;
  private final boolean guardBands;
  private final LiveObjects live = new LiveObjects();
  private final TunedTable tuned = new TunedTable();
  private final Discoverer discoverer = new Discoverer();

  /** Created by the service loader. */
  public OpenClBackend() {
    this(RESOURCES, true);
  }

  /**
   * A backend with other kernel files.
   *
   * @param files text of a kernel file or header by its name
   * @param guardBands whether tensors lie between guard bands
   */
  OpenClBackend(Function<String, String> files, boolean guardBands) {
    this.files = new KernelFiles("cl", "cl", files);
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
    String kernel = Siblings.kernel(operation, algorithm);
    for (Map<String, Integer> candidate : tuned.candidates(families(device), operation, kernel)) {
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
    return files
        .tunables(file(operation, plan.algorithm()))
        .refusal(plan.tunables(), Siblings.macros(operation))
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
    String file = file(operation, plan.algorithm());
    return Ladder.recipe(
        file, operation, plan.algorithm(), files.tunables(file).complete(plan.tunables()));
  }

  /** The kernel files. */
  KernelFiles files() {
    return files;
  }

  private String file(Operation operation, String algorithm) {
    return files.name(Siblings.kernel(operation, algorithm));
  }

  /** The device families whose best known tunables apply. */
  private static List<String> families(Device device) {
    String family = device.emulated() ? "emulator" : device.kind().name().toLowerCase(Locale.ROOT);
    return List.of(family, "default");
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
