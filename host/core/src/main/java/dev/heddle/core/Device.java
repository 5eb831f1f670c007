package dev.heddle.core;

/**
 * One device as a backend sees it.
 *
 * @param backend the backend's id
 * @param index position among the backend's devices, from 0
 * @param name what the driver calls the device
 * @param driver driver and version, or the runtime that plays its part
 * @param kind what sort of hardware computes
 * @param emulated whether the device is an emulator's, so that its times say nothing
 * @param limits what it can hold
 */
public record Device(
    String backend,
    int index,
    String name,
    String driver,
    Kind kind,
    boolean emulated,
    Limits limits) {

  /** What sort of hardware computes. */
  public enum Kind {
    /** The host's own processor cores. */
    CPU,
    /** A graphics processor. */
    GPU,
    /** Anything else. */
    ACCELERATOR
  }

  /**
   * What a device can hold.
   *
   * @param memoryBytes memory for all buffers together, bytes
   * @param allocationBytes largest single buffer, bytes
   * @param localMemoryBytes memory shared by a work-group, bytes; 0 where there is none
   * @param workGroupSize most work-items in a work-group; 1 where there are none
   * @param computeUnits cores or multiprocessors
   */
  public record Limits(
      long memoryBytes,
      long allocationBytes,
      long localMemoryBytes,
      int workGroupSize,
      int computeUnits) {}

  /** {@code backend:index}, as users select it. */
  public String id() {
    return backend + ":" + index;
  }

  /** The name together with what a reader must know of it: {@code [CPU]}, {@code [emulated]}. */
  public String displayName() {
    if (emulated) {
      return name + " [emulated]";
    }
    return kind == Kind.CPU ? name + " [CPU]" : name;
  }
}
