package dev.heddle.core;

import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * How an operation is computed: the algorithm and the values of its tunables.
 *
 * @param algorithm a rung of the ladder: {@code naive}, {@code staged}, {@code flash}, ...
 * @param tunables values by the kernels' macro names, such as {@code BLOCK_M}; a tunable that is
 *     not named keeps its default
 */
public record Plan(String algorithm, SortedMap<String, Integer> tunables) {

  /** Freezes the tunables. */
  public Plan {
    tunables = java.util.Collections.unmodifiableSortedMap(new TreeMap<>(tunables));
  }

  /** A plan with every tunable at its default. */
  public static Plan of(String algorithm) {
    return new Plan(algorithm, new TreeMap<>());
  }

  /** A plan with some tunables set. */
  public static Plan of(String algorithm, Map<String, Integer> tunables) {
    return new Plan(algorithm, new TreeMap<>(tunables));
  }

  /** The kernel's name: {@code <operation>_<algorithm>}. */
  public String kernelName(Operation operation) {
    return operation.name() + "_" + algorithm;
  }
}
