package dev.heddle.tornado;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.management.ManagementFactory;
import java.lang.management.MemoryManagerMXBean;
import org.junit.jupiter.api.Test;
import uk.ac.manchester.tornado.api.runtime.TornadoRuntimeProvider;
import uk.ac.manchester.tornado.runtime.common.TornadoOptions;

/** TornadoVM starts in the JVM of the tests, under the options that Heddle gives it. */
class RuntimeTest {
  @Test
  void startsWithAtLeastOneOfItsBackends() {
    int backends =
        NativeOutput.silenced(() -> TornadoRuntimeProvider.getTornadoRuntime().getNumBackends());
    assertThat(backends).isPositive();
  }

  @Test
  void aKernelThatCannotBeCompiledIsNeverRunAsSequentialJava() {
    assertThat(TornadoOptions.RECOVER_BAILOUT).isFalse();
  }

  @Test
  void driversKeepInfinitiesAndNaN() {
    assertThat(TornadoOptions.DEFAULT_OPENCL_COMPILER_FLAGS)
        .isNotBlank()
        .doesNotContain("fast-relaxed-math", "finite-math-only", "unsafe-math");
  }

  @Test
  void theGarbageCollectorIsTheOneOfAnyOtherLaunch() {
    assertThat(ManagementFactory.getGarbageCollectorMXBeans())
        .extracting(MemoryManagerMXBean::getName)
        .isNotEmpty()
        .noneMatch(name -> name.startsWith("PS "));
  }
}
