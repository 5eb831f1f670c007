package dev.heddle.tornado;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.reference.ForkedJvm;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a machine without a usable TornadoVM is told. */
class DiscoveryTest {
  @TempDir Path folder;

  @Test
  void aJvmWithoutTornadoVmIsToldWhatIsMissing() throws Exception {
    assertThat(ForkedJvm.run(folder, ProbeRun.class, Map.of()))
        .singleElement()
        .asString()
        .startsWith("Unavailable")
        .contains("the JVM was started without TornadoVM", "TORNADOVM_HOME", "./heddle");
  }

  @Test
  void aTornadoVmWithoutItsOptionsIsToldWhatIsMissing() throws Exception {
    String jars = System.getenv("TORNADOVM_HOME") + "/share/java/tornado";
    List<String> output =
        ForkedJvm.run(
            folder,
            List.of("--module-path", jars, "--add-modules", "tornado.api,tornado.runtime"),
            ProbeRun.class,
            Map.of());
    assertThat(output)
        .anySatisfy(line ->
            assertThat(line).startsWith("Unavailable").contains("does not start", "./heddle"));
  }

  /** The options of TornadoVM itself, without those that Heddle adds. */
  @Test
  void aTornadoVmThatWouldFallBackSilentlyIsNotUsed() throws Exception {
    List<String> options =
        ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
            .filter(option -> !option.contains("tornado.recover.bailout"))
            .toList();
    assertThat(options).hasSizeLessThan(inputs());
    assertThat(ForkedJvm.run(folder, options, ProbeRun.class, Map.of()))
        .anySatisfy(line ->
            assertThat(line)
                .startsWith("Unavailable")
                .contains("tornado.args", "sequential Java", "./heddle"));
  }

  private static int inputs() {
    return ManagementFactory.getRuntimeMXBean().getInputArguments().size();
  }
}
