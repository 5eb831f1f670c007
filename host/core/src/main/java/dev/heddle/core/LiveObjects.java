package dev.heddle.core;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Counts the objects of a native library that were created and not yet released, by kind: what
 * tests hold a backend to that says it frees everything.
 *
 * @param <K> kinds of objects
 */
public final class LiveObjects<K extends Enum<K>> {
  private final Map<K, AtomicInteger> counts = new ConcurrentHashMap<>();

  /** One more. */
  public void created(K kind) {
    counter(kind).incrementAndGet();
  }

  /** One less. */
  public void released(K kind) {
    counter(kind).decrementAndGet();
  }

  /** How many there are of a kind. */
  public int count(K kind) {
    return counter(kind).get();
  }

  /** How many there are. */
  public int total() {
    return counts.values().stream().mapToInt(AtomicInteger::get).sum();
  }

  private AtomicInteger counter(K kind) {
    return counts.computeIfAbsent(kind, k -> new AtomicInteger());
  }

  @Override
  public String toString() {
    return counts.toString();
  }
}
