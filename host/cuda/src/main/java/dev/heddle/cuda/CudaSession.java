package dev.heddle.cuda;

import dev.heddle.core.Closing;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.DeviceException;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Provenance;
import dev.heddle.core.Refusal;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.Timing;
import dev.heddle.core.TrackedSession;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.core.kernel.KernelSource;
import dev.heddle.core.kernel.PreparedRecipe;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Recipe.Launch;
import dev.heddle.core.kernel.RecipeLimits;
import dev.heddle.core.kernel.Signature;
import dev.heddle.core.kernel.Signature.Argument;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUfunction;
import jcuda.driver.CUmodule;
import jcuda.driver.CUstream;

/**
 * An open CUDA device: one context, one stream, the modules loaded so far.
 *
 * <p>A kernel that traps makes the context useless for good. Whatever the session is asked
 * afterwards fails with the driver's code; closing it destroys the context and frees all of it, and
 * the next session has a fresh one.
 */
final class CudaSession extends TrackedSession<CudaTensor, CudaSession.Launchable> {
  /** A module, and the PTX that it was loaded from. */
  private record Loaded(CUmodule module, Ptx ptx) {}

  private final CudaBackend backend;
  private final CudaDevice target;
  private final CudaDriver driver;
  private final CUstream stream;
  private final CUevent begin;
  private final CUevent end;
  private final Staging staging;
  private final int guardBytes;
  private final Map<KernelVariant, Loaded> modules = new HashMap<>();

  CudaSession(CudaBackend backend, CudaDevice target) {
    super(backend, target.device(), CudaTensor.class, Launchable.class);
    this.backend = backend;
    this.target = target;
    this.guardBytes = backend.guardBytes(target);
    this.driver = context(target, backend.liveObjects());
    List<Runnable> undo = new ArrayList<>(List.of(driver::close));
    try {
      this.stream = driver.createStream();
      undo.addFirst(() -> driver.release(stream));
      this.begin = driver.createEvent();
      undo.addFirst(() -> driver.release(begin));
      this.end = driver.createEvent();
    } catch (RuntimeException e) {
      Closing.after(e, undo);
      throw e;
    }
    this.staging = new Staging(driver, stream);
  }

  CudaDriver driver() {
    return driver;
  }

  CUstream stream() {
    return stream;
  }

  Staging staging() {
    return staging;
  }

  /** Bytes of each guard band. */
  int guardBytes() {
    return guardBytes;
  }

  /**
   * The driver alone knows how much memory is left: others use the device too. What it has not is
   * refused; nothing is lost by asking.
   */
  @Override
  protected CudaTensor reserve(TensorSpec spec) {
    return fitting(
        () ->
            "%s %s takes %d bytes"
                .formatted(
                    spec.name(), spec.shape(), RecipeLimits.allocation(spec.bytes(), guardBytes)),
        () -> new CudaTensor(this, spec));
  }

  /**
   * Makes calls that may ask for more memory than there is.
   *
   * @param what what is wanted, and how many bytes
   * @throws UnsupportedProblemException when there is too little
   */
  <R> R fitting(Supplier<String> what, Supplier<R> calls) {
    try {
      return calls.get();
    } catch (DeviceException e) {
      if (!CudaDriver.isOutOfMemory(e)) {
        throw e;
      }
      throw refused(device(), what.get(), driver.freeMemory() + " bytes free of ", e);
    }
  }

  private static CudaDriver context(CudaDevice target, LiveObjects live) {
    try {
      return new CudaDriver(target, live);
    } catch (DeviceException e) {
      if (!CudaDriver.isOutOfMemory(e)) {
        throw e;
      }
      throw refused(target.device(), "a context finds no room", "too few bytes free of ", e);
    }
  }

  private static UnsupportedProblemException refused(
      Device device, String what, String free, DeviceException failure) {
    UnsupportedProblemException refused =
        new UnsupportedProblemException(
            new Refusal(
                "deviceMemory",
                "%s; %s has %s%d (%s: %s)"
                    .formatted(
                        what,
                        device.name(),
                        free,
                        device.limits().memoryBytes(),
                        failure.call(),
                        failure.code())));
    refused.initCause(failure);
    return refused;
  }

  /** What an operation wants. */
  private static String wanted(Operation operation, Recipe recipe) {
    long bytes = operation.tensors().stream().mapToLong(TensorSpec::bytes).sum();
    return "%s has tensors of %d bytes and scratch of %d"
        .formatted(operation.name(), bytes, recipe.scratchBytes());
  }

  @Override
  protected Launchable bind(Operation operation, Plan plan, Map<String, CudaTensor> operands) {
    return fit(operation, plan, backend.recipe(operation, plan), operands);
  }

  /** Prepares a recipe of the caller's own, whose limits it answers for. */
  Launchable prepare(
      Operation operation, Plan plan, Recipe recipe, Map<String, CudaTensor> operands) {
    return track(fit(operation, plan, recipe, operands), operands);
  }

  private Launchable fit(
      Operation operation, Plan plan, Recipe recipe, Map<String, CudaTensor> operands) {
    return fitting(() -> wanted(operation, recipe), () -> bind(operation, plan, recipe, operands));
  }

  private Launchable bind(
      Operation operation, Plan plan, Recipe recipe, Map<String, CudaTensor> operands) {
    KernelVariant variant = backend.variant(recipe);
    Loaded loaded = load(variant);
    Launchable launchable = new Launchable(operation, provenance(plan, variant, loaded), recipe);
    try {
      launchable.build(loaded, variant.source(), operands);
    } catch (RuntimeException e) {
      Closing.after(e, List.of(launchable::release));
      throw e;
    }
    return launchable;
  }

  private Loaded load(KernelVariant variant) {
    Loaded loaded = modules.get(variant);
    if (loaded == null) {
      Ptx ptx = backend.ptx(target, variant);
      loaded = new Loaded(driver.load(variant.file(), ptx.text()), ptx);
      modules.put(variant, loaded);
    }
    return loaded;
  }

  /** The source is hashed, as everywhere; where its PTX comes from is named beside the file. */
  private Provenance provenance(Plan plan, KernelVariant variant, Loaded loaded) {
    return new Provenance(
        device(),
        plan,
        List.of(backend.kernels().path(variant.file()), "PTX: " + loaded.ptx.origin()),
        variant.source().hash());
  }

  @Override
  protected Timing launch(List<Launchable> launchables) {
    return fitting(
        () ->
            launchables.stream()
                .map(launchable -> wanted(launchable.operation(), launchable.recipe()))
                .collect(Collectors.joining(", ")),
        () -> queue(launchables));
  }

  private Timing queue(List<Launchable> launchables) {
    try {
      List<BoundKernel> kernels =
          launchables.stream().flatMap(launchable -> launchable.kernels.stream()).toList();
      long start = System.nanoTime();
      driver.launch(kernels, begin, end, stream);
      driver.synchronize(stream);
      long hostNs = System.nanoTime() - start;
      return new Timing(hostNs, deviceNs());
    } catch (DeviceException e) {
      if (!driver.isLost()) {
        throw e;
      }
      String kernels =
          launchables.stream()
              .flatMap(launchable -> launchable.recipe().launches().stream())
              .map(Launch::kernel)
              .collect(Collectors.joining(", "));
      DeviceException named =
          new DeviceException(device().name(), e.call() + " after " + kernels, e.code());
      named.initCause(e);
      throw named;
    }
  }

  /** An emulator's events say how long it took to emulate, which is no time of a device. */
  private OptionalLong deviceNs() {
    return device().emulated()
        ? OptionalLong.empty()
        : OptionalLong.of(driver.elapsedNs(begin, end));
  }

  @Override
  protected void release() {
    List<Runnable> steps = new ArrayList<>();
    steps.add(staging::release);
    modules.values().forEach(loaded -> steps.add(() -> driver.release(loaded.module)));
    modules.clear();
    steps.add(() -> driver.release(begin));
    steps.add(() -> driver.release(end));
    steps.add(() -> driver.release(stream));
    steps.add(driver::close);
    Closing.all(steps);
  }

  /** Kernels with their arguments, and the scratch tensors between them. */
  final class Launchable extends PreparedRecipe<CudaTensor> {

    private final List<BoundKernel> kernels = new ArrayList<>();

    private Launchable(Operation operation, Provenance provenance, Recipe recipe) {
      super(CudaSession.this, operation, provenance, recipe);
    }

    private void build(Loaded loaded, KernelSource source, Map<String, CudaTensor> operands) {
      Map<String, CudaTensor> tensors = withScratch(operands, CudaSession.this::reserve);
      Map<String, DType> elements =
          Map.of(
              "float", DType.FP32,
              "storage_t", operation().dtype(),
              "int", DType.INT32,
              "uchar", DType.BOOL);
      for (Launch launch : recipe().launches()) {
        Signature signature = Entry.signature(source, launch.kernel(), loaded.ptx.text());
        Entry.requireBlock(launch.kernel(), launch.local(), loaded.ptx.text());
        List<Pointer> arguments =
            signature
                .bind(source, elements, launch.bound(tensors), recipe().optional(), recipe().args())
                .stream()
                .map(CudaSession::pointer)
                .toList();
        CUfunction function = driver.function(loaded.module, launch.kernel());
        if (launch.dynamicBytes() > 0) {
          driver.allowDynamicShared(function, launch.dynamicBytes());
        }
        kernels.add(new BoundKernel(function, launch, arguments));
      }
    }

    /** Shared memory that the compiled kernels really take, bytes. */
    int sharedBytes() {
      return kernels.stream()
          .mapToInt(kernel -> kernel.dynamicShared() + driver.staticShared(kernel.function()))
          .max()
          .orElse(0);
    }

    @Override
    protected void release() {
      kernels.clear();
      super.release();
    }
  }

  private static Pointer pointer(Argument<CudaTensor> argument) {
    return switch (argument) {
      case Argument.Tensor<CudaTensor> given ->
          Pointer.to(given.tensor().map(CudaTensor::memory).orElseGet(CUdeviceptr::new));
      case Argument.Struct<CudaTensor> struct -> Pointer.to(struct.bytes());
    };
  }
}
