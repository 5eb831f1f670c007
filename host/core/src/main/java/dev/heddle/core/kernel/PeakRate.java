package dev.heddle.core.kernel;

import dev.heddle.core.DType;
import dev.heddle.core.DeviceTensor;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.Operation;
import dev.heddle.core.Prepared;
import dev.heddle.core.Session;
import dev.heddle.core.Shape;
import dev.heddle.core.Timing;
import java.util.List;

/** Measures how many fused multiply-adds a device can do, with the language's {@code fma_peak}. */
public final class PeakRate {
  private static final long MEASURE_NS = 400_000_000;

  private PeakRate() {}

  /** Prepares the kernel. */
  public interface Preparation {
    /**
     * Prepares the kernel on its tensor of sums.
     *
     * @param operation an operation of that output, which the kernel does not compute
     */
    Prepared prepare(Operation operation, DeviceTensor sums);
  }

  /**
   * The best of as many runs as fit, flop/s.
   *
   * @param workItems number of sums
   * @param flops floating-point operations of one run
   */
  public static double measure(
      Session session, int workItems, double flops, Preparation preparation) {
    // A prepared operation says what it computes; this one only occupies the device.
    HeadsTranspose nothing = new HeadsTranspose(1, 1, 1, workItems, DType.FP32);
    try (DeviceTensor sums = session.allocate(Shape.of(workItems), DType.FP32);
        Prepared kernel = preparation.prepare(nothing, sums)) {
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
