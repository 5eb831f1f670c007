package dev.heddle.opencl;

import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.DeviceTensor;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.Plan;
import dev.heddle.core.Prepared;
import dev.heddle.core.Shape;
import dev.heddle.core.Timing;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Siblings;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/** Measures how many fused multiply-adds a device can do, with {@code fma_peak.cl}. */
final class PeakRate {
  private static final String FILE = "fma_peak.cl";
  private static final int CHAINS = 16;
  private static final int ITERATIONS_PER_LANE = 1 << 22;
  private static final long MEASURE_NS = 400_000_000;

  private PeakRate() {}

  /** The best of as many runs as fit, flop/s. */
  static double measure(OpenClSession session) {
    Device device = session.device();
    boolean processor = device.kind() == Device.Kind.CPU;
    int lanes = processor ? 16 : 1;
    int local = processor ? 1 : Math.min(256, device.limits().workGroupSize());
    long groups = processor ? device.limits().computeUnits() : 32L * device.limits().computeUnits();
    int iterations = processor ? ITERATIONS_PER_LANE : ITERATIONS_PER_LANE / 256;
    int workItems = Math.toIntExact(groups * local);
    SortedMap<String, Integer> macros = new TreeMap<>(Map.of("LANES", lanes, "CHAINS", CHAINS));
    Recipe recipe =
        Siblings.fmaPeak(FILE, macros, groups, local, iterations)
            .withMemory(0, 4L * CHAINS * lanes);
    double flops = 2.0 * CHAINS * lanes * iterations * workItems;
    // A prepared operation says what it computes; this one only occupies the device.
    HeadsTranspose nothing = new HeadsTranspose(1, 1, 1, workItems, DType.FP32);
    try (DeviceTensor sums = session.allocate(Shape.of(workItems), DType.FP32);
        Prepared kernel =
            session.prepare(
                nothing, Plan.of("fma_peak"), recipe, Map.of("y", (DeviceBuffer) sums))) {
      session.run(List.of(kernel));
      double best = 0;
      long begin = System.nanoTime();
      while (System.nanoTime() - begin < MEASURE_NS) {
        Timing timing = session.run(List.of(kernel));
        best = Math.max(best, flops / timing.deviceNs().orElse(timing.hostNs()) * 1e9);
      }
      return best;
    }
  }
}
