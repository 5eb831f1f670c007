package dev.heddle.vector;

import com.sun.management.ThreadMXBean;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import java.lang.management.ManagementFactory;

/**
 * Prints how many bytes one run of flash attention allocates, the fewest seen within some seconds:
 * interpreted code boxes every vector. In a JVM of its own, for C2 decides by what else it has
 * compiled which of the vectors of a method stay in registers.
 */
final class AllocationRun {
  static final String BYTES = "bytes allocated by one run: ";

  private static final long SECONDS = 20;

  private AllocationRun() {}

  public static void main(String[] arguments) {
    long enough = Long.parseLong(arguments[0]);
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 600, 64));
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long fewest = Long.MAX_VALUE;
    try (Workers workers = new Workers(1)) {
      FlashAttention flash =
          new FlashAttention(problem, FlashAttentionTest.tensors(problem), workers);
      long deadline = System.nanoTime() + SECONDS * 1_000_000_000L;
      while (fewest >= enough && System.nanoTime() < deadline) {
        long before = threads.getCurrentThreadAllocatedBytes();
        flash.run();
        fewest = Math.min(fewest, threads.getCurrentThreadAllocatedBytes() - before);
      }
    }
    System.out.println(BYTES + fewest);
  }
}
