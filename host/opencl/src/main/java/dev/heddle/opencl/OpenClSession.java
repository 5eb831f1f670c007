package dev.heddle.opencl;

import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.DeviceTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Prepared;
import dev.heddle.core.Provenance;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.core.Shape;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.Timing;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.core.kernel.ArgumentStruct;
import dev.heddle.core.kernel.KernelSource;
import dev.heddle.core.kernel.Recipe;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jocl.cl_command_queue;
import org.jocl.cl_context;
import org.jocl.cl_event;
import org.jocl.cl_kernel;
import org.jocl.cl_mem;
import org.jocl.cl_program;

/** An open OpenCL device: one context, one in-order queue, the programs compiled so far. */
final class OpenClSession implements Session {

  /** A program and what was built: a session compiles the same text with the same options once. */
  private record Build(KernelSource source, String options) {}

  private final OpenClBackend backend;
  private final ClDevice target;
  private final Driver driver;
  private final cl_context context;
  private final cl_command_queue queue;
  private final int guardBytes;
  private final Map<Build, cl_program> programs = new HashMap<>();
  private final Set<DeviceBuffer> tensors = new LinkedHashSet<>();
  private final Set<Launchable> prepared = new LinkedHashSet<>();
  private long allocatedBytes;
  private boolean open = true;

  OpenClSession(OpenClBackend backend, ClDevice target) {
    this.backend = backend;
    this.target = target;
    this.driver = new Driver(target.device().name(), backend.liveObjects());
    this.guardBytes = backend.guardBytes(target);
    this.context = driver.createContext(target.platform(), target.id());
    cl_command_queue created;
    try {
      created = driver.createQueue(context, target.id());
    } catch (RuntimeException e) {
      driver.release(context);
      throw e;
    }
    this.queue = created;
  }

  @Override
  public Device device() {
    return target.device();
  }

  @Override
  public DeviceTensor allocate(Shape shape, DType dtype) {
    DeviceBuffer tensor = buffer(new TensorSpec("a tensor", shape, dtype), tensors::remove);
    tensors.add(tensor);
    return tensor;
  }

  private DeviceBuffer buffer(TensorSpec spec, java.util.function.Consumer<DeviceBuffer> onClose) {
    requireOpen();
    long bytes = Limits.allocation(spec.bytes(), guardBytes);
    Optional<Refusal> refusal =
        Limits.tooLarge(device(), spec.name() + " " + spec.shape(), bytes)
            .or(() -> Limits.tooMuch(device(), "this session", allocatedBytes + bytes));
    if (refusal.isPresent()) {
      throw new UnsupportedProblemException(refusal.get());
    }
    DeviceBuffer created =
        new DeviceBuffer(
            driver,
            context,
            queue,
            spec.shape(),
            spec.dtype(),
            guardBytes,
            closed -> {
              allocatedBytes -= closed.allocatedBytes();
              onClose.accept(closed);
            });
    allocatedBytes += bytes;
    return created;
  }

  @Override
  public Prepared prepare(Operation operation, Plan plan, Map<String, DeviceTensor> given) {
    requireOpen();
    Optional<Refusal> refusal = backend.refusal(device(), operation, plan);
    if (refusal.isPresent()) {
      throw new UnsupportedProblemException(refusal.get());
    }
    Map<String, DeviceBuffer> operands = new HashMap<>();
    for (TensorSpec spec : operation.tensors()) {
      operands.put(spec.name(), operand(operation, spec, given));
    }
    return prepare(operation, plan, backend.recipe(operation, plan), operands);
  }

  /** Compiles and binds a recipe whose limits were checked. */
  Launchable prepare(
      Operation operation, Plan plan, Recipe recipe, Map<String, DeviceBuffer> operands) {
    KernelSource source = backend.files().source(recipe.file());
    cl_program program = program(source, recipe);
    Launchable launchable = new Launchable(operation, provenance(plan, source), recipe);
    try {
      launchable.build(program, source, operands);
    } catch (RuntimeException e) {
      launchable.release();
      throw e;
    }
    prepared.add(launchable);
    return launchable;
  }

  private DeviceBuffer operand(
      Operation operation, TensorSpec spec, Map<String, DeviceTensor> given) {
    if (!(given.get(spec.name()) instanceof DeviceBuffer tensor) || !tensors.contains(tensor)) {
      throw new IllegalArgumentException(
          operation.name() + " needs a tensor of this session for '" + spec.name() + "'");
    }
    if (tensor.dtype() != spec.dtype() || tensor.shape().elements() != spec.shape().elements()) {
      throw new IllegalArgumentException(
          operation.name()
              + " wants "
              + spec.dtype().label()
              + " "
              + spec.name()
              + " "
              + spec.shape()
              + ", not "
              + tensor.dtype().label()
              + " "
              + tensor.shape());
    }
    return tensor;
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
        device(), plan, List.of(backend.files().path(source.file())), source.hash());
  }

  @Override
  public Timing run(List<Prepared> operations) {
    requireOpen();
    List<Launchable> launchables = new ArrayList<>();
    for (Prepared operation : operations) {
      if (!(operation instanceof Launchable launchable) || !prepared.contains(launchable)) {
        throw new IllegalArgumentException("that operation is closed or of another session");
      }
      launchables.add(launchable);
    }
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
  public int liveResources() {
    return tensors.size() + prepared.size();
  }

  @Override
  public void close() {
    if (!open) {
      return;
    }
    List.copyOf(prepared).forEach(Launchable::close);
    List.copyOf(tensors).forEach(DeviceBuffer::close);
    programs.values().forEach(driver::release);
    programs.clear();
    driver.release(queue);
    driver.release(context);
    open = false;
  }

  private void requireOpen() {
    if (!open) {
      throw new IllegalStateException("the session is closed");
    }
  }

  /** Kernels with their arguments set, and the scratch tensors between them. */
  final class Launchable implements Prepared {
    private final Operation operation;
    private final Provenance provenance;
    private final Recipe recipe;
    private final List<cl_kernel> kernels = new ArrayList<>();
    private final List<DeviceBuffer> scratch = new ArrayList<>();
    private final List<DeviceBuffer> outputs = new ArrayList<>();

    private Launchable(Operation operation, Provenance provenance, Recipe recipe) {
      this.operation = operation;
      this.provenance = provenance;
      this.recipe = recipe;
    }

    private void build(
        cl_program program, KernelSource source, Map<String, DeviceBuffer> operands) {
      Map<String, cl_mem> memory = new HashMap<>();
      operands.forEach((name, tensor) -> memory.put(name, tensor.memory()));
      for (TensorSpec output : operation.outputs()) {
        DeviceBuffer tensor = operands.get(output.name());
        if (tensor != null) {
          outputs.add(tensor);
        }
      }
      for (TensorSpec spec : recipe.scratchTensors()) {
        DeviceBuffer tensor = buffer(spec, closed -> {});
        scratch.add(tensor);
        memory.put(spec.name(), tensor.memory());
      }
      for (Recipe.Launch launch : recipe.launches()) {
        cl_kernel kernel = driver.createKernel(program, launch.kernel());
        kernels.add(kernel);
        Map<String, cl_mem> buffers = new TreeMap<>();
        launch
            .tensors()
            .forEach((argument, tensor) -> {
              cl_mem bound = memory.get(tensor);
              if (bound != null) {
                buffers.put(argument, bound);
              }
            });
        Arguments.of(driver, launch.kernel(), kernel)
            .bind(driver, kernel, source, buffers, recipe.optional(), recipe.args());
      }
    }

    private void enqueue(List<cl_event> events) {
      for (int i = 0; i < kernels.size(); i++) {
        Recipe.Launch launch = recipe.launches().get(i);
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
    public Operation operation() {
      return operation;
    }

    @Override
    public Provenance provenance() {
      return provenance;
    }

    @Override
    public long scratchBytes() {
      return recipe.scratchBytes();
    }

    @Override
    public void close() {
      if (prepared.remove(this)) {
        release();
      }
    }

    private void release() {
      kernels.forEach(driver::release);
      kernels.clear();
      scratch.forEach(tensor -> outputs.forEach(output -> output.unwatch(tensor)));
      scratch.forEach(DeviceBuffer::close);
      scratch.clear();
    }
  }
}
