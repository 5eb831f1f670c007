package dev.heddle.tornado;

import dev.heddle.core.Closing;
import dev.heddle.core.GeneratedCode;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Provenance;
import dev.heddle.core.Refusal;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.Timing;
import dev.heddle.core.TrackedSession;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.core.kernel.PreparedRecipe;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.RecipeLimits;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeMap;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.runtime.common.XPUDeviceBufferState;

/** A TornadoVM device with its tensors and prepared operations. */
final class TornadoSession extends TrackedSession<TornadoTensor, TornadoSession.Launchable> {
  private final TornadoBackend backend;
  private final TornadoDriver driver;
  private long allocatedBytes;

  TornadoSession(TornadoBackend backend, TornadoTarget target, TornadoDriver driver) {
    super(backend, target.device(), TornadoTensor.class, Launchable.class);
    this.backend = backend;
    this.driver = driver;
  }

  TornadoDriver driver() {
    return driver;
  }

  @Override
  protected TornadoTensor reserve(TensorSpec spec) {
    long bytes = RecipeLimits.allocation(spec.bytes(), Limits.bandBytes(spec.dtype()));
    Optional<Refusal> refusal =
        Limits.tooLong(spec)
            .or(() -> Limits.TOLD.tooLarge(device(), spec, bytes))
            .or(() -> Limits.TOLD.tooMuch(device(), "this session", allocatedBytes + bytes));
    if (refusal.isPresent()) {
      throw new UnsupportedProblemException(refusal.get());
    }
    TornadoTensor created = new TornadoTensor(this, spec);
    allocatedBytes += bytes;
    return created;
  }

  /** A tensor is gone. */
  void freed(long bytes) {
    allocatedBytes -= bytes;
  }

  @Override
  protected Launchable bind(Operation operation, Plan plan, Map<String, TornadoTensor> operands) {
    Recipe recipe = backend.recipe(operation, plan);
    List<TornadoDriver.Code> codes = new ArrayList<>();
    for (Recipe.Launch launch : recipe.launches()) {
      KernelMethod kernel = backend.kernels().kernel(recipe.file(), launch.kernel());
      codes.add(
          driver.compile(
              kernel, kernel.constants(recipe.macros(), names(launch, operands, recipe))));
    }
    Launchable launchable =
        new Launchable(operation, provenance(plan, recipe, codes), recipe, codes);
    try {
      launchable.reserve(operands);
    } catch (RuntimeException | Error e) {
      Closing.after(e, List.of(launchable::release));
      throw e;
    }
    return launchable;
  }

  /** Parameters of a launch behind which there is a tensor. */
  private static Set<String> names(
      Recipe.Launch launch, Map<String, TornadoTensor> operands, Recipe recipe) {
    Map<String, Object> available = new TreeMap<>(operands);
    recipe.scratchTensors().forEach(spec -> available.put(spec.name(), spec));
    return launch.bound(available).keySet();
  }

  private Provenance provenance(Plan plan, Recipe recipe, List<TornadoDriver.Code> codes) {
    MessageDigest digest = Provenance.sha256();
    codes.forEach(code -> digest.update(code.text().getBytes(StandardCharsets.UTF_8)));
    return new Provenance(
        device(),
        plan,
        List.of(backend.kernels().path(recipe.file())),
        HexFormat.of().formatHex(digest.digest()));
  }

  @Override
  protected Timing launch(List<Launchable> launchables) {
    long start = System.nanoTime();
    long deviceNs = 0;
    for (Launchable launchable : launchables) {
      deviceNs += launchable.run();
    }
    return new Timing(System.nanoTime() - start, OptionalLong.of(deviceNs));
  }

  /** The device's own parts belong to the backend. */
  @Override
  protected void release() {}

  /** Compiled kernels, their arguments, and the scratch tensors between them. */
  final class Launchable extends PreparedRecipe<TornadoTensor> {
    private final List<TornadoDriver.Code> codes;
    private final List<Map<String, TornadoTensor>> tensors = new ArrayList<>();
    private Optional<XPUDeviceBufferState> args = Optional.empty();

    private Launchable(
        Operation operation, Provenance provenance, Recipe recipe, List<TornadoDriver.Code> codes) {
      super(TornadoSession.this, operation, provenance, recipe);
      this.codes = List.copyOf(codes);
    }

    private void reserve(Map<String, TornadoTensor> operands) {
      Map<String, TornadoTensor> all = withScratch(operands, TornadoSession.this::reserve);
      recipe().launches().forEach(launch -> tensors.add(launch.bound(all)));
      ByteBuffer struct =
          ByteBuffer.wrap(backend.argumentStruct(operation()).pack(recipe().args()))
              .order(ByteOrder.nativeOrder());
      IntArray words = new IntArray(struct.capacity() / Integer.BYTES);
      for (int i = 0; i < words.getSize(); i++) {
        words.set(i, struct.getInt(i * Integer.BYTES));
      }
      XPUDeviceBufferState buffer = driver.allocate(words);
      args = Optional.of(buffer);
      driver.upload(words, buffer);
    }

    /** Time inside the kernels, ns. */
    private long run() {
      long ns = 0;
      for (int i = 0; i < codes.size(); i++) {
        Map<String, XPUDeviceBufferState> buffers = new TreeMap<>();
        tensors.get(i).forEach((name, tensor) -> buffers.put(name, tensor.buffer()));
        ns += driver.launch(codes.get(i), recipe().launches().get(i), buffers, args.orElseThrow());
      }
      return ns;
    }

    @Override
    public List<GeneratedCode> generatedCode() {
      return codes.stream()
          .map(code ->
              new GeneratedCode(
                  code.kernel().kernel(),
                  backend.language(device()),
                  code.text(),
                  code.compileNs(),
                  backend.sibling(device(), recipe().file())))
          .toList();
    }

    @Override
    protected void release() {
      List<Runnable> steps = new ArrayList<>();
      args.ifPresent(buffer -> steps.add(() -> driver.release(buffer)));
      args = Optional.empty();
      steps.add(super::release);
      Closing.all(steps);
    }
  }
}
