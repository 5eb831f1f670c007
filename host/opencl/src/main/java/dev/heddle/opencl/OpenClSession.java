package dev.heddle.opencl;

import dev.heddle.core.Closing;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Provenance;
import dev.heddle.core.Refusal;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.Timing;
import dev.heddle.core.TrackedSession;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.core.kernel.ArgumentStruct;
import dev.heddle.core.kernel.KernelSource;
import dev.heddle.core.kernel.PreparedRecipe;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.RecipeLimits;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jocl.cl_command_queue;
import org.jocl.cl_context;
import org.jocl.cl_event;
import org.jocl.cl_kernel;
import org.jocl.cl_program;

/** An open OpenCL device: one context, one in-order queue, the programs compiled so far. */
final class OpenClSession extends TrackedSession<DeviceBuffer, OpenClSession.Launchable> {

  /** A program and what was built: a session compiles the same text with the same options once. */
  private record Build(KernelSource source, String options) {}

  private final OpenClBackend backend;
  private final ClDevice target;
  private final Driver driver;
  private final cl_context context;
  private final cl_command_queue queue;
  private final int guardBytes;
  private final Map<Build, cl_program> programs = new HashMap<>();
  private long allocatedBytes;

  OpenClSession(OpenClBackend backend, ClDevice target) {
    super(backend, target.device(), DeviceBuffer.class, Launchable.class);
    this.backend = backend;
    this.target = target;
    this.driver = new Driver(target.device().name(), backend.liveObjects());
    this.guardBytes = backend.guardBytes(target);
    this.context = driver.createContext(target.platform(), target.id());
    cl_command_queue created;
    try {
      created = driver.createQueue(context, target.id());
    } catch (RuntimeException e) {
      Closing.after(e, List.of(() -> driver.release(context)));
      throw e;
    }
    this.queue = created;
  }

  @Override
  protected DeviceBuffer reserve(TensorSpec spec) {
    long bytes = RecipeLimits.allocation(spec.bytes(), guardBytes);
    Optional<Refusal> refusal =
        Limits.TOLD
            .tooLarge(device(), spec, bytes)
            .or(() -> Limits.TOLD.tooMuch(device(), "this session", allocatedBytes + bytes));
    if (refusal.isPresent()) {
      throw new UnsupportedProblemException(refusal.get());
    }
    DeviceBuffer created = new DeviceBuffer(this, spec);
    allocatedBytes += bytes;
    return created;
  }

  /** A tensor is gone. */
  void freed(long bytes) {
    allocatedBytes -= bytes;
  }

  Driver driver() {
    return driver;
  }

  cl_context context() {
    return context;
  }

  cl_command_queue queue() {
    return queue;
  }

  /** Bytes of each guard band. */
  int guardBytes() {
    return guardBytes;
  }

  @Override
  protected Launchable bind(Operation operation, Plan plan, Map<String, DeviceBuffer> operands) {
    return bind(operation, plan, backend.recipe(operation, plan), operands);
  }

  /** Prepares a recipe of the caller's own, whose limits it answers for. */
  Launchable prepare(
      Operation operation, Plan plan, Recipe recipe, Map<String, DeviceBuffer> operands) {
    return track(bind(operation, plan, recipe, operands), operands);
  }

  private Launchable bind(
      Operation operation, Plan plan, Recipe recipe, Map<String, DeviceBuffer> operands) {
    KernelSource source = backend.kernels().source(recipe.file());
    cl_program program = program(source, recipe);
    Launchable launchable = new Launchable(operation, provenance(plan, source), recipe);
    try {
      launchable.build(program, source, operands);
    } catch (RuntimeException e) {
      Closing.after(e, List.of(launchable::release));
      throw e;
    }
    return launchable;
  }

  private cl_program program(KernelSource source, Recipe recipe) {
    StringBuilder options = new StringBuilder("-cl-std=CL1.2 -cl-kernel-arg-info");
    SortedMap<String, Integer> macros = new TreeMap<>(recipe.macros());
    macros.putAll(ArgumentStruct.sizes(source));
    macros.forEach((name, value) -> options.append(" -D").append(name).append('=').append(value));
    Build build = new Build(source, options.toString());
    cl_program program = programs.get(build);
    if (program == null) {
      program = driver.build(context, target.id(), source, build.options);
      programs.put(build, program);
    }
    return program;
  }

  private Provenance provenance(Plan plan, KernelSource source) {
    return new Provenance(
        device(), plan, List.of(backend.kernels().path(source.file())), source.hash());
  }

  @Override
  protected Timing launch(List<Launchable> launchables) {
    List<cl_event> events = new ArrayList<>();
    try {
      long start = System.nanoTime();
      for (Launchable launchable : launchables) {
        launchable.enqueue(events);
      }
      driver.finish(queue);
      long hostNs = System.nanoTime() - start;
      return new Timing(hostNs, deviceNs(events));
    } finally {
      events.forEach(driver::release);
    }
  }

  private OptionalLong deviceNs(List<cl_event> events) {
    return target.hasClock()
        ? OptionalLong.of(events.stream().mapToLong(driver::elapsed).sum())
        : OptionalLong.empty();
  }

  @Override
  protected void release() {
    List<Runnable> steps = new ArrayList<>();
    programs.values().forEach(program -> steps.add(() -> driver.release(program)));
    programs.clear();
    steps.add(() -> driver.release(queue));
    steps.add(() -> driver.release(context));
    Closing.all(steps);
  }

  /** Kernels with their arguments set, and the scratch tensors between them. */
  final class Launchable extends PreparedRecipe<DeviceBuffer> {
    private final List<cl_kernel> kernels = new ArrayList<>();

    private Launchable(Operation operation, Provenance provenance, Recipe recipe) {
      super(OpenClSession.this, operation, provenance, recipe);
    }

    private void build(
        cl_program program, KernelSource source, Map<String, DeviceBuffer> operands) {
      Map<String, DeviceBuffer> tensors = withScratch(operands, OpenClSession.this::reserve);
      for (Recipe.Launch launch : recipe().launches()) {
        cl_kernel kernel = driver.createKernel(program, launch.kernel());
        kernels.add(kernel);
        Arguments.set(driver, kernel, source, recipe(), launch, tensors);
      }
    }

    private void enqueue(List<cl_event> events) {
      for (int i = 0; i < kernels.size(); i++) {
        Recipe.Launch launch = recipe().launches().get(i);
        events.add(driver.enqueue(queue, kernels.get(i), launch.globalSize(), launch.localSize()));
      }
    }

    /** Local memory that the compiled kernels really take, bytes. */
    long localBytes() {
      return kernels.stream()
          .mapToLong(kernel -> driver.localMemory(kernel, target.id()))
          .max()
          .orElse(0);
    }

    @Override
    protected void release() {
      List<Runnable> steps = new ArrayList<>();
      kernels.forEach(kernel -> steps.add(() -> driver.release(kernel)));
      kernels.clear();
      steps.add(super::release);
      Closing.all(steps);
    }
  }
}
