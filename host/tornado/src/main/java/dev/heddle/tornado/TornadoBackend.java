package dev.heddle.tornado;

import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.core.kernel.ArgumentStruct;
import dev.heddle.core.kernel.KernelBackend;
import dev.heddle.core.kernel.KernelSource;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Siblings;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.concurrent.ConcurrentHashMap;

/** Every device of every backend that TornadoVM has, driven by kernels written in Java. */
public final class TornadoBackend extends KernelBackend<TornadoTarget, JavaKernels> {
  private final LiveObjects live = new LiveObjects();
  private final Map<Device, TornadoDriver> drivers = new ConcurrentHashMap<>();
  private final Map<String, ArgumentStruct> structs = new ConcurrentHashMap<>();

  /** Created by the service loader. */
  public TornadoBackend() {
    this(new JavaKernels());
  }

  /** A backend with other kernels. */
  TornadoBackend(JavaKernels kernels) {
    super(kernels);
  }

  @Override
  public String id() {
    return "tornado";
  }

  @Override
  protected Found<TornadoTarget> discover() {
    return Discovery.run(id());
  }

  @Override
  protected Device device(TornadoTarget target) {
    return target.device();
  }

  @Override
  protected List<String> ladder(TornadoTarget target, Operation operation) {
    return Ladder.algorithms(operation);
  }

  @Override
  protected Set<DType> dtypes(Operation operation, String algorithm) {
    return Set.copyOf(DType.FLOATING);
  }

  @Override
  protected SortedMap<String, Integer> given(TornadoTarget target, Operation operation) {
    return Siblings.macros(operation);
  }

  @Override
  protected List<String> families(TornadoTarget target) {
    return List.of("tornado_" + target.device().kind().name().toLowerCase(Locale.ROOT), "default");
  }

  @Override
  protected Recipe recipe(
      String file, Operation operation, String algorithm, SortedMap<String, Integer> tunables) {
    return Ladder.recipe(file, operation, algorithm, tunables);
  }

  @Override
  protected Optional<Refusal> refusal(TornadoTarget target, Operation operation, Recipe recipe) {
    return Limits.refusal(target, operation, recipe);
  }

  @Override
  public Session open(Device device) {
    TornadoTarget target = target(device);
    return new TornadoSession(
        this, target, drivers.computeIfAbsent(device, key -> new TornadoDriver(target, live)));
  }

  /** What TornadoVM makes of a kernel for that device. */
  String language(Device device) {
    return target(device).language();
  }

  /** The hand-written kernel file nearest to such a device that computes what a file computes. */
  Optional<String> sibling(Device device, String file) {
    return Ladder.sibling(file, target(device).runsCuda());
  }

  /** What the kernels for an operation are told at run time. */
  ArgumentStruct argumentStruct(Operation operation) {
    // Named as the operation's kernels are: attention_args.
    String name = Siblings.kernel(operation, "args");
    return structs.computeIfAbsent(
        name,
        key ->
            ArgumentStruct.find(
                    key, KernelSource.assemble(key + ".h", KernelSource.resources("tornado")))
                .orElseThrow());
  }

  /** Device buffers that sessions of this backend allocated and have not released yet. */
  LiveObjects liveObjects() {
    return live;
  }
}
