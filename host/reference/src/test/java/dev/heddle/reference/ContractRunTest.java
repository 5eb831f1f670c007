package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

class ContractRunTest {
  @TempDir private Path folder;

  /** A contract of which only some is kept; Surefire leaves nested classes alone. */
  static class Samples {
    @Test
    void kept() {}

    @Test
    void notHere() {
      Assumptions.abort("no device");
    }

    @TestFactory
    Stream<DynamicNode> partly() {
      return Stream.of(
          dynamicTest("right", () -> {}),
          dynamicContainer(
              "a device",
              Stream.of(
                  dynamicTest(
                      "wrong",
                      () -> {
                        throw new IllegalStateException("two\n lines\tof it");
                      }))));
    }

    @TestFactory
    Stream<DynamicNode> broken() {
      throw new IllegalStateException("no cases");
    }
  }

  private int run(String... methods) throws IOException {
    List<String> names =
        Stream.of(methods).map(method -> Samples.class.getName() + method).toList();
    return ContractRun.run(folder.resolve("contract"), names);
  }

  @Test
  void countsByPromiseAndTellsWhatDidNotPass() throws IOException {
    assertThat(run("")).isEqualTo(1);
    assertThat(Files.readAllLines(folder.resolve("contract")))
        .containsExactlyInAnyOrder(
            "promise\tkept\t1\t0\t0",
            "promise\tnotHere\t0\t0\t1",
            "promise\tpartly\t1\t1\t0",
            "promise\tbroken\t0\t1\t0",
            "skipped\tnotHere\t\torg.opentest4j.TestAbortedException: no device",
            "failed\tpartly\ta device > wrong\t"
                + "java.lang.IllegalStateException: two | lines of it",
            "failed\tbroken\t\tjava.lang.IllegalStateException: no cases");
    assertThat(folder).isDirectoryNotContaining("glob:**.tmp");
  }

  @Test
  void theExitCodeIsTheVerdict() throws IOException {
    assertThat(run("#kept", "#notHere")).isZero();
    assertThat(run("#notHere")).isEqualTo(3);
    assertThat(run("#kept", "#broken")).isEqualTo(1);
  }
}
