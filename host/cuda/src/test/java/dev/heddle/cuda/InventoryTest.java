package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.Device;
import dev.heddle.core.DeviceException;
import dev.heddle.core.Probe;
import java.util.List;
import java.util.Optional;
import jcuda.driver.CUdevice_attribute;
import org.junit.jupiter.api.Test;

/** What is made of a driver's answers. */
class InventoryTest {

  /** Two devices of compute capability 9.0 and 7.5; questions to one of them can fail. */
  private static class Sound implements Inventory {
    private final int broken;

    Sound(int broken) {
      this.broken = broken;
    }

    @Override
    public int initialise() {
      return 0;
    }

    @Override
    public String name(int code) {
      return "CUDA_ERROR_TEST (" + code + ")";
    }

    @Override
    public int driverVersion() {
      return 12080;
    }

    @Override
    public Optional<String> driverRelease() {
      return Optional.of("570.86.15");
    }

    @Override
    public int devices() {
      return 2;
    }

    @Override
    public String deviceName(int ordinal) {
      return ordinal == 0 ? "NVIDIA H100" : "Tesla T4";
    }

    @Override
    public long totalMemory(int ordinal) {
      return 80L << 30;
    }

    @Override
    public int attribute(int ordinal, int attribute) {
      if (ordinal == broken) {
        throw new DeviceException("this machine", "cuDeviceGetAttribute", name(46));
      }
      return switch (attribute) {
        case CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR -> 9 - 2 * ordinal;
        case CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR -> 5 * ordinal;
        case CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT -> 132;
        case CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK -> 49152;
        case CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN -> 232448;
        case CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR -> 233472;
        case CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK -> 1024;
        case CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR -> 65536;
        default -> throw new AssertionError("attribute " + attribute);
      };
    }
  }

  @Test
  void devicesAreDescribed() {
    Discovery found = run(new Sound(-1));
    assertThat(found.devices())
        .containsExactly(
            new CudaDevice(
                new Device(
                    "cuda",
                    0,
                    "NVIDIA H100",
                    "NVIDIA driver 570.86.15, CUDA 12.8, compute capability 9.0",
                    Device.Kind.GPU,
                    false,
                    new Device.Limits(80L << 30, 80L << 30, 232448, 1024, 132)),
                0,
                90,
                12080,
                132,
                49152,
                232448,
                233472,
                65536),
            found.devices().get(1));
    assertThat(found.devices().get(1).architecture()).isEqualTo(75);
    assertThat(found.probe())
        .isEqualTo(
            new Probe.Available(
                found.devices().stream().map(CudaDevice::device).toList(), List.of()));
  }

  @Test
  void aDeviceThatDoesNotAnswerIsLeftOutAndTheOthersStay() {
    Discovery found = run(new Sound(0));
    assertThat(found.devices()).singleElement().extracting(CudaDevice::ordinal).isEqualTo(1);
    assertThat(found.devices().getFirst().device().id()).isEqualTo("cuda:0");
    assertThat(((Probe.Available) found.probe()).notes())
        .containsExactly(
            "device 0 was left out: cuDeviceGetAttribute on this machine failed: CUDA_ERROR_TEST"
                + " (46)");
  }

  @Test
  void aDriverThatAnswersNothingIsBroken() {
    Discovery found =
        run(
            new Sound(-1) {
              @Override
              public int devices() {
                throw new DeviceException("this machine", "cuDeviceGetCount", name(999));
              }
            });
    assertThat(found.probe())
        .isEqualTo(
            new Probe.Unavailable(
                "the NVIDIA driver is broken: cuDeviceGetCount on this machine failed:"
                    + " CUDA_ERROR_TEST (999)",
                "check the driver with nvidia-smi"));
  }

  @Test
  void theEmulatorIsNeverTakenForADevice() {
    Discovery found =
        run(
            new Sound(-1) {
              @Override
              public String deviceName(int ordinal) {
                return "PTX emulator (CPU)";
              }
            });
    assertThat(found.devices())
        .allSatisfy(device -> {
          assertThat(device.device().emulated()).isTrue();
          assertThat(device.device().displayName()).endsWith("[emulated]");
          assertThat(device.device().driver()).startsWith("emulated CUDA 12.8");
        });
  }

  private static Discovery run(Inventory inventory) {
    return Discovery.run("cuda", inventory);
  }
}
