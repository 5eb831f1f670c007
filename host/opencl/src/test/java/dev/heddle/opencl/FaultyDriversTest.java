package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;
import static org.jocl.CL.CL_DEVICE_MAX_WORK_GROUP_SIZE;
import static org.jocl.CL.CL_DEVICE_TYPE;
import static org.jocl.CL.CL_DEVICE_TYPE_CPU;

import dev.heddle.core.Device;
import dev.heddle.core.DeviceException;
import dev.heddle.core.Probe;
import java.util.List;
import java.util.function.Supplier;
import org.jocl.cl_device_id;
import org.jocl.cl_platform_id;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Discovery on machines whose drivers misbehave. */
class FaultyDriversTest {
  private static final String JOCL_MESSAGE =
      """
      Error while loading native library "JOCL_2_0_6-linux-x86_64"
      Operating system name: Linux
      ---(start of nested stack traces)---
      Stack trace from the attempt to load the library as a file:
      java.lang.UnsatisfiedLinkError: no JOCL_2_0_6-linux-x86_64 in java.library.path: /usr/lib
      \tat java.base/java.lang.ClassLoader.loadLibrary(ClassLoader.java:2285)
      Stack trace from the attempt to load the library as a resource:
      java.lang.UnsatisfiedLinkError: libJOCL.so: failed to map segment from shared object
      \tat java.base/java.lang.System.load(System.java:1647)
      ---(end of nested stack traces)---
      """;

  /** Two platforms with two devices each, all of them in order. */
  private static class Sound implements Inventory {
    final List<cl_platform_id> platforms = List.of(new cl_platform_id(), new cl_platform_id());
    final List<List<cl_device_id>> devices =
        List.of(
            List.of(new cl_device_id(), new cl_device_id()),
            List.of(new cl_device_id(), new cl_device_id()));

    @Override
    public List<cl_platform_id> platforms() {
      return platforms;
    }

    @Override
    public List<cl_device_id> devices(cl_platform_id platform) {
      return devices.get(isFirst(platform) ? 0 : 1);
    }

    @Override
    public String text(cl_platform_id platform, int what) {
      return isFirst(platform) ? "first" : "second";
    }

    @Override
    public String text(cl_device_id device, int what) {
      return "sound";
    }

    @Override
    public long number(cl_device_id device, int what, int bytes) {
      return what == CL_DEVICE_TYPE ? CL_DEVICE_TYPE_CPU : 1024;
    }

    // JOCL's ids are equal when their native pointers are, which are all null here.
    @SuppressWarnings("ReferenceEquality")
    final boolean isFirst(cl_platform_id platform) {
      return platform == platforms.getFirst();
    }

    @SuppressWarnings("ReferenceEquality")
    final boolean isFirst(cl_device_id device) {
      return device == devices.getFirst().getFirst();
    }
  }

  @Test
  void everyDeviceOfEveryPlatformIsFound() {
    Probe.Available found = available(new Sound());
    assertThat(found.devices()).extracting(Device::index).containsExactly(0, 1, 2, 3);
    assertThat(found.notes()).isEmpty();
  }

  @Test
  void aDeviceThatDoesNotAnswerIsLeftOutAlone() {
    Probe.Available found =
        available(
            new Sound() {
              @Override
              public String text(cl_device_id device, int what) {
                if (isFirst(device)) {
                  throw new DeviceException("this machine", "clGetDeviceInfo", "CL_OUT_OF_MEMORY");
                }
                return super.text(device, what);
              }
            });
    assertThat(found.devices()).extracting(Device::index).containsExactly(0, 1, 2);
    assertThat(found.notes())
        .singleElement()
        .asString()
        .contains("device 0 of platform first", "clGetDeviceInfo", "CL_OUT_OF_MEMORY");
  }

  @Test
  void aPlatformThatDoesNotAnswerIsLeftOutAlone() {
    Probe.Available found =
        available(
            new Sound() {
              @Override
              public List<cl_device_id> devices(cl_platform_id platform) {
                if (isFirst(platform)) {
                  throw new DeviceException("this machine", "clGetDeviceIDs", "CL_OUT_OF_MEMORY");
                }
                return super.devices(platform);
              }
            });
    assertThat(found.devices()).hasSize(2);
    assertThat(found.notes())
        .singleElement()
        .asString()
        .contains("platform first", "clGetDeviceIDs", "CL_OUT_OF_MEMORY");
  }

  @Test
  void aPlatformWithoutANameIsLeftOutAlone() {
    Probe.Available found =
        available(
            new Sound() {
              @Override
              public String text(cl_platform_id platform, int what) {
                if (isFirst(platform)) {
                  throw new DeviceException(
                      "this machine", "clGetPlatformInfo", "CL_INVALID_VALUE");
                }
                return super.text(platform, what);
              }
            });
    assertThat(found.devices()).hasSize(2);
    assertThat(found.notes()).singleElement().asString().contains("platform 0", "CL_INVALID_VALUE");
  }

  @ParameterizedTest
  @ValueSource(longs = {1L << 31, 0xFFFFFFFFL, Long.MAX_VALUE})
  void aHugeWorkGroupLimitIsCut(long limit) {
    Probe.Available found =
        available(
            new Sound() {
              @Override
              public long number(cl_device_id device, int what, int bytes) {
                return what == CL_DEVICE_MAX_WORK_GROUP_SIZE
                    ? limit
                    : super.number(device, what, bytes);
              }
            });
    assertThat(found.devices())
        .hasSize(4)
        .allMatch(device -> device.limits().workGroupSize() == Integer.MAX_VALUE);
  }

  @Test
  void noDeviceIsUnavailableWithEveryNote() {
    Probe.Unavailable missing =
        unavailable(
            new Sound() {
              @Override
              public List<cl_device_id> devices(cl_platform_id platform) {
                return List.of();
              }
            });
    assertThat(missing.reason())
        .contains("platform first has no device", "platform second has no device");
    assertThat(missing.remedy()).isNotBlank();
  }

  @Test
  void noPlatformIsUnavailable() {
    assertThat(unavailable(failing(List::of)).reason()).contains("no driver");
  }

  @Test
  void aMissingLoaderIsNamed() {
    String message =
        "Could not initialize native OpenCL library. Implementation library could not be loaded";
    UnsatisfiedLinkError first = new UnsatisfiedLinkError(message);
    Error later = new NoClassDefFoundError("Could not initialize class org.jocl.CL");
    later.initCause(new ExceptionInInitializerError("Exception " + first));
    for (Error error : List.of(first, later)) {
      Probe.Unavailable missing = unavailable(throwing(error));
      assertThat(missing.reason()).contains("no OpenCL loader");
      assertThat(missing.remedy()).contains("ocl-icd-libopencl1");
    }
  }

  @Test
  void aBindingThatCannotBeLoadedIsNotTakenForAMissingLoader() {
    Probe.Unavailable missing = unavailable(throwing(new UnsatisfiedLinkError(JOCL_MESSAGE)));
    assertThat(missing.reason())
        .doesNotContain("OpenCL loader")
        .contains("failed to map segment from shared object")
        .hasLineCount(1);
    assertThat(missing.remedy()).contains("java.io.tmpdir");
  }

  @Test
  void whateverIsThrownMakesTheBackendUnavailable() {
    for (Error error : List.of(new StackOverflowError(), new AssertionError("torn"))) {
      assertThat(unavailable(throwing(error)).reason())
          .contains("looking for OpenCL devices failed");
    }
  }

  private static Inventory throwing(Error error) {
    return failing(() -> {
      throw error;
    });
  }

  private static Inventory failing(Supplier<List<cl_platform_id>> answer) {
    return new Sound() {
      @Override
      public List<cl_platform_id> platforms() {
        return answer.get();
      }
    };
  }

  private static Probe.Available available(Inventory inventory) {
    return (Probe.Available) Discovery.run("opencl", inventory).probe();
  }

  private static Probe.Unavailable unavailable(Inventory inventory) {
    return (Probe.Unavailable) Discovery.run("opencl", inventory).probe();
  }
}
