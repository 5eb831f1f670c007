package dev.heddle.cuda;

import static jcuda.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
import static jcuda.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR;
import static jcuda.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR;
import static jcuda.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK;
import static jcuda.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
import static jcuda.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR;
import static jcuda.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
import static jcuda.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;

import dev.heddle.core.Device;
import dev.heddle.core.DeviceException;
import dev.heddle.core.Probe;
import java.util.ArrayList;
import java.util.List;
import jcuda.driver.CUresult;

/**
 * What CUDA offers on this machine.
 *
 * @param devices the devices, by index
 * @param probe the same for the rest of Heddle, or why there is none
 */
record Discovery(List<CudaDevice> devices, Probe probe) {
  /** PTX 7.0, which Heddle ships, came with CUDA 11.0; so did the newest function used here. */
  private static final int OLDEST_DRIVER = 11000;

  private static final String OLDEST_DRIVER_NAME = "450.36 (Linux) or 451.22 (Windows)";

  /** The emulator's device, whose times say nothing. */
  private static final String EMULATOR = "PTX emulator (CPU)";

  private static final String CHECK = "check the driver with nvidia-smi";

  /** {@code CUDA_ERROR_STUB_LIBRARY}, a code that JCuda has no name for. */
  private static final int STUB_LIBRARY = 34;

  /** Looks for devices; never throws, whatever is missing or broken. */
  static Discovery run(String backend) {
    try {
      CudaLibrary.load();
      return run(backend, Inventory.ofThisMachine());
    } catch (CudaLibrary.Missing e) {
      return unavailable(e.reason(), e.remedy());
    } catch (Throwable e) {
      // Errors too: native libraries that are broken come as several kinds of them, and none may
      // keep the other backends from being used.
      return unavailable("looking for CUDA devices failed: " + e, CHECK);
    }
  }

  /** Looks through an inventory. */
  static Discovery run(String backend, Inventory inventory) {
    try {
      int driver = inventory.driverVersion();
      if (driver < OLDEST_DRIVER) {
        return unavailable(
            "the NVIDIA driver is too old: it is for CUDA "
                + CudaDevice.version(driver)
                + ", and Heddle needs CUDA "
                + CudaDevice.version(OLDEST_DRIVER)
                + " (PTX 7.0)",
            "update the NVIDIA driver to " + OLDEST_DRIVER_NAME + " or newer");
      }
      int code = inventory.initialise();
      return code == CUresult.CUDA_SUCCESS
          ? search(backend, inventory, driver)
          : notStarted(code, inventory.name(code));
    } catch (DeviceException e) {
      return unavailable("the NVIDIA driver is broken: " + e.getMessage(), CHECK);
    }
  }

  private static Discovery search(String backend, Inventory inventory, int driver) {
    List<CudaDevice> devices = new ArrayList<>();
    List<String> notes = new ArrayList<>();
    int count = inventory.devices();
    for (int ordinal = 0; ordinal < count; ordinal++) {
      try {
        devices.add(describe(inventory, backend, devices.size(), ordinal, driver));
      } catch (DeviceException e) {
        notes.add("device " + ordinal + " was left out: " + e.getMessage());
      }
    }
    if (!devices.isEmpty()) {
      return of(devices, notes);
    }
    return notes.isEmpty() ? noDevice() : unavailable(String.join("; ", notes), CHECK);
  }

  /** Devices that need not be looked for. */
  static Discovery of(List<CudaDevice> devices) {
    return of(devices, List.of());
  }

  private static Discovery of(List<CudaDevice> devices, List<String> notes) {
    List<Device> visible = devices.stream().map(CudaDevice::device).toList();
    return new Discovery(List.copyOf(devices), new Probe.Available(visible, notes));
  }

  private static CudaDevice describe(
      Inventory inventory, String backend, int index, int ordinal, int driver) {
    String name = inventory.deviceName(ordinal);
    boolean emulated = name.equals(EMULATOR);
    int architecture =
        10 * inventory.attribute(ordinal, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
            + inventory.attribute(ordinal, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    int multiprocessors = inventory.attribute(ordinal, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    int sharedOptIn =
        inventory.attribute(ordinal, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
    long memory = inventory.totalMemory(ordinal);
    Device device =
        new Device(
            backend,
            index,
            name,
            "%s%s, compute capability %s"
                .formatted(
                    emulated ? "emulated CUDA " : driverName(inventory),
                    CudaDevice.version(driver),
                    CudaDevice.computeCapability(architecture)),
            emulated ? Device.Kind.CPU : Device.Kind.GPU,
            emulated,
            new Device.Limits(
                memory,
                memory,
                sharedOptIn,
                inventory.attribute(ordinal, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
                multiprocessors));
    return new CudaDevice(
        device,
        ordinal,
        architecture,
        driver,
        multiprocessors,
        inventory.attribute(ordinal, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK),
        sharedOptIn,
        inventory.attribute(ordinal, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR),
        inventory.attribute(ordinal, CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR));
  }

  private static String driverName(Inventory inventory) {
    return inventory
        .driverRelease()
        .map(release -> "NVIDIA driver " + release + ", CUDA ")
        .orElse("NVIDIA driver of CUDA ");
  }

  /** What it means that {@code cuInit} failed. */
  private static Discovery notStarted(int code, String name) {
    return switch (code) {
      case CUresult.CUDA_ERROR_NO_DEVICE -> noDevice();
      case CUresult.CUDA_ERROR_SYSTEM_DRIVER_MISMATCH ->
          unavailable(
              "the NVIDIA driver's library and its kernel module are of different versions: cuInit"
                  + " failed: "
                  + name,
              "restart the machine after a driver update, or reload the nvidia kernel modules");
      case CUresult.CUDA_ERROR_SYSTEM_NOT_READY ->
          unavailable(
              "the NVIDIA driver is not ready: cuInit failed: " + name,
              "start nvidia-fabricmanager where the machine has NVSwitch, or wait for the driver");
      case STUB_LIBRARY ->
          unavailable(
              "libcuda.so.1 is a toolkit's stub and no driver: cuInit failed: " + name,
              "take the toolkit's stubs folder out of LD_LIBRARY_PATH");
      default ->
          unavailable(
              "the NVIDIA driver does not start: cuInit failed: " + name,
              CHECK + "; restarting the machine or reloading the nvidia_uvm module often helps");
    };
  }

  private static Discovery noDevice() {
    return unavailable(
        "the NVIDIA driver finds no device",
        CHECK + "; CUDA_VISIBLE_DEVICES must not hide the devices");
  }

  private static Discovery unavailable(String reason, String remedy) {
    return new Discovery(List.of(), new Probe.Unavailable(reason, remedy));
  }
}
