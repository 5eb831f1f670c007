package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.heddle.core.DeviceException;
import dev.heddle.core.KernelBuildException;
import dev.heddle.core.Probe;
import dev.heddle.core.kernel.Recipe.Launch;
import dev.heddle.cuda.CudaDriver.PinnedMemory;
import dev.heddle.cuda.LiveObjects.Kind;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUmodule;
import jcuda.driver.CUstream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The driver's calls, on the emulator. */
class CudaDriverTest {
  /** x[i] *= factor for 32 threads; a stride of 2^20 elements leaves every allocation. */
  private static final String SCALE =
      """
      .version 7.0
      .target sm_80
      .address_size 64
      .visible .entry scale(
        .param .u64 scale_param_0,
        .param .f32 scale_param_1,
        .param .u32 scale_param_2
      )
      {
        .reg .f32 %f<3>;
        .reg .b32 %r<4>;
        .reg .b64 %rd<4>;
        ld.param.u64 %rd1, [scale_param_0];
        ld.param.f32 %f1, [scale_param_1];
        ld.param.u32 %r1, [scale_param_2];
        mov.u32 %r2, %tid.x;
        mul.lo.s32 %r3, %r1, %r2;
        mul.wide.s32 %rd2, %r3, 4;
        add.s64 %rd3, %rd1, %rd2;
        ld.global.f32 %f2, [%rd3];
        mul.f32 %f2, %f2, %f1;
        st.global.f32 [%rd3], %f2;
        ret;
      }
      """;

  private static final int COUNT = 32;
  private static final int BYTES = 4 * COUNT;

  private static CudaDevice device;
  private final LiveObjects live = new LiveObjects();
  private CudaDriver driver;

  @BeforeAll
  static void findDevice() {
    Emulator.load();
    Discovery found = Discovery.run("cuda");
    assertThat(found.devices()).as("%s", found.probe()).hasSize(1);
    device = found.devices().getFirst();
  }

  @BeforeEach
  void open() {
    driver = new CudaDriver(device, live);
  }

  @AfterEach
  void everythingIsReleased() {
    driver.close();
    assertThat(live.count(Kind.CONTEXT)).isZero();
  }

  /** A compiler that hangs or breaks must neither delay a command nor hide the device. */
  @Test
  void lookingForDevicesTriesNoCompilerAndRemarksDo() {
    AtomicInteger asked = new AtomicInteger();
    PtxLibrary library =
        new PtxLibrary(
            new ShippedPtx("", List.of()),
            () -> {
              asked.incrementAndGet();
              return new CompilerSearch(Optional.empty(), "no nvcc");
            },
            PtxCache.ofThisUser());
    CudaBackend backend = new CudaBackend(CudaBackend.Options.DEFAULT.withLibrary(() -> library));
    assertThat(backend.probe()).isEqualTo(new Probe.Available(List.of(device.device()), List.of()));
    assertThat(asked).hasValue(0);
    assertThat(backend.remarks()).singleElement().asString().contains("there is no nvcc");
    assertThat(asked).hasValue(1);
  }

  @Test
  void theDeviceIsTheEmulatorAndSaysSo() {
    assertThat(device.device().displayName()).isEqualTo("PTX emulator (CPU) [emulated]");
    assertThat(device.computeCapability()).isEqualTo("8.0");
  }

  @Test
  void aKernelRunsOnWhatWasCopiedInAndItsResultIsCopiedOut() {
    assertThat(scaled(3, 1)).containsExactly(expected(3));
    assertThat(live.total()).as("%s", live).isEqualTo(1);
  }

  /** One call queues them, in order; what each was bound to is laid out once and used again. */
  @Test
  void kernelsOfOneLaunchRunInOrderBetweenItsEvents() {
    CUstream stream = driver.createStream();
    CUevent begin = driver.createEvent();
    CUevent end = driver.createEvent();
    CUmodule module = driver.load("scale.cu", SCALE);
    CUdeviceptr memory = driver.allocate(BYTES);
    PinnedMemory host = driver.allocatePinned(BYTES);
    driver.fill(memory, Float.floatToRawIntBits(1), COUNT, stream);
    BoundKernel twice = scale(module, memory, 2, 1);
    driver.launch(List.of(twice, twice), begin, end, stream);
    driver.synchronize(stream);
    driver.copyFromDevice(host, memory, BYTES, stream);
    driver.synchronize(stream);
    assertThat(driver.elapsedNs(begin, end)).isPositive();
    assertThat(host.bytes().getFloat(0)).isEqualTo(4);
    assertThat(host.bytes().getFloat(BYTES - 4)).isEqualTo(4);
    driver.release(host);
    driver.release(memory);
    driver.release(module);
    driver.release(end);
    driver.release(begin);
    driver.release(stream);
    assertThat(live.total()).isEqualTo(1);
  }

  private BoundKernel scale(CUmodule module, CUdeviceptr memory, float factor, int stride) {
    List<Pointer> arguments =
        List.of(
            Pointer.to(memory), Pointer.to(new float[] {factor}), Pointer.to(new int[] {stride}));
    Launch launch = new Launch("scale", List.of(1L), List.of(COUNT), Map.of());
    return new BoundKernel(driver.function(module, "scale"), launch, arguments);
  }

  @Test
  void anyThreadMayCall() throws Exception {
    try (ExecutorService other = Executors.newSingleThreadExecutor()) {
      assertThat(other.submit(() -> scaled(2, 1)).get()).containsExactly(expected(2));
    }
    assertThat(scaled(4, 1)).containsExactly(expected(4));
  }

  @Test
  void memoryIsFilledByBytesAndWords() {
    CUstream stream = driver.createStream();
    CUdeviceptr memory = driver.allocate(16);
    PinnedMemory host = driver.allocatePinned(16);
    driver.fill(memory, (byte) 0x11, 16, stream);
    driver.fill(memory.withByteOffset(4), (short) 0x2233, 2, stream);
    driver.fill(memory.withByteOffset(8), 0x44556677, 1, stream);
    driver.copyFromDevice(host, memory, 16, stream);
    driver.synchronize(stream);
    int[] words = new int[4];
    host.bytes().asIntBuffer().get(words);
    assertThat(words).containsExactly(0x11111111, 0x22332233, 0x44556677, 0x11111111);
    driver.release(host);
    driver.release(memory);
    driver.release(stream);
  }

  @Test
  void eventsTellTheTimeBetweenThem() {
    CUstream stream = driver.createStream();
    CUevent start = driver.createEvent();
    CUevent end = driver.createEvent();
    driver.record(start, stream);
    driver.record(end, stream);
    driver.synchronize(stream);
    assertThat(driver.elapsedNs(start, end)).isNotNegative().isLessThan(10_000_000_000L);
    driver.release(end);
    driver.release(start);
    driver.release(stream);
    assertThat(live.total()).isEqualTo(1);
  }

  // ---- failures

  @Test
  void aFailedCallIsNamedWithItsCode() {
    DeviceException failure =
        catchThrowableOfType(DeviceException.class, () -> driver.allocate(1L << 60));
    assertThat(failure.call()).isEqualTo("cuMemAlloc of " + (1L << 60) + " bytes");
    assertThat(failure.code()).isEqualTo("CUDA_ERROR_OUT_OF_MEMORY (2)");
    assertThat(driver.isLost()).isFalse();
    assertThat(scaled(2, 1)).as("the context is still of use").containsExactly(expected(2));
  }

  @Test
  void aMissingKernelIsNamed() {
    CUmodule module = driver.load("scale.cu", SCALE);
    assertThatThrownBy(() -> driver.function(module, "shift"))
        .isInstanceOf(DeviceException.class)
        .hasMessageContaining("cuModuleGetFunction(shift)")
        .hasMessageContaining("CUDA_ERROR_NOT_FOUND (500)");
    driver.release(module);
  }

  @Test
  void ptxThatIsRefusedShowsWhatTheDriverSays() {
    String text = SCALE.replace("mul.f32", "mul.f33");
    KernelBuildException failure =
        catchThrowableOfType(KernelBuildException.class, () -> driver.load("scale.cu", text));
    assertThat(failure.log()).contains("CUDA_ERROR_INVALID_PTX (218)").contains("mul.f33");
    assertThat(failure.source()).isEqualTo(text);
  }

  @Test
  void aTrapIsNamedAndTheNextContextIsSound() {
    assertThatThrownBy(() -> scaled(2, 1 << 20))
        .isInstanceOf(DeviceException.class)
        .hasMessageContaining("CUDA_ERROR_ILLEGAL_ADDRESS (700)")
        .hasMessageContaining("scale")
        .hasMessageContaining("thread");
    assertThat(driver.isLost()).isTrue();
    assertThatThrownBy(() -> driver.allocate(16)).isInstanceOf(DeviceException.class);
    driver.close();
    driver = new CudaDriver(device, live);
    assertThat(scaled(2, 1)).containsExactly(expected(2));
  }

  /** By the driver's manual: which codes leave the context in a state where nothing works. */
  @Test
  void theCodesThatEndAContextAreKnown() {
    assertThat(IntStream.of(4, 214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999))
        .allMatch(CudaDriver::isFatal);
    assertThat(IntStream.of(0, 1, 2, 200, 201, 209, 218, 222, 400, 500, 701, 720, 801))
        .noneMatch(CudaDriver::isFatal);
  }

  @Test
  void aClosedContextIsNotUsed() {
    driver.close();
    driver.close();
    assertThatThrownBy(() -> driver.allocate(16))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("PTX emulator (CPU)");
  }

  /** 1, 2, 3, ... each times a factor, on the device. */
  private float[] scaled(float factor, int stride) {
    CUstream stream = driver.createStream();
    CUmodule module = driver.load("scale.cu", SCALE);
    CUdeviceptr memory = driver.allocate(BYTES);
    PinnedMemory host = driver.allocatePinned(BYTES);
    try {
      for (int i = 0; i < COUNT; i++) {
        host.bytes().putFloat(4 * i, i + 1);
      }
      driver.copyToDevice(memory, host, BYTES, stream);
      launch(List.of(scale(module, memory, factor, stride)), stream);
      driver.copyFromDevice(host, memory, BYTES, stream);
      driver.synchronize(stream);
      float[] result = new float[COUNT];
      host.bytes().asFloatBuffer().get(result);
      return result;
    } finally {
      driver.release(host);
      driver.release(memory);
      driver.release(module);
      driver.release(stream);
    }
  }

  private void launch(List<BoundKernel> kernels, CUstream stream) {
    CUevent begin = driver.createEvent();
    CUevent end = driver.createEvent();
    try {
      driver.launch(kernels, begin, end, stream);
    } finally {
      driver.release(begin);
      driver.release(end);
    }
  }

  private static float[] expected(float factor) {
    float[] expected = new float[COUNT];
    for (int i = 0; i < COUNT; i++) {
      expected[i] = factor * (i + 1);
    }
    return expected;
  }
}
