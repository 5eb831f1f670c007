package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.Device;
import dev.heddle.reference.ForkedJvm;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Attention of 32768 queries over 32768 keys within 1 GiB, on the host and on the device: its
 * scores alone would take 4 GiB.
 */
class OneGibibyteTest {
  private static final long GIBIBYTE = 1L << 30;

  @TempDir Path folder;

  @Test
  void longAttentionFits() throws Exception {
    Device device =
        Processor.of(
            new OpenClBackend(), AttentionProblem.of(AttentionShape.square(1, 1, 32_768, 64)));
    Assumptions.assumeTrue(
        device.driver().startsWith("Portable Computing Language"),
        "only PoCL can be told how much memory it has");
    List<String> output =
        ForkedJvm.run(
            folder,
            OneGibibyteRun.class,
            Map.of("POCL_MEMORY_LIMIT", "1", "JDK_JAVA_OPTIONS", "-Xmx1g"));
    assertThat(output)
        .contains(
            "memory " + GIBIBYTE,
            "refusal naive allocationBytes",
            "refusal staged allocationBytes",
            "refusal flash none",
            "refusal flash_cpu none",
            "verdict flash_cpu pass");
  }
}
