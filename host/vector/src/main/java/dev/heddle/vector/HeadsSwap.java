package dev.heddle.vector;

import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;
import java.util.Map;

/** {@code heads_copy}: swaps the two middle axes by copying runs of WIDTH elements. */
final class HeadsSwap implements HostSession.Kernel {
  /** Elements per task, so that small tensors are one task. */
  private static final int ELEMENTS_PER_TASK = 1 << 16;

  private final HeadsTranspose problem;
  private final Span x;
  private final Span y;
  private final Workers workers;

  HeadsSwap(HeadsTranspose problem, Map<String, Span> tensors, Workers workers) {
    this.problem = problem;
    this.x = Tensors.get(tensors, "x");
    this.y = Tensors.get(tensors, "y");
    this.workers = workers;
  }

  @Override
  public void run() {
    int runs = x.length() / problem.width();
    int runsPerTask = Math.ceilDiv(ELEMENTS_PER_TASK, problem.width());
    workers.runRanges(
        runs,
        runsPerTask,
        (worker, first, end) -> {
          for (int r = first; r < end; r++) {
            int outer = r % problem.outer();
            int inner = r / problem.outer() % problem.inner();
            int batch = r / problem.outer() / problem.inner();
            int from = (batch * problem.outer() + outer) * problem.inner() + inner;
            System.arraycopy(
                x.array(),
                x.offset() + from * problem.width(),
                y.array(),
                y.offset() + r * problem.width(),
                problem.width());
          }
        });
  }

  @Override
  public long scratchBytes() {
    return 0;
  }
}
