package dev.heddle.core;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What all sessions have in common: they know what they handed out, check what they are given, time
 * their transfers, and close everything when they are closed.
 *
 * @param <T> the session's tensors
 * @param <P> the session's prepared operations
 */
public abstract class TrackedSession<T extends GuardedTensor, P extends TrackedOperation>
    implements Session {
  private final Backend backend;
  private final Device device;
  private final Class<T> tensorType;
  private final Class<P> preparedType;
  private final Set<T> tensors = new LinkedHashSet<>();
  private final Map<P, Map<String, T>> prepared = new LinkedHashMap<>();
  private Transfers transfers = Transfers.NONE;
  private boolean open = true;

  /** A session of that backend on that device. */
  protected TrackedSession(
      Backend backend, Device device, Class<T> tensorType, Class<P> preparedType) {
    this.backend = backend;
    this.device = device;
    this.tensorType = tensorType;
    this.preparedType = preparedType;
  }

  /**
   * Reserves memory, guard bands written.
   *
   * @throws UnsupportedProblemException when the device can't hold it
   */
  protected abstract T reserve(TensorSpec spec);

  /**
   * Makes an operation ready to run; only called for what the backend does not refuse, with a
   * tensor of this session, of the right type and size, for each of the operation's.
   */
  protected abstract P bind(Operation operation, Plan plan, Map<String, T> operands);

  /** Runs operations of this session that are open, and waits for the last. */
  protected abstract Timing launch(List<P> operations);

  /** Releases what the session itself holds, once, when all that it handed out is closed. */
  protected abstract void release();

  @Override
  public final Device device() {
    return device;
  }

  @Override
  public final DeviceTensor allocate(Shape shape, DType dtype) {
    requireOpen();
    T tensor = reserve(new TensorSpec("a tensor", shape, dtype));
    tensors.add(tensor);
    return tensor;
  }

  @Override
  public final Prepared prepare(Operation operation, Plan plan, Map<String, DeviceTensor> given) {
    requireOpen();
    Optional<Refusal> refusal = backend.refusal(device, operation, plan);
    if (refusal.isPresent()) {
      throw new UnsupportedProblemException(refusal.get());
    }
    Map<String, T> operands = new HashMap<>();
    for (TensorSpec spec : operation.tensors()) {
      operands.put(spec.name(), operand(operation, spec, given.get(spec.name())));
    }
    return track(bind(operation, plan, operands), operands);
  }

  /**
   * Counts a prepared operation among those that the session handed out.
   *
   * @param operands the tensors that it works on, by the operation's name for them
   */
  protected final P track(P operation, Map<String, T> operands) {
    prepared.put(operation, Map.copyOf(operands));
    return operation;
  }

  private T operand(Operation operation, TensorSpec spec, @Nullable DeviceTensor given) {
    if (!tensorType.isInstance(given) || !tensors.contains(tensorType.cast(given))) {
      throw new IllegalArgumentException(
          operation.name() + " needs a tensor of this session for '" + spec.name() + "'");
    }
    T tensor = tensorType.cast(given);
    if (tensor.dtype() != spec.dtype() || tensor.shape().elements() != spec.shape().elements()) {
      throw new IllegalArgumentException(
          "%s wants %s %s %s, not %s %s"
              .formatted(
                  operation.name(),
                  spec.dtype().label(),
                  spec.name(),
                  spec.shape(),
                  tensor.dtype().label(),
                  tensor.shape()));
    }
    return tensor;
  }

  @Override
  public final Timing run(List<Prepared> operations) {
    requireOpen();
    List<P> known = new ArrayList<>();
    for (Prepared operation : operations) {
      Map<String, T> operands =
          preparedType.isInstance(operation) ? prepared.get(preparedType.cast(operation)) : null;
      if (operands == null) {
        throw new IllegalArgumentException("that operation is closed or of another session");
      }
      requireOpen(operation.operation(), operands);
      known.add(preparedType.cast(operation));
    }
    return launch(known);
  }

  @Override
  public final Transfers transfers() {
    return transfers;
  }

  @Override
  public final int liveResources() {
    return tensors.size() + prepared.size();
  }

  @Override
  public final void close() {
    if (open) {
      open = false;
      List<Runnable> steps = new ArrayList<>();
      prepared.keySet().forEach(operation -> steps.add(operation::close));
      tensors.forEach(tensor -> steps.add(tensor::close));
      steps.add(this::release);
      Closing.all(steps);
    }
  }

  /** Forgets an operation that is being closed; false when that has happened before. */
  final boolean forget(TrackedOperation operation) {
    return prepared.remove(operation) != null;
  }

  /** Forgets a tensor that is being closed. */
  final void forget(GuardedTensor tensor) {
    tensors.remove(tensor);
  }

  final void uploaded(long bytes, long ns) {
    transfers = transfers.uploaded(bytes, ns);
  }

  final void downloaded(long bytes, long ns) {
    transfers = transfers.downloaded(bytes, ns);
  }

  /** What is bound to a tensor would read and write its memory after that is another's. */
  private void requireOpen(Operation operation, Map<String, T> operands) {
    operands.forEach((name, tensor) -> {
      if (!tensors.contains(tensor)) {
        throw new IllegalStateException(
            "%s can't run: its tensor '%s' %s is closed"
                .formatted(operation.name(), name, tensor.shape()));
      }
    });
  }

  private void requireOpen() {
    if (!open) {
      throw new IllegalStateException("the session is closed");
    }
  }
}
