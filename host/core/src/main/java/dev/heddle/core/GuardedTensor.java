package dev.heddle.core;

import java.util.ArrayList;
import java.util.List;

/**
 * A tensor of a {@link TrackedSession}: the middle of an allocation whose ends hold a pattern.
 *
 * <pre>{@code
 * | guard band | payload, what kernels are given | guard band |
 * }</pre>
 */
public abstract class GuardedTensor implements DeviceTensor {
  private final TrackedSession<?, ?> session;
  private final Shape shape;
  private final DType dtype;
  private final List<GuardedTensor> scratch = new ArrayList<>();
  private boolean open = true;

  /** A tensor of that session; a subclass allocates and writes the guard bands. */
  protected GuardedTensor(TrackedSession<?, ?> session, TensorSpec spec) {
    this.session = session;
    this.shape = spec.shape();
    this.dtype = spec.dtype();
  }

  /** Copies all elements from the host and waits until they are there. */
  protected abstract void upload(HostTensor source);

  /** Copies all elements to the host and waits until they are there. */
  protected abstract void download(HostTensor target);

  /** Overwrites the payload with NaN. */
  protected abstract void fillWithNan();

  /** Whether the bands around this tensor still hold their pattern. */
  protected abstract boolean bandsIntact();

  /** Frees the memory, once. */
  protected abstract void free();

  @Override
  public final Shape shape() {
    return shape;
  }

  @Override
  public final DType dtype() {
    return dtype;
  }

  /** Size of the payload, bytes. */
  public final long payloadBytes() {
    return new TensorSpec("a tensor", shape, dtype).bytes();
  }

  @Override
  public final void write(HostTensor source) {
    requireOpen();
    if (source.dtype() != dtype || source.size() != shape.elements()) {
      throw new IllegalArgumentException(
          "can't write %s %s to %s %s"
              .formatted(source.dtype().label(), source.shape(), dtype.label(), shape));
    }
    long start = System.nanoTime();
    upload(source);
    session.uploaded(payloadBytes(), System.nanoTime() - start);
  }

  @Override
  public final HostTensor read() {
    requireOpen();
    HostTensor target = HostTensor.zeros(shape, dtype);
    long start = System.nanoTime();
    download(target);
    session.downloaded(payloadBytes(), System.nanoTime() - start);
    return target;
  }

  @Override
  public final void poison() {
    requireOpen();
    fillWithNan();
  }

  /** The bands of this tensor and of the scratch tensors that lead to it. */
  @Override
  public final boolean guardsIntact() {
    requireOpen();
    return bandsIntact() && scratch.stream().allMatch(GuardedTensor::guardsIntact);
  }

  /** Answers for a scratch tensor's guard bands too, until {@link #unwatch}. */
  public final void watch(GuardedTensor other) {
    scratch.add(other);
  }

  /** No longer answers for a scratch tensor. */
  public final void unwatch(GuardedTensor other) {
    scratch.remove(other);
  }

  @Override
  public final void close() {
    if (open) {
      open = false;
      session.forget(this);
      free();
    }
  }

  /** Refuses what is asked of a closed tensor. */
  protected final void requireOpen() {
    if (!open) {
      throw new IllegalStateException("the tensor is closed");
    }
  }
}
