package dev.heddle.cuda;

import dev.heddle.core.Device;

/**
 * A device with what CUDA says of it.
 *
 * @param device what the rest of Heddle sees
 * @param ordinal CUDA's number of the device
 * @param architecture ten times the compute capability's major number plus its minor one: 80, 90,
 *     120
 * @param driverVersion newest CUDA version that the driver knows: 1000 x major + 10 x minor
 * @param multiprocessors number of streaming multiprocessors
 * @param sharedPerBlock shared memory that a block may take without asking, bytes
 * @param sharedPerBlockOptIn shared memory that a block may take after opting in, bytes
 * @param sharedPerMultiprocessor shared memory of a multiprocessor, bytes
 * @param registersPerMultiprocessor 32-bit registers of a multiprocessor
 */
record CudaDevice(
    Device device,
    int ordinal,
    int architecture,
    int driverVersion,
    int multiprocessors,
    int sharedPerBlock,
    int sharedPerBlockOptIn,
    int sharedPerMultiprocessor,
    int registersPerMultiprocessor) {

  /** Name of the limit that an old device sets. */
  static final String CAPABILITY = "computeCapability";

  /** The compute capability as NVIDIA writes it, such as {@code 8.0}. */
  String computeCapability() {
    return computeCapability(architecture);
  }

  /** An architecture's compute capability as NVIDIA writes it, such as {@code 8.0}. */
  static String computeCapability(int architecture) {
    return architecture / 10 + "." + architecture % 10;
  }

  /** A CUDA version as NVIDIA writes it, such as {@code 12.6}. */
  static String version(int cudaVersion) {
    return cudaVersion / 1000 + "." + cudaVersion % 1000 / 10;
  }
}
