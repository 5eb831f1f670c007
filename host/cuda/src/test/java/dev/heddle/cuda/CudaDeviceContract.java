package dev.heddle.cuda;

import dev.heddle.core.Device;

/**
 * The contract on the devices of the driver that is there, whole wherever one is real. No test of
 * the build, which has to pass without a driver: {@code bench/gpu} runs it.
 */
class CudaDeviceContract extends CudaContract {
  @Override
  protected Extent extent() {
    return devices().stream().allMatch(Device::emulated) ? Extent.SMALL : Extent.FULL;
  }
}
