package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.reference.ForkedJvm;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** A machine on which OpenCL is missing or empty gets a reason and a remedy, not a crash. */
@EnabledOnOs(OS.LINUX)
class DiscoveryTest {
  @TempDir Path folder;

  @Test
  void aMissingLoaderIsNamed() throws Exception {
    // A file of the loader's name that is no library, found before any real one.
    Files.createFile(folder.resolve("libOpenCL.so.1"));
    Files.createFile(folder.resolve("libOpenCL.so"));
    List<String> output =
        ForkedJvm.run(folder, ProbeRun.class, Map.of("LD_LIBRARY_PATH", folder.toString()));
    assertThat(output)
        .anySatisfy(line ->
            assertThat(line)
                .startsWith("Unavailable")
                .contains("no OpenCL loader (libOpenCL.so.1) found")
                .contains("ci/setup"))
        .as("nothing but the reason is printed")
        .noneMatch(line -> line.contains("Could not load"));
  }

  @Test
  void aLoaderWithoutADriverIsNamed() throws Exception {
    Assumptions.assumeTrue(loaderIsPresent(), "no OpenCL loader on this machine");
    Path vendors = Files.createDirectory(folder.resolve("vendors"));
    List<String> output =
        ForkedJvm.run(folder, ProbeRun.class, Map.of("OCL_ICD_VENDORS", vendors.toString()));
    assertThat(output)
        .anySatisfy(line -> assertThat(line).startsWith("Unavailable").contains("no platform"));
  }

  private boolean loaderIsPresent() throws Exception {
    return ForkedJvm.run(folder, ProbeRun.class, Map.of()).stream()
        .noneMatch(line -> line.contains("no OpenCL loader"));
  }
}
