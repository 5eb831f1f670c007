package dev.heddle.opencl;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/** Counts the OpenCL objects that were created and not yet released, by kind. */
final class LiveObjects {

  /** Kinds of OpenCL objects. */
  enum Kind {
    CONTEXT,
    QUEUE,
    PROGRAM,
    KERNEL,
    MEMORY,
    EVENT
  }

  private final Map<Kind, AtomicInteger> counts = new ConcurrentHashMap<>();

  void created(Kind kind) {
    counter(kind).incrementAndGet();
  }

  void released(Kind kind) {
    counter(kind).decrementAndGet();
  }

  int count(Kind kind) {
    return counter(kind).get();
  }

  int total() {
    return counts.values().stream().mapToInt(AtomicInteger::get).sum();
  }

  private AtomicInteger counter(Kind kind) {
    return counts.computeIfAbsent(kind, k -> new AtomicInteger());
  }

  @Override
  public String toString() {
    return counts.toString();
  }
}
