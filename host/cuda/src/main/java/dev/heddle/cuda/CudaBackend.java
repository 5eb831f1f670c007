package dev.heddle.cuda;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.AttentionOptions;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.core.kernel.ArgumentStruct;
import dev.heddle.core.kernel.KernelBackend;
import dev.heddle.core.kernel.KernelFiles;
import dev.heddle.core.kernel.KernelSource;
import dev.heddle.core.kernel.PeakRate;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Siblings;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** Every NVIDIA GPU of this machine, driven by hand-written kernels through JCuda. */
public final class CudaBackend extends KernelBackend<CudaDevice, KernelFiles> {
  /** Reads kernel files and headers by name from the jar. */
  static final Function<String, String> RESOURCES = KernelSource.resources("cuda");

  private static final int PEAK_CHAINS = 16;
  private static final int PEAK_ITERATIONS = 1 << 14;
  private static final int PEAK_BLOCK = 256;

  private final Options options;
  private final Optional<List<CudaDevice>> planned;
  private final LiveObjects live = new LiveObjects();
  private @Nullable PtxLibrary library;

  /**
   * What the build and tests choose otherwise.
   *
   * @param files text of a kernel file or header by its name
   * @param library where PTX comes from; asked for when the first kernel is
   * @param ptx what becomes of a kernel's PTX before it is loaded
   * @param guardBands whether tensors lie between guard bands; empty: everywhere but on the
   *     emulator
   */
  record Options(
      Function<String, String> files,
      Supplier<PtxLibrary> library,
      UnaryOperator<Ptx> ptx,
      Optional<Boolean> guardBands) {
    /** As users have it. */
    static final Options DEFAULT =
        new Options(
            RESOURCES, PtxLibrary::ofThisMachine, UnaryOperator.identity(), Optional.empty());

    Options withFiles(Function<String, String> other) {
      return new Options(other, library, ptx, guardBands);
    }

    Options withLibrary(Supplier<PtxLibrary> other) {
      return new Options(files, other, ptx, guardBands);
    }

    Options withPtx(UnaryOperator<Ptx> other) {
      return new Options(files, library, other, guardBands);
    }

    Options withGuardBands() {
      return new Options(files, library, ptx, Optional.of(true));
    }
  }

  /** Created by the service loader. */
  public CudaBackend() {
    this(Options.DEFAULT);
  }

  /** A backend with other options. */
  CudaBackend(Options options) {
    this(options, Optional.empty());
  }

  /** A backend that plans for these devices, which need not be there, and can open none. */
  CudaBackend(List<CudaDevice> devices) {
    this(Options.DEFAULT, Optional.of(devices));
  }

  private CudaBackend(Options options, Optional<List<CudaDevice>> planned) {
    super(new KernelFiles("cuda", "cu", options.files));
    this.options = options;
    this.planned = planned;
  }

  @Override
  public String id() {
    return "cuda";
  }

  @Override
  protected Found<CudaDevice> discover() {
    Discovery discovery = planned.map(Discovery::of).orElseGet(() -> Discovery.run(id()));
    return new Found<>(discovery.devices(), discovery.probe());
  }

  /** How kernels get to a device, where there is one: to know it, compilers are tried. */
  @Override
  public List<String> remarks() {
    return switch (probe()) {
      case Probe.Available available -> List.of(library().ways());
      case Probe.Unavailable missing -> List.of();
    };
  }

  @Override
  protected Device device(CudaDevice target) {
    return target.device();
  }

  @Override
  protected List<String> ladder(CudaDevice target, Operation operation) {
    return Ladder.algorithms(operation);
  }

  @Override
  protected Set<DType> dtypes(Operation operation, String algorithm) {
    return Ladder.dtypes(operation, algorithm);
  }

  @Override
  protected Set<AttentionOption> options(Operation operation, String algorithm) {
    return Ladder.options(algorithm);
  }

  @Override
  protected SortedMap<String, Integer> given(CudaDevice target, Operation operation) {
    SortedMap<String, Integer> macros = Siblings.macros(operation);
    macros.put("DTYPE", Siblings.code(operation.dtype()));
    macros.put("OPTIONS", AttentionOptions.of(operation).isNone() ? 0 : 1);
    macros.put("__CUDA_ARCH__", 10 * target.architecture());
    return macros;
  }

  /** The architecture, and CUDA devices in general. */
  @Override
  protected List<String> families(CudaDevice target) {
    return List.of("sm_" + target.architecture(), "cuda");
  }

  @Override
  protected Recipe recipe(
      String file, Operation operation, String algorithm, SortedMap<String, Integer> tunables) {
    return Ladder.recipe(file, operation, algorithm, tunables);
  }

  /** A file says what it needs; what the device has instead is added. */
  @Override
  protected Refusal inWordsOf(CudaDevice target, Refusal refusal) {
    return refusal.limit().equals(CudaDevice.CAPABILITY)
        ? new Refusal(
            refusal.limit(),
            refusal.reason() + "; " + target.device().name() + " has " + target.computeCapability())
        : refusal;
  }

  @Override
  protected Optional<Refusal> refusal(CudaDevice target, Operation operation, Recipe recipe) {
    return Limits.refusal(target.device(), operation, recipe, guardBytes(target))
        .or(() -> library().refusal(target, variant(recipe)));
  }

  @Override
  public Session open(Device device) {
    return new CudaSession(this, target(device));
  }

  @Override
  public OptionalDouble measurePeakFlops(Device device) {
    if (device.emulated()) {
      return OptionalDouble.empty();
    }
    long blocks = 32L * device.limits().computeUnits();
    int threads = Math.toIntExact(blocks * PEAK_BLOCK);
    Recipe recipe = peakRecipe(blocks);
    double flops = 2.0 * PEAK_CHAINS * PEAK_ITERATIONS * threads;
    try (CudaSession session = new CudaSession(this, target(device))) {
      return OptionalDouble.of(
          PeakRate.measure(
              session,
              threads,
              flops,
              (operation, sums) ->
                  session.prepare(
                      operation, Plan.of("fma_peak"), recipe, Map.of("y", (CudaTensor) sums))));
    }
  }

  /** What measures the peak rate of multiply-adds. */
  Recipe peakRecipe(long blocks) {
    SortedMap<String, Integer> macros = new TreeMap<>(Map.of("CHAINS", PEAK_CHAINS));
    return Siblings.fmaPeak(
        kernels().name("fma_peak"), macros, blocks, PEAK_BLOCK, PEAK_ITERATIONS);
  }

  /** What is compiled for a recipe. */
  KernelVariant variant(Recipe recipe) {
    KernelSource source = kernels().source(recipe.file());
    SortedMap<String, Integer> macros = new TreeMap<>(recipe.macros());
    macros.putAll(ArgumentStruct.sizes(source));
    return new KernelVariant(source, macros);
  }

  /** The PTX of a variant for a device. */
  Ptx ptx(CudaDevice target, KernelVariant variant) {
    return options.ptx.apply(library().ptx(target, variant));
  }

  private synchronized PtxLibrary library() {
    if (library == null) {
      library = options.library.get();
    }
    return library;
  }

  /** CUDA objects that sessions of this backend created and have not released yet. */
  LiveObjects liveObjects() {
    return live;
  }

  /** Bytes of each guard band on that device. */
  int guardBytes(CudaDevice target) {
    return options.guardBands.orElse(!target.device().emulated()) ? CudaTensor.GUARD_BYTES : 0;
  }
}
