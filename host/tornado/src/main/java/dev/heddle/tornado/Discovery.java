package dev.heddle.tornado;

import dev.heddle.core.Device;
import dev.heddle.core.Probe;
import dev.heddle.core.kernel.KernelBackend.Found;
import java.lang.module.ModuleDescriptor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import uk.ac.manchester.tornado.api.TornadoBackend;
import uk.ac.manchester.tornado.api.TornadoRuntime;
import uk.ac.manchester.tornado.api.common.TornadoDevice;
import uk.ac.manchester.tornado.api.runtime.TornadoRuntimeProvider;
import uk.ac.manchester.tornado.runtime.common.TornadoOptions;
import uk.ac.manchester.tornado.runtime.common.TornadoXPUDevice;

/** Looks for the devices of every backend that TornadoVM was built with. */
final class Discovery {
  private static final String REMEDY =
      "set TORNADOVM_HOME to a TornadoVM for JDK 25 (sdk install tornadovm) and start Heddle by"
          + " ./heddle, which gives the JVM the options that TornadoVM needs";

  /** Room for the arguments of prepared kernels. */
  private static final long ARGUMENTS_BYTES = 1 << 16;

  private Discovery() {}

  /** Never throws: what is missing shows as errors of many kinds, and none is another backend's. */
  static Found<TornadoTarget> run(String backend) {
    try {
      return search(backend, NativeOutput.silenced(TornadoRuntimeProvider::getTornadoRuntime));
    } catch (Throwable e) {
      return unavailable(reason(e), REMEDY);
    }
  }

  private static Found<TornadoTarget> search(String id, TornadoRuntime runtime) {
    if (TornadoOptions.RECOVER_BAILOUT
        || !TornadoOptions.isProfilerEnabled()
        || TornadoOptions.DEFAULT_OPENCL_COMPILER_FLAGS.contains("fast-relaxed-math")) {
      return unavailable(
          "TornadoVM runs without the options in host/tornado/tornado.args: a kernel that does not"
              + " compile would run as sequential Java, or NaN be taken for a number",
          REMEDY);
    }
    List<TornadoTarget> targets = new ArrayList<>();
    List<String> notes = new ArrayList<>();
    for (int b = 0; b < runtime.getNumBackends(); b++) {
      TornadoBackend backend = runtime.getBackend(b);
      for (int d = 0; d < backend.getNumDevices(); d++) {
        try {
          targets.add(describe(id, targets.size(), backend, backend.getDevice(d)));
        } catch (RuntimeException | Error e) {
          notes.add(
              "device %d of TornadoVM's %s backend was left out: %s"
                  .formatted(d, backend.getName(), TornadoDriver.essence(e)));
        }
      }
    }
    if (targets.isEmpty()) {
      return unavailable(
          "TornadoVM %s has no device%s"
              .formatted(version(), notes.isEmpty() ? "" : " (" + String.join("; ", notes) + ")"),
          "install a driver for one of its backends, such as PoCL for OpenCL on the processor");
    }
    return new Found<>(
        targets, new Probe.Available(targets.stream().map(TornadoTarget::device).toList(), notes));
  }

  private static TornadoTarget describe(
      String id, int index, TornadoBackend backend, TornadoDevice device) {
    long[] workItems = device.getPhysicalDevice().getDeviceMaxWorkItemSizes();
    long groupSize =
        Arrays.stream(device.getPhysicalDevice().getDeviceMaxWorkGroupSize()).min().orElse(1);
    Device.Limits limits =
        new Device.Limits(
            Math.min(device.getMaxGlobalMemory(), TornadoOptions.DEVICE_AVAILABLE_MEMORY)
                - ARGUMENTS_BYTES,
            // TornadoVM refuses an allocation of exactly that size.
            device.getMaxAllocMemory() - 1,
            device.getDeviceLocalMemorySize(),
            (int) Math.min(groupSize, Integer.MAX_VALUE),
            device.getPhysicalDevice().getDeviceMaxComputeUnits());
    String name = device.getPhysicalDevice().getDeviceName();
    return new TornadoTarget(
        new Device(
            id,
            index,
            name,
            "TornadoVM %s %s, %s, %s"
                .formatted(
                    version(),
                    backend.getName(),
                    device.getPlatformName(),
                    device.getDeviceOpenCLCVersion()),
            switch (device.getDeviceType()) {
              case CPU -> Device.Kind.CPU;
              case GPU -> Device.Kind.GPU;
              default -> Device.Kind.ACCELERATOR;
            },
            isSimulated(device, name),
            limits),
        (TornadoXPUDevice) device,
        Arrays.stream(workItems).boxed().toList());
  }

  /** Oclgrind, or Heddle's own emulator of NVIDIA's driver: their times say nothing. */
  private static boolean isSimulated(TornadoDevice device, String name) {
    return device.getPlatformName().equals("Oclgrind") || name.startsWith("PTX emulator");
  }

  private static String version() {
    ModuleDescriptor descriptor = TornadoRuntimeProvider.class.getModule().getDescriptor();
    return descriptor == null ? "" : descriptor.rawVersion().orElse("");
  }

  /** The first use after a failed one throws NoClassDefFoundError; what failed is its cause. */
  private static String reason(Throwable thrown) {
    Throwable root = thrown;
    while (root.getCause() != null) {
      root = root.getCause();
    }
    return root instanceof ClassNotFoundException || root instanceof NoClassDefFoundError
        ? "the JVM was started without TornadoVM: there is no class " + root.getMessage()
        : "TornadoVM %s does not start: %s %s"
            .formatted(version(), root.getClass().getSimpleName(), TornadoDriver.essence(root));
  }

  private static Found<TornadoTarget> unavailable(String reason, String remedy) {
    return new Found<>(List.of(), new Probe.Unavailable(reason, remedy));
  }
}
