package dev.heddle.core;

import java.util.List;

/** An operation that is compiled and bound to its tensors. {@link Session#run} runs it. */
public interface Prepared extends AutoCloseable {

  /** What it computes. */
  Operation operation();

  /** Which device, driver, kernel source and tunables produce its results. */
  Provenance provenance();

  /** Memory that it holds beyond its inputs and outputs, in bytes. */
  long scratchBytes();

  /**
   * The code that a compiler made of its kernels for the device, in the order of their launches;
   * none where the device was given the source that {@link #provenance} names.
   */
  default List<GeneratedCode> generatedCode() {
    return List.of();
  }

  @Override
  void close();
}
