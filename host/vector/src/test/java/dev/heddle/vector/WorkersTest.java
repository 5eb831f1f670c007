package dev.heddle.vector;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.Device;
import dev.heddle.core.Probe;
import dev.heddle.core.Session;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class WorkersTest {

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5})
  void doEveryTaskOnceAndReportTheirNumber(int count) {
    try (Workers workers = new Workers(count)) {
      for (int tasks : new int[] {0, 1, 2, 1000}) {
        AtomicIntegerArray done = new AtomicIntegerArray(tasks);
        Set<Integer> seen = ConcurrentHashMap.newKeySet();
        workers.run(
            tasks,
            (worker, task) -> {
              seen.add(worker);
              done.incrementAndGet(task);
            });
        for (int i = 0; i < tasks; i++) {
          assertThat(done.get(i)).as("task %d of %d", i, tasks).isEqualTo(1);
        }
        assertThat(seen).allMatch(worker -> worker >= 0 && worker < workers.count());
      }
    }
  }

  @Test
  void rangesCoverTheItemsUpToTheLargestInt() {
    try (Workers workers = new Workers(2)) {
      for (int items : new int[] {1, 7, (1 << 20) + 1, Integer.MAX_VALUE}) {
        AtomicLong covered = new AtomicLong();
        workers.runRanges(
            items,
            1 << 20,
            (worker, from, to) -> {
              assertThat(from).isNotNegative().isLessThan(to);
              assertThat(to).isLessThanOrEqualTo(items);
              covered.addAndGet(to - from);
            });
        assertThat(covered.get()).isEqualTo(items);
      }
    }
  }

  @Test
  void wakeAgainAfterSleeping() throws InterruptedException {
    try (Workers workers = new Workers(3)) {
      AtomicIntegerArray done = new AtomicIntegerArray(60);
      for (int round = 0; round < 3; round++) {
        workers.run(60, (worker, task) -> done.incrementAndGet(task));
        Thread.sleep(20);
      }
      for (int i = 0; i < 60; i++) {
        assertThat(done.get(i)).isEqualTo(3);
      }
    }
  }

  @Test
  void passOnAFailureAndStayUsable() {
    try (Workers workers = new Workers(3)) {
      IllegalStateException failure = new IllegalStateException("task 7");
      assertThatThrownBy(() ->
              workers.run(
                  100,
                  (worker, task) -> {
                    if (task == 7) {
                      throw failure;
                    }
                  }))
          .isSameAs(failure);
      AtomicIntegerArray done = new AtomicIntegerArray(1);
      workers.run(10, (worker, task) -> done.incrementAndGet(0));
      assertThat(done.get(0)).isEqualTo(10);
    }
  }

  @Test
  void areGoneAfterTheSessionIsClosed() {
    VectorBackend backend = new VectorBackend();
    Device found = ((Probe.Available) backend.probe()).devices().getFirst();
    Device.Limits limits = found.limits();
    Device fourCores =
        new Device(
            found.backend(),
            found.index(),
            found.name(),
            found.driver(),
            found.kind(),
            found.emulated(),
            new Device.Limits(limits.memoryBytes(), limits.allocationBytes(), 0, 1, 4));
    Session session = backend.open(fourCores);
    assertThat(threads()).hasSize(3);
    session.close();
    assertThat(threads()).isEmpty();
    session.close();
  }

  private static Set<Thread> threads() {
    Set<Thread> threads = ConcurrentHashMap.newKeySet();
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (thread.getName().startsWith(Workers.THREAD_NAME)) {
        threads.add(thread);
      }
    }
    return threads;
  }
}
