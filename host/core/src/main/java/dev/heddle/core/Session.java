package dev.heddle.core;

import java.util.List;
import java.util.Map;

/**
 * An opened device: holds its tensors and prepared operations. Used by one thread at a time.
 * Closing it closes all that it handed out.
 */
public interface Session extends AutoCloseable {

  /** The device. */
  Device device();

  /**
   * Reserves memory on the device, with guard bands around it.
   *
   * @throws UnsupportedProblemException when the device can't hold it
   * @throws DeviceException when the driver fails
   */
  DeviceTensor allocate(Shape shape, DType dtype);

  /**
   * Compiles what the operation needs and binds its tensors.
   *
   * @param tensors a tensor of this session for each of the operation's inputs and outputs, by name
   * @throws UnsupportedProblemException for what {@link Backend#refusal} declares, and where memory
   *     that the device has is taken; nothing else
   * @throws KernelBuildException when a kernel does not compile
   * @throws DeviceException when the driver fails
   */
  Prepared prepare(Operation operation, Plan plan, Map<String, DeviceTensor> tensors);

  /**
   * Runs prepared operations one after another on the device and waits for the last.
   *
   * @throws IllegalStateException when a tensor that one of them works on is closed
   * @throws UnsupportedProblemException where running takes memory that the device has no more
   * @throws DeviceException when the driver fails
   */
  Timing run(List<Prepared> operations);

  /** What was copied between host and device since the session was opened. */
  Transfers transfers();

  /** Tensors and prepared operations that were handed out and not closed yet. */
  int liveResources();

  @Override
  void close();
}
