package dev.heddle.opencl;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.Device;
import dev.heddle.core.Plan;
import dev.heddle.core.Planner;
import dev.heddle.core.Refusal;
import dev.heddle.reference.KernelTrial;

/** Runs long attention on a device that was told to have little memory. Prints what happened. */
final class OneGibibyteRun {
  private OneGibibyteRun() {}

  public static void main(String[] args) {
    AttentionProblem attention = AttentionProblem.of(AttentionShape.square(1, 1, 32_768, 64));
    OpenClBackend backend = new OpenClBackend();
    Device device = Processor.of(backend, attention);
    System.out.println("memory " + device.limits().memoryBytes());
    Planner planner = new Planner(backend, device);
    for (String algorithm : backend.algorithms(device, attention)) {
      System.out.println(
          "refusal "
              + algorithm
              + " "
              + planner.refusal(attention, algorithm).map(Refusal::limit).orElse("none"));
    }
    Plan plan = planner.plan(attention);
    KernelTrial trial = KernelTrial.of(attention);
    long begin = System.nanoTime();
    System.out.println(
        "verdict " + plan.algorithm() + " " + trial.verdict(backend, device, plan).label());
    System.out.println("run and judged in " + (System.nanoTime() - begin) / 1_000_000 + " ms");
  }
}
