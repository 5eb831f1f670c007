package dev.heddle.opencl;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.core.kernel.KernelBackend;
import dev.heddle.core.kernel.KernelFiles;
import dev.heddle.core.kernel.KernelSource;
import dev.heddle.core.kernel.PeakRate;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Siblings;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Function;

/** Every device of every OpenCL platform, driven by hand-written kernels through JOCL. */
public final class OpenClBackend extends KernelBackend<ClDevice, KernelFiles> {
  /** Reads kernel files and headers by name from the jar. */
  static final Function<String, String> RESOURCES = KernelSource.resources("cl");

  private static final int PEAK_CHAINS = 16;
  private static final int PEAK_ITERATIONS_PER_LANE = 1 << 22;

  private final boolean guardBands;
  private final LiveObjects live = new LiveObjects();

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
    super(new KernelFiles("cl", "cl", files));
    this.guardBands = guardBands;
  }

  @Override
  public String id() {
    return "opencl";
  }

  @Override
  protected Found<ClDevice> discover() {
    Discovery discovery = Discovery.run(id());
    return new Found<>(discovery.devices(), discovery.probe());
  }

  @Override
  protected Device device(ClDevice target) {
    return target.device();
  }

  @Override
  protected List<String> ladder(ClDevice target, Operation operation) {
    return Ladder.algorithms(target, operation);
  }

  @Override
  protected Set<DType> dtypes(Operation operation, String algorithm) {
    return Ladder.DTYPES;
  }

  @Override
  protected Set<AttentionOption> options(Operation operation, String algorithm) {
    return Ladder.options(algorithm);
  }

  @Override
  protected SortedMap<String, Integer> given(ClDevice target, Operation operation) {
    SortedMap<String, Integer> macros = Siblings.macros(operation);
    macros.put("DTYPE", Siblings.code(operation.dtype()));
    return macros;
  }

  @Override
  protected List<String> families(ClDevice target) {
    Device device = target.device();
    // What is tuned for processors has the shape that suits them.
    boolean shaped = device.kind() != Device.Kind.CPU || target.runsProcessorKernels();
    Device.Kind kind = shaped ? device.kind() : Device.Kind.GPU;
    String family = device.emulated() ? "emulator" : kind.name().toLowerCase(Locale.ROOT);
    return List.of(family, "default");
  }

  @Override
  protected Recipe recipe(
      String file, Operation operation, String algorithm, SortedMap<String, Integer> tunables) {
    return Ladder.recipe(file, operation, algorithm, tunables);
  }

  @Override
  protected Optional<Refusal> refusal(ClDevice target, Operation operation, Recipe recipe) {
    return Limits.refusal(target.device(), operation, recipe, guardBytes(target))
        .or(() ->
            Limits.loopIterations(target, recipe.file(), Ladder.loopIterations(operation, recipe)));
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
    boolean processor = device.kind() == Device.Kind.CPU;
    int lanes = processor ? 16 : 1;
    int local = processor ? 1 : Math.min(256, device.limits().workGroupSize());
    long groups = processor ? device.limits().computeUnits() : 32L * device.limits().computeUnits();
    int iterations = processor ? PEAK_ITERATIONS_PER_LANE : PEAK_ITERATIONS_PER_LANE / 256;
    int workItems = Math.toIntExact(groups * local);
    SortedMap<String, Integer> macros =
        new TreeMap<>(Map.of("LANES", lanes, "CHAINS", PEAK_CHAINS));
    Recipe recipe =
        Siblings.fmaPeak(kernels().name("fma_peak"), macros, groups, local, iterations)
            .withMemory(0, 4L * PEAK_CHAINS * lanes);
    double flops = 2.0 * PEAK_CHAINS * lanes * iterations * workItems;
    try (OpenClSession session = new OpenClSession(this, target(device))) {
      return OptionalDouble.of(
          PeakRate.measure(
              session,
              workItems,
              flops,
              (operation, sums) ->
                  session.prepare(
                      operation, Plan.of("fma_peak"), recipe, Map.of("y", (DeviceBuffer) sums))));
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
}
