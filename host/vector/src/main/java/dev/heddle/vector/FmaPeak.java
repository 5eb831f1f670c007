package dev.heddle.vector;

import static dev.heddle.vector.Lanes.LANES;
import static dev.heddle.vector.Lanes.broadcast;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/** Measures the most fused multiply-adds that all cores can do, with operands in registers. */
final class FmaPeak {
  /** Independent sums: two pipes times a latency of up to 5 cycles needs 10. */
  private static final int SUMS = 12;

  /** Few per call and many calls, so that the compiler soon replaces the whole method. */
  private static final int ITERATIONS = 10_000;

  private static final int CALLS = 100;
  private static final long WARM_UP_NS = 600_000_000;
  private static final long MEASURE_NS = 300_000_000;

  private FmaPeak() {}

  /** Peak of the best round, flop/s, a multiply-add as two. */
  static double measure(int cores) {
    try (Workers workers = new Workers(cores)) {
      float[] sink = new float[cores];
      bestRoundNs(workers, sink, WARM_UP_NS);
      double ns = bestRoundNs(workers, sink, MEASURE_NS);
      return 2.0 * SUMS * LANES * ITERATIONS * CALLS * cores / (ns * 1e-9);
    }
  }

  private static long bestRoundNs(Workers workers, float[] sink, long duration) {
    long best = Long.MAX_VALUE;
    long start = System.nanoTime();
    while (System.nanoTime() - start < duration) {
      long round = System.nanoTime();
      // One task per core: a worker that took two would leave another idle and double the time.
      workers.run(
          workers.count(),
          (worker, task) -> {
            for (int call = 0; call < CALLS; call++) {
              sink[task] += multiplyAdd();
            }
          });
      best = Math.min(best, System.nanoTime() - round);
    }
    return best;
  }

  private static float multiplyAdd() {
    FloatVector factor = broadcast(0.999f);
    FloatVector term = broadcast(1e-3f);
    FloatVector s0 = broadcast(1);
    FloatVector s1 = s0;
    FloatVector s2 = s0;
    FloatVector s3 = s0;
    FloatVector s4 = s0;
    FloatVector s5 = s0;
    FloatVector s6 = s0;
    FloatVector s7 = s0;
    FloatVector s8 = s0;
    FloatVector s9 = s0;
    FloatVector s10 = s0;
    FloatVector s11 = s0;
    for (int i = 0; i < ITERATIONS; i++) {
      s0 = s0.fma(factor, term);
      s1 = s1.fma(factor, term);
      s2 = s2.fma(factor, term);
      s3 = s3.fma(factor, term);
      s4 = s4.fma(factor, term);
      s5 = s5.fma(factor, term);
      s6 = s6.fma(factor, term);
      s7 = s7.fma(factor, term);
      s8 = s8.fma(factor, term);
      s9 = s9.fma(factor, term);
      s10 = s10.fma(factor, term);
      s11 = s11.fma(factor, term);
    }
    return s0.add(s1)
        .add(s2)
        .add(s3)
        .add(s4)
        .add(s5)
        .add(s6)
        .add(s7)
        .add(s8)
        .add(s9)
        .add(s10)
        .add(s11)
        .reduceLanes(VectorOperators.ADD);
  }
}
