package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.reference.ForkedJvm;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Devices older than the tensor-core kernels, as the emulator plays them. */
class OldDeviceTest {
  private static Path emulator;
  @TempDir Path folder;

  @BeforeAll
  static void findEmulator() {
    emulator = Emulator.library();
    Assumptions.assumeFalse(
        ShippedPtx.ofThisBuild().entries().isEmpty(), "this build ships no PTX: no nvcc");
  }

  @Test
  void anAmpereDeviceRunsEveryRung() throws Exception {
    assertThat(rungs("80", Map.of()))
        .contains("fp32 flash: runs", "fp16 flash_mma: runs", "bf16 flash_mma: runs");
  }

  @Test
  void aTuringDeviceRunsWhatNeedsNoTensorCores() throws Exception {
    assertThat(rungs("75", Map.of("PATH", "")))
        .contains("fp32 naive: runs", "fp32 staged: runs", "fp32 flash: runs")
        .anySatisfy(line ->
            assertThat(line)
                .startsWith("fp16 flash_mma: computeCapability: ")
                .contains("needs compute capability 8.0")
                .endsWith("; PTX emulator (CPU) has 7.5"));
  }

  @Test
  void aVoltaDeviceNeedsACompilerThatStillKnowsIt() throws Exception {
    assertThat(rungs("70", Map.of("PATH", "")))
        .anySatisfy(line ->
            assertThat(line)
                .startsWith("fp32 flash: computeCapability: attention_flash.cu is shipped for 7.5")
                .contains("PTX emulator (CPU) has 7.0")
                .contains("no nvcc on the PATH"));
  }

  private List<String> rungs(String capability, Map<String, String> environment) throws Exception {
    Map<String, String> all = new TreeMap<>(environment);
    all.put("PTX_EMULATOR_COMPUTE_CAPABILITY", capability);
    return ForkedJvm.run(folder, RefusalsRun.class, all, emulator.toString());
  }
}
