package dev.heddle.vector;

import dev.heddle.core.CacheAppend;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;
import java.util.Map;

/** {@code cache_append}: copies a cache with rows added, in runs of rows with one source. */
final class CacheCopy implements HostSession.Kernel {
  /** Elements per task, so that small tensors are one task. */
  private static final int ELEMENTS_PER_TASK = 1 << 16;

  private final CacheAppend problem;
  private final Span cache;
  private final Span x;
  private final Span lengths;
  private final Span y;
  private final Workers workers;

  CacheCopy(CacheAppend problem, Map<String, Span> tensors, Workers workers) {
    this.problem = problem;
    this.cache = Tensors.get(tensors, "cache");
    this.x = Tensors.get(tensors, "x");
    this.lengths = Tensors.get(tensors, "lengths");
    this.y = Tensors.get(tensors, "y");
    this.workers = workers;
  }

  @Override
  public void run() {
    int rowsPerTask = Math.ceilDiv(ELEMENTS_PER_TASK, problem.width());
    workers.runRanges(
        y.length() / problem.width(), rowsPerTask, (worker, from, to) -> copy(from, to));
  }

  private void copy(int from, int to) {
    int capacity = problem.capacity();
    int added = problem.added();
    for (int row = from; row < to; ) {
      int head = row / capacity;
      int j = row % capacity;
      int length = (int) lengths.array()[lengths.offset() + head / problem.heads()];
      int first = Math.clamp(length, 0, capacity - added);
      boolean isNew = j >= first && j < first + added;
      int end = isNew ? first + added : j < first ? first : capacity;
      int rows = Math.min(end - j, to - row);
      Span source = isNew ? x : cache;
      int sourceRow = isNew ? head * added + j - first : row;
      System.arraycopy(
          source.array(),
          source.offset() + sourceRow * problem.width(),
          y.array(),
          y.offset() + row * problem.width(),
          rows * problem.width());
      row += rows;
    }
  }

  @Override
  public long scratchBytes() {
    return 0;
  }
}
