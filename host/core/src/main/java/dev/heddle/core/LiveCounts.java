package dev.heddle.core;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Counts a driver's objects that were created and not yet released, by kind.
 *
 * @param <K> kinds of objects
 */
public abstract class LiveCounts<K extends Enum<K>> {
  private final Map<K, AtomicInteger> counts = new ConcurrentHashMap<>();

  /** Nothing created yet. */
  protected LiveCounts() {}

  /** One more. */
  public final void created(K kind) {
    counter(kind).incrementAndGet();
  }

  /** One less. */
  public final void released(K kind) {
    counter(kind).decrementAndGet();
  }

  /** Those of a kind. */
  public final int count(K kind) {
    return counter(kind).get();
  }

  /** All of them. */
  public final int total() {
    return counts.values().stream().mapToInt(AtomicInteger::get).sum();
  }

  private AtomicInteger counter(K kind) {
    return counts.computeIfAbsent(kind, k -> new AtomicInteger());
  }

  @Override
  public final String toString() {
    return counts.toString();
  }
}
