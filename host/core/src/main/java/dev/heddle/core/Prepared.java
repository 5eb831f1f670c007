package dev.heddle.core;

/** An operation that is compiled and bound to its tensors. {@link Session#run} runs it. */
public interface Prepared extends AutoCloseable {

  /** What it computes. */
  Operation operation();

  /** Which device, driver, kernel source and tunables produce its results. */
  Provenance provenance();

  /** Memory that it holds beyond its inputs and outputs, in bytes. */
  long scratchBytes();

  @Override
  void close();
}
