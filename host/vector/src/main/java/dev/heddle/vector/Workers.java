package dev.heddle.vector;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * A fixed crew of threads that share out numbered tasks; the thread that asks for the work takes
 * part in it. Used by one thread at a time.
 */
final class Workers implements AutoCloseable {

  /** Work that falls into numbered tasks. */
  @FunctionalInterface
  interface Task {
    /**
     * Does one task.
     *
     * @param worker who does it, from 0 to {@link Workers#count} - 1: selects per-worker scratch
     * @param index which task
     */
    void run(int worker, int index);
  }

  /** Work on a range of numbered items. */
  @FunctionalInterface
  interface RangeTask {
    /**
     * Does the items from {@code from} to before {@code to}.
     *
     * @param worker who does it, from 0 to {@link Workers#count} - 1
     */
    void run(int worker, int from, int to);
  }

  /** With what the threads' names begin. */
  static final String THREAD_NAME = "heddle-vector-";

  /**
   * How long an idle thread looks for work before it sleeps: longer than the gap between phases.
   */
  private static final long SPIN_NS = 50_000;

  /** As many flops as one core does in the 10 microseconds or so that it takes to wake another. */
  private static final double SERIAL_FLOPS = 2e6;

  private final List<Thread> threads = new ArrayList<>();
  private volatile @Nullable Job current;
  private volatile boolean closed;

  /** Starts {@code count - 1} daemon threads; the caller is the last worker. */
  Workers(int count) {
    for (int worker = 1; worker < count; worker++) {
      int id = worker;
      threads.add(Thread.ofPlatform().daemon().name(THREAD_NAME + id).start(() -> serve(id)));
    }
  }

  /** Number of workers, the caller included. */
  int count() {
    return threads.size() + 1;
  }

  /** This crew, or one of the caller alone where the work is not worth waking anyone. */
  Workers forFlops(double flops) {
    return flops < SERIAL_FLOPS ? new Workers(1) : this;
  }

  /**
   * Runs tasks {@code 0 .. tasks - 1} and returns when the last is done; lower ones start first.
   */
  void run(int tasks, Task task) {
    if (tasks == 1 || threads.isEmpty()) {
      for (int i = 0; i < tasks; i++) {
        task.run(0, i);
      }
      return;
    }
    Job job = new Job(tasks, task, Thread.currentThread());
    current = job;
    threads.forEach(LockSupport::unpark);
    job.work(0);
    job.await();
    current = null;
  }

  /**
   * Runs over items {@code 0 .. items - 1} in ranges of {@code perTask}, the last maybe shorter.
   */
  void runRanges(int items, int perTask, RangeTask task) {
    run(
        Math.ceilDiv(items, perTask),
        (worker, index) -> {
          int from = index * perTask;
          // from + perTask may not fit an int.
          task.run(worker, from, from + Math.min(perTask, items - from));
        });
  }

  /** Ends the threads and waits until they are gone. */
  @Override
  public void close() {
    closed = true;
    threads.forEach(LockSupport::unpark);
    boolean interrupted = false;
    for (Thread thread : threads) {
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void serve(int worker) {
    @Nullable Job last = null;
    long idleSince = System.nanoTime();
    while (!closed) {
      Job job = current;
      if (job != null && job != last) {
        job.work(worker);
        last = job;
        idleSince = System.nanoTime();
      } else if (System.nanoTime() - idleSince < SPIN_NS) {
        Thread.onSpinWait();
      } else {
        last = null;
        LockSupport.park(this);
        idleSince = System.nanoTime();
      }
    }
  }

  private static final class Job {
    private final int tasks;
    private final Task task;
    private final Thread caller;
    private final AtomicInteger next = new AtomicInteger();
    private final AtomicInteger pending;
    private final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();

    Job(int tasks, Task task, Thread caller) {
      this.tasks = tasks;
      this.task = task;
      this.caller = caller;
      this.pending = new AtomicInteger(tasks);
    }

    void work(int worker) {
      for (int index = next.getAndIncrement(); index < tasks; index = next.getAndIncrement()) {
        try {
          if (failure.get() == null) {
            task.run(worker, index);
          }
        } catch (RuntimeException | Error e) {
          failure.compareAndSet(null, e);
        } finally {
          if (pending.decrementAndGet() == 0) {
            LockSupport.unpark(caller);
          }
        }
      }
    }

    void await() {
      long start = System.nanoTime();
      while (pending.get() > 0) {
        if (System.nanoTime() - start < SPIN_NS) {
          Thread.onSpinWait();
        } else {
          LockSupport.park(this);
        }
      }
      switch (failure.get()) {
        case null -> {}
        case Error error -> throw error;
        case RuntimeException exception -> throw exception;
        case Throwable other -> throw new IllegalStateException(other);
      }
    }
  }
}
