package dev.heddle.core;

import java.util.List;

/**
 * Where a result comes from.
 *
 * @param device the device that computed it
 * @param plan algorithm and tunables
 * @param sources the kernel files or classes that ran, in order
 * @param sourceHash SHA-256 in hexadecimal of the source text the device was given, or of the
 *     compiled class for a JVM backend
 */
public record Provenance(Device device, Plan plan, List<String> sources, String sourceHash) {

  /** Freezes the list. */
  public Provenance {
    sources = List.copyOf(sources);
  }
}
