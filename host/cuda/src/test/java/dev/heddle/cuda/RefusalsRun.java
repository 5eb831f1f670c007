package dev.heddle.cuda;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Probe;
import java.util.List;

/**
 * Prints, for attention in each storage type, which rungs a device has and why it has not others.
 */
final class RefusalsRun {
  private RefusalsRun() {}

  public static void main(String[] arguments) {
    System.setProperty(CudaLibrary.PROPERTY, arguments[0]);
    // No compiler: what is shipped has to do.
    System.setProperty(Nvrtc.PROPERTY, "none");
    CudaBackend backend = new CudaBackend();
    if (!(backend.probe() instanceof Probe.Available(List<Device> devices, List<String> notes))) {
      throw new AssertionError(backend.probe());
    }
    Device device = devices.getFirst();
    System.out.println(device.driver());
    for (DType dtype : DType.FLOATING) {
      Operation operation =
          AttentionProblem.of(AttentionShape.square(1, 1, 16, 64)).withDtype(dtype);
      for (String algorithm : backend.algorithms(device, operation)) {
        System.out.println(
            dtype.label()
                + " "
                + algorithm
                + ": "
                + backend
                    .refusal(device, operation, backend.plan(device, operation, algorithm))
                    .map(Object::toString)
                    .orElse("runs"));
      }
    }
  }
}
