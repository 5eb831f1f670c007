package dev.heddle.opencl;

import static org.jocl.CL.CL_DEVICE_GLOBAL_MEM_SIZE;
import static org.jocl.CL.CL_DEVICE_LOCAL_MEM_SIZE;
import static org.jocl.CL.CL_DEVICE_MAX_COMPUTE_UNITS;
import static org.jocl.CL.CL_DEVICE_MAX_MEM_ALLOC_SIZE;
import static org.jocl.CL.CL_DEVICE_MAX_WORK_GROUP_SIZE;
import static org.jocl.CL.CL_DEVICE_MEM_BASE_ADDR_ALIGN;
import static org.jocl.CL.CL_DEVICE_NAME;
import static org.jocl.CL.CL_DEVICE_TYPE;
import static org.jocl.CL.CL_DEVICE_TYPE_CPU;
import static org.jocl.CL.CL_DEVICE_TYPE_GPU;
import static org.jocl.CL.CL_DEVICE_VERSION;
import static org.jocl.CL.CL_DRIVER_VERSION;
import static org.jocl.CL.CL_PLATFORM_NAME;

import dev.heddle.core.Device;
import dev.heddle.core.Probe;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.util.ArrayList;
import java.util.List;
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
  /** Part of what JOCL says when its own library was loaded and found no OpenCL loader. */
  private static final String NO_LOADER = "Implementation library could not be loaded";

  private static final String INSTALL =
      "run ci/setup, or install your device's OpenCL driver; for a processor: pocl-opencl-icd";

  /** Looks for platforms and devices; never throws, whatever is missing or broken. */
  static Discovery run(String backend) {
    // JOCL unpacks its native library into the shared temporary folder. Under a name of its own per
    // process, two users of one machine can't be given each other's file.
    if (System.getProperty("uniqueLibraryNames") == null) {
      System.setProperty("uniqueLibraryNames", "true");
    }
    return loaderIsMissing() ? noLoader() : run(backend, Inventory.ofThisMachine());
  }

  /**
   * Whether this is a Linux without the loader under either of its names. JOCL would find that out
   * too, but its native code then complains on standard error.
   */
  private static boolean loaderIsMissing() {
    if (!System.getProperty("os.name", "").startsWith("Linux")) {
      return false;
    }
    for (String name : List.of("libOpenCL.so.1", "libOpenCL.so")) {
      try (Arena arena = Arena.ofConfined()) {
        SymbolLookup.libraryLookup(name, arena);
        return false;
      } catch (IllegalArgumentException e) {
        // Not under this name.
      }
    }
    return true;
  }

  private static Discovery noLoader() {
    return unavailable(
        "no OpenCL loader (libOpenCL.so.1) found",
        "install it (Debian: ocl-icd-libopencl1) and a driver: " + INSTALL);
  }

  /** Looks through an inventory; never throws. */
  static Discovery run(String backend, Inventory inventory) {
    try {
      return search(backend, inventory);
    } catch (Throwable e) {
      // Errors too: native libraries that are missing or broken come as several kinds of them, and
      // none may keep the other backends from being used.
      return unavailable(e);
    }
  }

  private static Discovery search(String backend, Inventory inventory) {
    List<cl_platform_id> platforms = inventory.platforms();
    if (platforms.isEmpty()) {
      return unavailable("the OpenCL loader finds no driver (no platform)", INSTALL);
    }
    List<String> notes = new ArrayList<>();
    List<ClDevice> devices = new ArrayList<>();
    for (int p = 0; p < platforms.size(); p++) {
      cl_platform_id platform = platforms.get(p);
      String name = Integer.toString(p);
      try {
        name = inventory.text(platform, CL_PLATFORM_NAME);
        List<cl_device_id> ids = inventory.devices(platform);
        if (ids.isEmpty()) {
          // This is normal: a driver that is installed for absent hardware.
          notes.add("platform " + name + " has no device");
        }
        for (int d = 0; d < ids.size(); d++) {
          try {
            devices.add(describe(inventory, backend, devices.size(), platform, name, ids.get(d)));
          } catch (RuntimeException e) {
            notes.add("device " + d + " of platform " + name + " was left out: " + essence(e));
          }
        }
      } catch (RuntimeException e) {
        notes.add("platform " + name + " was left out: " + essence(e));
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
      Inventory inventory,
      String backend,
      int index,
      cl_platform_id platform,
      String platformName,
      cl_device_id id) {
    long type = inventory.number(id, CL_DEVICE_TYPE, Sizeof.cl_ulong);
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
            inventory.number(id, CL_DEVICE_GLOBAL_MEM_SIZE, Sizeof.cl_ulong),
            inventory.number(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, Sizeof.cl_ulong),
            inventory.number(id, CL_DEVICE_LOCAL_MEM_SIZE, Sizeof.cl_ulong),
            clamp(inventory.number(id, CL_DEVICE_MAX_WORK_GROUP_SIZE, Sizeof.size_t)),
            clamp(inventory.number(id, CL_DEVICE_MAX_COMPUTE_UNITS, Sizeof.cl_uint)));
    Device device =
        new Device(
            backend,
            index,
            inventory.text(id, CL_DEVICE_NAME),
            platformName
                + " "
                + inventory.text(id, CL_DRIVER_VERSION)
                + ", "
                + inventory.text(id, CL_DEVICE_VERSION),
            kind,
            emulated,
            limits);
    int alignmentBits = clamp(inventory.number(id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, Sizeof.cl_uint));
    return new ClDevice(device, platform, id, platformName, Math.max(1, alignmentBits / 8));
  }

  /** A limit as an int: some drivers answer "no limit" with the type's largest number. */
  private static int clamp(long value) {
    return (int) Math.min(value, Integer.MAX_VALUE);
  }

  private static Discovery unavailable(Throwable thrown) {
    // The first use of JOCL after a failed one throws NoClassDefFoundError; what failed is its
    // cause.
    Throwable root = thrown;
    while (root.getCause() != null) {
      root = root.getCause();
    }
    String reason = essence(root);
    if (reason.contains(NO_LOADER)) {
      return noLoader();
    }
    if (thrown instanceof LinkageError) {
      return unavailable(
          "JOCL, the OpenCL binding, can't load its native library: " + reason,
          "set java.io.tmpdir to a writable folder that is not mounted noexec; JOCL has a library"
              + " for x86_64 and arm64 only");
    }
    return unavailable("looking for OpenCL devices failed: " + reason, INSTALL);
  }

  /**
   * What a throwable says, in one line. JOCL puts the stack traces of both ways in which it tried
   * to load its library into one message; the last exception in it is the one of the file it
   * brought.
   */
  private static String essence(Throwable thrown) {
    String message = thrown.getMessage();
    if (message == null || message.isBlank()) {
      return thrown.getClass().getSimpleName();
    }
    return message
        .lines()
        .filter(line -> line.startsWith("java."))
        .reduce((first, second) -> second)
        .orElseGet(() -> message.lines().findFirst().orElse(message));
  }

  private static Discovery unavailable(String reason, String remedy) {
    return new Discovery(List.of(), new Probe.Unavailable(reason, remedy));
  }
}
