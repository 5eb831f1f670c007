package dev.heddle.opencl;

import static org.jocl.CL.CL_DEVICE_GLOBAL_MEM_SIZE;
import static org.jocl.CL.CL_DEVICE_LOCAL_MEM_SIZE;
import static org.jocl.CL.CL_DEVICE_MAX_COMPUTE_UNITS;
import static org.jocl.CL.CL_DEVICE_MAX_MEM_ALLOC_SIZE;
import static org.jocl.CL.CL_DEVICE_MAX_WORK_GROUP_SIZE;
import static org.jocl.CL.CL_DEVICE_MEM_BASE_ADDR_ALIGN;
import static org.jocl.CL.CL_DEVICE_NAME;
import static org.jocl.CL.CL_DEVICE_NOT_FOUND;
import static org.jocl.CL.CL_DEVICE_TYPE;
import static org.jocl.CL.CL_DEVICE_TYPE_CPU;
import static org.jocl.CL.CL_DEVICE_TYPE_GPU;
import static org.jocl.CL.CL_DEVICE_VERSION;
import static org.jocl.CL.CL_DRIVER_VERSION;
import static org.jocl.CL.CL_PLATFORM_NAME;
import static org.jocl.CL.CL_SUCCESS;

import dev.heddle.core.Device;
import dev.heddle.core.DeviceException;
import dev.heddle.core.Probe;
import java.util.ArrayList;
import java.util.List;
import org.jocl.CL;
import org.jocl.Pointer;
import org.jocl.Sizeof;
import org.jocl.cl_device_id;
import org.jocl.cl_platform_id;

/**
 * What OpenCL offers on this machine.
 *
 * @param devices the devices, by index
 * @param probe the same for the rest of Heddle, or why there is none
 */
record Discovery(List<ClDevice> devices, Probe probe) {
  /** JOCL's constant of this name is sign-extended to 64 ones, which rusticl refuses. */
  private static final long ALL_DEVICE_TYPES = 0xFFFFFFFFL;

  /** What the ICD loader answers when no vendor is registered. */
  private static final int PLATFORM_NOT_FOUND = -1001;

  private static final String INSTALL =
      "run ci/setup, or install your device's OpenCL driver; for a processor: pocl-opencl-icd";

  /** Looks for platforms and devices; never throws, whatever is missing or broken. */
  static Discovery run(String backend) {
    // JOCL unpacks its native library into the shared temporary folder. Under a name of its own per
    // process, two users of one machine can't be given each other's file.
    if (System.getProperty("uniqueLibraryNames") == null) {
      System.setProperty("uniqueLibraryNames", "true");
    }
    try {
      return search(backend);
    } catch (UnsatisfiedLinkError | NoClassDefFoundError | ExceptionInInitializerError e) {
      return unavailable(
          "no OpenCL loader (libOpenCL.so.1) found",
          "install it (Debian: ocl-icd-libopencl1) and a driver: " + INSTALL);
    } catch (DeviceException e) {
      return unavailable(e.getMessage() + "", INSTALL);
    }
  }

  private static Discovery search(String backend) {
    List<String> notes = new ArrayList<>();
    List<ClDevice> devices = new ArrayList<>();
    int[] count = new int[1];
    int code = CL.clGetPlatformIDs(0, null, count);
    if (code == PLATFORM_NOT_FOUND || (code == CL_SUCCESS && count[0] == 0)) {
      return unavailable("the OpenCL loader finds no driver (no platform)", INSTALL);
    }
    check("clGetPlatformIDs", code);
    cl_platform_id[] platforms = new cl_platform_id[count[0]];
    check("clGetPlatformIDs", CL.clGetPlatformIDs(platforms.length, platforms, null));
    for (cl_platform_id platform : platforms) {
      String name = platformText(platform, CL_PLATFORM_NAME);
      code = CL.clGetDeviceIDs(platform, ALL_DEVICE_TYPES, 0, null, count);
      if (code != CL_SUCCESS) {
        // A platform without a device is normal: a driver that is installed for absent hardware.
        notes.add(
            code == CL_DEVICE_NOT_FOUND
                ? "platform " + name + " has no device"
                : "platform " + name + " was left out: " + CL.stringFor_errorCode(code));
        continue;
      }
      cl_device_id[] ids = new cl_device_id[count[0]];
      check("clGetDeviceIDs", CL.clGetDeviceIDs(platform, ALL_DEVICE_TYPES, ids.length, ids, null));
      for (cl_device_id id : ids) {
        devices.add(describe(backend, devices.size(), platform, name, id));
      }
    }
    if (devices.isEmpty()) {
      return unavailable(
          "OpenCL is installed but has no device (" + String.join("; ", notes) + ")", INSTALL);
    }
    List<Device> visible = devices.stream().map(ClDevice::device).toList();
    return new Discovery(List.copyOf(devices), new Probe.Available(visible, notes));
  }

  private static ClDevice describe(
      String backend, int index, cl_platform_id platform, String platformName, cl_device_id id) {
    long type = number(id, CL_DEVICE_TYPE, Sizeof.cl_ulong);
    boolean emulated = platformName.equals("Oclgrind");
    Device.Kind kind;
    if ((type & CL_DEVICE_TYPE_GPU) != 0) {
      kind = Device.Kind.GPU;
    } else if ((type & CL_DEVICE_TYPE_CPU) != 0) {
      kind = Device.Kind.CPU;
    } else {
      kind = Device.Kind.ACCELERATOR;
    }
    Device.Limits limits =
        new Device.Limits(
            number(id, CL_DEVICE_GLOBAL_MEM_SIZE, Sizeof.cl_ulong),
            number(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, Sizeof.cl_ulong),
            number(id, CL_DEVICE_LOCAL_MEM_SIZE, Sizeof.cl_ulong),
            Math.toIntExact(number(id, CL_DEVICE_MAX_WORK_GROUP_SIZE, Sizeof.size_t)),
            Math.toIntExact(number(id, CL_DEVICE_MAX_COMPUTE_UNITS, Sizeof.cl_uint)));
    Device device =
        new Device(
            backend,
            index,
            deviceText(id, CL_DEVICE_NAME),
            platformName
                + " "
                + deviceText(id, CL_DRIVER_VERSION)
                + ", "
                + deviceText(id, CL_DEVICE_VERSION),
            kind,
            emulated,
            limits);
    int alignmentBits = Math.toIntExact(number(id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, Sizeof.cl_uint));
    return new ClDevice(device, platform, id, platformName, Math.max(1, alignmentBits / 8));
  }

  private static long number(cl_device_id id, int what, int bytes) {
    if (bytes == Sizeof.cl_uint) {
      int[] value = new int[1];
      check("clGetDeviceInfo", CL.clGetDeviceInfo(id, what, bytes, Pointer.to(value), null));
      return value[0] & 0xFFFFFFFFL;
    }
    long[] value = new long[1];
    check("clGetDeviceInfo", CL.clGetDeviceInfo(id, what, bytes, Pointer.to(value), null));
    return value[0];
  }

  private static String deviceText(cl_device_id id, int what) {
    long[] size = new long[1];
    check("clGetDeviceInfo", CL.clGetDeviceInfo(id, what, 0, null, size));
    byte[] bytes = new byte[(int) size[0]];
    check("clGetDeviceInfo", CL.clGetDeviceInfo(id, what, size[0], Pointer.to(bytes), null));
    return Driver.text(bytes).strip();
  }

  private static String platformText(cl_platform_id platform, int what) {
    long[] size = new long[1];
    check("clGetPlatformInfo", CL.clGetPlatformInfo(platform, what, 0, null, size));
    byte[] bytes = new byte[(int) size[0]];
    check(
        "clGetPlatformInfo",
        CL.clGetPlatformInfo(platform, what, size[0], Pointer.to(bytes), null));
    return Driver.text(bytes).strip();
  }

  private static void check(String call, int code) {
    if (code != CL_SUCCESS) {
      throw new DeviceException("this machine", call, CL.stringFor_errorCode(code));
    }
  }

  private static Discovery unavailable(String reason, String remedy) {
    return new Discovery(List.of(), new Probe.Unavailable(reason, remedy));
  }
}
