package dev.heddle.core;

import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/**
 * A session whose memory is the JVM's: what the backends that compute in Java share. They supply
 * {@link #compile}.
 *
 * <p>An element takes 4 bytes whatever its type: a 16-bit tensor is held widened, which is exact,
 * and a kernel that writes one has to round to its type what it stores.
 */
public abstract class HostSession implements Session {

  /** An operation that is ready to run on JVM arrays. */
  public interface Kernel extends AutoCloseable {

    /** Computes; reads and writes the tensors that it was compiled for. */
    void run();

    /** Memory that it holds beyond its inputs and outputs, in bytes. */
    long scratchBytes();

    /** Releases what it holds; by default nothing. */
    @Override
    default void close() {}
  }

  /** Elements of a session's tensor, as fp32, within the array that also holds its guard bands. */
  public record Span(float[] array, int offset, int length) {}

  private static final int GUARD = 64;
  private static final long MAX_PAYLOAD = HostTensor.MAX_ELEMENTS - 2 * GUARD;
  private static final float GUARD_VALUE = Float.intBitsToFloat(0x7FC0BEEF);

  private final Backend backend;
  private final Device device;
  private final Set<DType> dtypes;
  private final Set<Resource> live = new HashSet<>();

  /** A session of that backend on that device for fp32 tensors. */
  protected HostSession(Backend backend, Device device) {
    this(backend, device, Set.of(DType.FP32));
  }

  /**
   * A session of that backend on that device.
   *
   * @param dtypes types of the tensors that it takes
   */
  protected HostSession(Backend backend, Device device, Set<DType> dtypes) {
    this.backend = backend;
    this.device = device;
    this.dtypes = Set.copyOf(dtypes);
  }

  /**
   * Makes an operation ready to run; only called for what the backend does not refuse.
   *
   * @param tensors where each input and output lies, by the operation's name for it
   */
  protected abstract Kernel compile(Operation operation, Plan plan, Map<String, Span> tensors);

  /** Names of what computes the operation, and the hash of its code. */
  protected abstract Provenance provenance(Operation operation, Plan plan);

  @Override
  public final Device device() {
    return device;
  }

  @Override
  public final DeviceTensor allocate(Shape shape, DType dtype) {
    Refusal.unlessAmong(dtypes, dtype)
        .ifPresent(refusal -> {
          throw new UnsupportedProblemException(refusal);
        });
    if (shape.elements() > MAX_PAYLOAD) {
      throw new UnsupportedProblemException(tooLong("a tensor", shape));
    }
    Resident tensor = new Resident(shape, dtype);
    live.add(tensor);
    return tensor;
  }

  /** The JVM itself as device 0 of a backend: all of its processors and its heap. */
  public static Device jvm(String backend, String name) {
    Runtime runtime = Runtime.getRuntime();
    long heap = runtime.maxMemory();
    return new Device(
        backend,
        0,
        name,
        "JVM " + Runtime.version(),
        Device.Kind.CPU,
        false,
        new Device.Limits(heap, heap, 0, 1, runtime.availableProcessors()));
  }

  /**
   * What no JVM backend can run: a storage type that it does not have, a tensor longer than an
   * array, or more memory than the device has.
   *
   * @param dtypes storage types that the backend has
   * @param algorithms the algorithms that the backend has for the operation
   * @param scratchBytes memory that the algorithm needs beyond inputs and outputs, bytes
   */
  public static Optional<Refusal> commonRefusal(
      Device device,
      Operation operation,
      Plan plan,
      Set<DType> dtypes,
      List<String> algorithms,
      long scratchBytes) {
    Optional<Refusal> general =
        Refusal.ofAlgorithm(device, operation, plan, algorithms)
            .or(() -> Refusal.unlessAmong(dtypes, operation.dtype()));
    if (general.isPresent()) {
      return general;
    }
    long bytes = scratchBytes;
    for (TensorSpec spec : operation.tensors()) {
      if (spec.shape().elements() > MAX_PAYLOAD) {
        return Optional.of(tooLong(spec.name(), spec.shape()));
      }
      bytes += spec.shape().elements() * Float.BYTES;
    }
    long limit = device.limits().memoryBytes();
    return bytes <= limit
        ? Optional.empty()
        : Optional.of(
            new Refusal(
                "deviceMemory",
                operation.name()
                    + " needs "
                    + bytes
                    + " bytes; the JVM's heap limit is "
                    + limit
                    + " bytes"));
  }

  private static Refusal tooLong(String name, Shape shape) {
    return new Refusal(
        "arrayLength",
        name
            + " "
            + shape
            + " has "
            + shape.elements()
            + " elements; one JVM array holds at most "
            + MAX_PAYLOAD);
  }

  @Override
  public final Prepared prepare(Operation operation, Plan plan, Map<String, DeviceTensor> tensors) {
    Optional<Refusal> refusal = backend.refusal(device, operation, plan);
    if (refusal.isPresent()) {
      throw new UnsupportedProblemException(refusal.get());
    }
    Map<String, Span> spans = new HashMap<>();
    for (TensorSpec spec : operation.tensors()) {
      if (!(tensors.get(spec.name()) instanceof Resident resident) || !live.contains(resident)) {
        throw new IllegalArgumentException(
            operation.name() + " needs a tensor of this session for '" + spec.name() + "'");
      }
      if (resident.dtype != spec.dtype() || resident.shape.elements() != spec.shape().elements()) {
        throw new IllegalArgumentException(
            operation.name()
                + " wants "
                + spec.dtype().label()
                + " "
                + spec.name()
                + " "
                + spec.shape()
                + ", not "
                + resident.dtype.label()
                + " "
                + resident.shape);
      }
      spans.put(spec.name(), resident.span());
    }
    Ready ready =
        new Ready(operation, provenance(operation, plan), compile(operation, plan, spans));
    live.add(ready);
    return ready;
  }

  @Override
  public final Timing run(List<Prepared> operations) {
    long start = System.nanoTime();
    for (Prepared operation : operations) {
      if (!(operation instanceof Ready ready) || !live.contains(ready)) {
        throw new IllegalArgumentException("that operation is closed or of another session");
      }
      ready.kernel.run();
    }
    return new Timing(System.nanoTime() - start, OptionalLong.empty());
  }

  @Override
  public final int liveResources() {
    return live.size();
  }

  /** Closes what was handed out; a subclass that holds more closes that too. */
  @Override
  public void close() {
    List.copyOf(live).forEach(Resource::close);
  }

  /** Something that the session handed out. */
  private sealed interface Resource permits Resident, Ready {
    void close();
  }

  private final class Resident implements DeviceTensor, Resource {
    private final Shape shape;
    private final DType dtype;
    private float[] array;

    Resident(Shape shape, DType dtype) {
      this.shape = shape;
      this.dtype = dtype;
      int payload = (int) shape.elements();
      this.array = new float[payload + 2 * GUARD];
      Arrays.fill(array, 0, GUARD, GUARD_VALUE);
      Arrays.fill(array, GUARD + payload, array.length, GUARD_VALUE);
    }

    Span span() {
      return new Span(open(), GUARD, payload());
    }

    @Override
    public Shape shape() {
      return shape;
    }

    @Override
    public DType dtype() {
      return dtype;
    }

    @Override
    public void write(HostTensor source) {
      if (source.dtype() != dtype || source.size() != payload()) {
        throw new IllegalArgumentException(
            "can't write "
                + source.dtype().label()
                + " "
                + source.shape()
                + " to "
                + dtype.label()
                + " "
                + shape);
      }
      float[] target = open();
      if (dtype == DType.FP32) {
        System.arraycopy(source.floats(), 0, target, GUARD, payload());
      } else {
        for (int i = 0; i < payload(); i++) {
          target[GUARD + i] = source.get(i);
        }
      }
    }

    @Override
    public HostTensor read() {
      HostTensor values =
          HostTensor.of(shape, Arrays.copyOfRange(open(), GUARD, GUARD + payload()));
      return dtype == DType.FP32 ? values : values.rounded(dtype);
    }

    @Override
    public void poison() {
      Arrays.fill(open(), GUARD, GUARD + payload(), Float.NaN);
    }

    @Override
    public boolean guardsIntact() {
      return intact(0, GUARD) && intact(GUARD + payload(), open().length);
    }

    @Override
    public void close() {
      if (live.remove(this)) {
        array = new float[0];
      }
    }

    private boolean intact(int from, int to) {
      for (int i = from; i < to; i++) {
        if (Float.floatToRawIntBits(open()[i]) != Float.floatToRawIntBits(GUARD_VALUE)) {
          return false;
        }
      }
      return true;
    }

    private int payload() {
      return (int) shape.elements();
    }

    private float[] open() {
      if (!live.contains(this)) {
        throw new IllegalStateException("the tensor is closed");
      }
      return array;
    }
  }

  private final class Ready implements Prepared, Resource {
    private final Operation operation;
    private final Provenance provenance;
    private final Kernel kernel;

    Ready(Operation operation, Provenance provenance, Kernel kernel) {
      this.operation = operation;
      this.provenance = provenance;
      this.kernel = kernel;
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
      return kernel.scratchBytes();
    }

    @Override
    public void close() {
      if (live.remove(this)) {
        kernel.close();
      }
    }
  }
}
