package dev.heddle.tornado;

import dev.heddle.core.Device;
import java.util.List;
import uk.ac.manchester.tornado.api.enums.TornadoVMBackendType;
import uk.ac.manchester.tornado.runtime.common.TornadoXPUDevice;

/**
 * A device with what TornadoVM needs to address it.
 *
 * @param device what the rest of Heddle sees
 * @param tornado TornadoVM's device
 * @param workItems most work-items of a work-group along each axis
 */
record TornadoTarget(Device device, TornadoXPUDevice tornado, List<Long> workItems) {
  /** Freezes the list. */
  TornadoTarget {
    workItems = List.copyOf(workItems);
  }

  /** Whether it is one that CUDA runs on. */
  boolean runsCuda() {
    TornadoVMBackendType backend = tornado.getTornadoVMBackend();
    return backend == TornadoVMBackendType.PTX || backend == TornadoVMBackendType.CUDA;
  }

  /** What TornadoVM makes of a kernel for this device. */
  String language() {
    return switch (tornado.getTornadoVMBackend()) {
      case OPENCL -> "OpenCL C";
      case PTX -> "PTX";
      case SPIRV -> "SPIR-V";
      default -> tornado.getTornadoVMBackend().name();
    };
  }
}
