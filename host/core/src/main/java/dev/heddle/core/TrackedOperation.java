package dev.heddle.core;

/** A prepared operation of a {@link TrackedSession}. */
public abstract class TrackedOperation implements Prepared {
  private final TrackedSession<?, ?> session;
  private final Operation operation;
  private final Provenance provenance;

  /** An operation of that session. */
  protected TrackedOperation(
      TrackedSession<?, ?> session, Operation operation, Provenance provenance) {
    this.session = session;
    this.operation = operation;
    this.provenance = provenance;
  }

  /** Releases what it holds, once. */
  protected abstract void release();

  @Override
  public final Operation operation() {
    return operation;
  }

  @Override
  public final Provenance provenance() {
    return provenance;
  }

  @Override
  public final void close() {
    if (session.forget(this)) {
      release();
    }
  }
}
