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
   * Whether events carry the time that kernels took. Mesa's rusticl on llvmpipe stamps the moment
   * in which it accepted the kernel: start and end lie 1 ns apart whatever runs.
   */
  boolean hasClock() {
    return !isLlvmpipe();
  }

  /**
   * Whether the processor-shaped kernels are meant for it: they do in the lanes of one work-item
   * what others do with a work-group. llvmpipe is a processor that pretends to be a GPU, lays
   * work-items across its lanes and does not finish compiling arrays of vectors that one work-item
   * owns. A simulator executes any shape, and is there to check them all.
   */
  boolean runsProcessorKernels() {
    return device.emulated() || (device.kind() == Device.Kind.CPU && !isLlvmpipe());
  }

  /**
   * Iterations of all loops together after which the device takes a work-item to be done with them:
   * gallivm, the compiler of llvmpipe, counts them in each kernel lest a shader never ends, and
   * then leaves every loop without a word (LP_MAX_TGSI_LOOP_ITERATIONS).
   */
  long loopIterations() {
    return isLlvmpipe() ? 65535 : Long.MAX_VALUE;
  }

  private boolean isLlvmpipe() {
    return platformName.equals("rusticl") && device.kind() == Device.Kind.CPU;
  }
}
