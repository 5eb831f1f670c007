package dev.heddle.core;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/**
 * A session whose memory is the JVM's: what the backends that compute in Java share. They supply
 * {@link #compile}.
 *
 * <p>An element takes 4 bytes whatever its type: a 16-bit tensor or a boolean is held widened,
 * which is exact, and a kernel that writes one has to round to its type what it stores. Integers
 * are held as fp32, too, and so are exact up to {@link #MAX_INTEGER}; operations on larger ones are
 * refused.
 */
public abstract class HostSession extends TrackedSession<HostSession.Resident, HostSession.Ready> {

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

  /** Up to here every integer is an fp32 number. */
  public static final int MAX_INTEGER = 1 << 24;

  private static final int GUARD = 64;
  private static final long MAX_PAYLOAD = HostTensor.MAX_ELEMENTS - 2 * GUARD;
  private static final float GUARD_VALUE = Float.intBitsToFloat(0x7FC0BEEF);

  private final Set<DType> dtypes;

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
    super(backend, device, Resident.class, Ready.class);
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
  protected final Resident reserve(TensorSpec spec) {
    if (spec.dtype().isFloating()) {
      Refusal.unlessAmong(dtypes, spec.dtype())
          .ifPresent(refusal -> {
            throw new UnsupportedProblemException(refusal);
          });
    }
    if (spec.shape().elements() > MAX_PAYLOAD) {
      throw new UnsupportedProblemException(tooLong(spec.name(), spec.shape()));
    }
    return new Resident(this, spec);
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
   * @param options the options of attention that the plan's algorithm has
   * @param scratchBytes memory that the algorithm needs beyond inputs and outputs, bytes
   */
  public static Optional<Refusal> commonRefusal(
      Device device,
      Operation operation,
      Plan plan,
      Set<DType> dtypes,
      List<String> algorithms,
      Set<AttentionOption> options,
      long scratchBytes) {
    Optional<Refusal> general =
        Refusal.ofAlgorithm(device, operation, plan, algorithms)
            .or(() -> Refusal.unlessAmong(dtypes, operation.dtype()))
            .or(() -> Refusal.unlessOptions(options, operation, plan.algorithm()))
            .or(() -> integersTooLarge(operation));
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

  private static Optional<Refusal> integersTooLarge(Operation operation) {
    return switch (operation) {
      case AttentionProblem attention when attention.options().keyLengths() ->
          integersTooLarge("keyLengths", "seqlenK", attention.shape().seqlenK());
      case CacheAppend append -> integersTooLarge("lengths", "capacity", append.capacity());
      case RotaryEmbedding rotary ->
          integersTooLarge("positions", "maxPositions", rotary.maxPositions());
      default -> Optional.empty();
    };
  }

  private static Optional<Refusal> integersTooLarge(String limit, String size, int value) {
    return value <= MAX_INTEGER
        ? Optional.empty()
        : Optional.of(
            new Refusal(
                limit,
                "%s = %d; integers are held as fp32 here, so it must be at most %d"
                    .formatted(size, value, MAX_INTEGER)));
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
  protected final Ready bind(Operation operation, Plan plan, Map<String, Resident> operands) {
    Map<String, Span> spans = new HashMap<>();
    operands.forEach((name, tensor) -> spans.put(name, tensor.span()));
    Kernel kernel = compile(operation, plan, spans);
    return new Ready(this, operation, provenance(operation, plan), kernel);
  }

  @Override
  protected final Timing launch(List<Ready> operations) {
    long start = System.nanoTime();
    operations.forEach(operation -> operation.kernel.run());
    return new Timing(System.nanoTime() - start, OptionalLong.empty());
  }

  /** Nothing is left to release; a subclass that holds more releases that. */
  @Override
  protected void release() {}

  /** A tensor in an array. */
  protected static final class Resident extends GuardedTensor {
    private float[] array;

    private Resident(HostSession session, TensorSpec spec) {
      super(session, spec);
      this.array = new float[payload() + 2 * GUARD];
      Arrays.fill(array, 0, GUARD, GUARD_VALUE);
      Arrays.fill(array, GUARD + payload(), array.length, GUARD_VALUE);
    }

    private Span span() {
      return new Span(array, GUARD, payload());
    }

    @Override
    protected void upload(HostTensor source) {
      if (dtype() == DType.FP32) {
        System.arraycopy(source.floats(), 0, array, GUARD, payload());
      } else {
        for (int i = 0; i < payload(); i++) {
          array[GUARD + i] = source.get(i);
        }
      }
    }

    @Override
    protected void download(HostTensor target) {
      if (dtype() == DType.FP32) {
        System.arraycopy(array, GUARD, target.floats(), 0, payload());
      } else {
        for (int i = 0; i < payload(); i++) {
          target.set(i, array[GUARD + i]);
        }
      }
    }

    @Override
    protected void fillWithNan() {
      Arrays.fill(array, GUARD, GUARD + payload(), Float.NaN);
    }

    @Override
    protected boolean bandsIntact() {
      return intact(0, GUARD) && intact(GUARD + payload(), array.length);
    }

    private boolean intact(int from, int to) {
      for (int i = from; i < to; i++) {
        if (Float.floatToRawIntBits(array[i]) != Float.floatToRawIntBits(GUARD_VALUE)) {
          return false;
        }
      }
      return true;
    }

    @Override
    protected void free() {
      array = new float[0];
    }

    private int payload() {
      return (int) shape().elements();
    }
  }

  /** A kernel with its tensors. */
  protected static final class Ready extends TrackedOperation {
    private final Kernel kernel;

    private Ready(HostSession session, Operation operation, Provenance provenance, Kernel kernel) {
      super(session, operation, provenance);
      this.kernel = kernel;
    }

    @Override
    public long scratchBytes() {
      return kernel.scratchBytes();
    }

    @Override
    protected void release() {
      kernel.close();
    }
  }
}
