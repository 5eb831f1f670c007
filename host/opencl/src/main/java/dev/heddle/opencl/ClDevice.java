package dev.heddle.opencl;

import dev.heddle.core.Device;
import org.jocl.cl_device_id;
import org.jocl.cl_platform_id;

/**
 * A device with what OpenCL needs to address it.
 *
 * @param device what the rest of Heddle sees
 * @param platform OpenCL's platform
 * @param id OpenCL's device
 * @param platformName the platform's name
 * @param alignment bytes to whose multiples a sub-buffer must be aligned
 */
record ClDevice(
    Device device, cl_platform_id platform, cl_device_id id, String platformName, int alignment) {

  /**
   * Whether events carry the time that kernels took. Mesa's rusticl on llvmpipe stamps the moment in
   * which it accepted the kernel: start and end lie 1 ns apart whatever runs.
   */
  boolean hasClock() {
    return !(platformName.equals("rusticl") && device.kind() == Device.Kind.CPU);
  }
}
