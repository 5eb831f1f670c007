package dev.heddle.cuda;

import dev.heddle.core.DeviceException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import jcuda.driver.CUdevice;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/**
 * What the CUDA driver answers when it is asked which devices there are. Every question but {@link
 * #initialise} throws {@link DeviceException} when the driver refuses to answer it.
 */
interface Inventory {

  /** Starts the driver; the code of {@code cuInit}. Nothing else but the version works before. */
  int initialise();

  /** A code's name and number. */
  String name(int code);

  /** Newest CUDA version that the driver knows: 1000 x major + 10 x minor. */
  int driverVersion();

  /** The driver's own version, such as {@code 550.54.15}; empty where the system does not tell. */
  Optional<String> driverRelease();

  /** Number of devices. */
  int devices();

  /** What the driver calls a device. */
  String deviceName(int ordinal);

  /** A device's memory, bytes. */
  long totalMemory(int ordinal);

  /** One of a device's attributes, by CUDA's number. */
  int attribute(int ordinal, int attribute);

  /** The inventory of this machine; {@link CudaLibrary#load} has been called. */
  static Inventory ofThisMachine() {
    return new Driver();
  }

  /** Asks the driver through JCuda. */
  final class Driver implements Inventory {
    private static final int NAME_BYTES = 256;

    /** Where Linux shows the version of the kernel's half of the driver. */
    private static final Path RELEASE = Path.of("/sys/module/nvidia/version");

    private Driver() {}

    @Override
    public int initialise() {
      return JCudaDriver.cuInit(0);
    }

    @Override
    public String name(int code) {
      return CudaDriver.name(code);
    }

    @Override
    public int driverVersion() {
      int[] version = new int[1];
      check("cuDriverGetVersion", JCudaDriver.cuDriverGetVersion(version));
      return version[0];
    }

    @Override
    public Optional<String> driverRelease() {
      try {
        return Optional.of(Files.readString(RELEASE).strip());
      } catch (IOException e) {
        return Optional.empty();
      }
    }

    @Override
    public int devices() {
      int[] count = new int[1];
      check("cuDeviceGetCount", JCudaDriver.cuDeviceGetCount(count));
      return count[0];
    }

    @Override
    public String deviceName(int ordinal) {
      byte[] name = new byte[NAME_BYTES];
      check("cuDeviceGetName", JCudaDriver.cuDeviceGetName(name, name.length, device(ordinal)));
      return CudaDriver.text(name);
    }

    @Override
    public long totalMemory(int ordinal) {
      long[] bytes = new long[1];
      check("cuDeviceTotalMem", JCudaDriver.cuDeviceTotalMem(bytes, device(ordinal)));
      return bytes[0];
    }

    @Override
    public int attribute(int ordinal, int attribute) {
      int[] value = new int[1];
      check(
          "cuDeviceGetAttribute(" + attribute + ")",
          JCudaDriver.cuDeviceGetAttribute(value, attribute, device(ordinal)));
      return value[0];
    }

    private CUdevice device(int ordinal) {
      CUdevice device = new CUdevice();
      check("cuDeviceGet", JCudaDriver.cuDeviceGet(device, ordinal));
      return device;
    }

    private void check(String call, int code) {
      if (code != CUresult.CUDA_SUCCESS) {
        throw new DeviceException("this machine", call, name(code));
      }
    }
  }
}
