package dev.heddle.cuda;

import static jcuda.driver.CUjit_option.CU_JIT_ERROR_LOG_BUFFER;
import static jcuda.driver.CUjit_option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES;

import dev.heddle.core.DeviceException;
import dev.heddle.core.KernelBuildException;
import dev.heddle.cuda.LiveObjects.Kind;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUfunction;
import jcuda.driver.CUfunction_attribute;
import jcuda.driver.CUmodule;
import jcuda.driver.CUresult;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;
import jcuda.driver.JITOptions;

/**
 * The CUDA driver's calls in one context: every code is checked and becomes a {@link
 * DeviceException} with the call's name, everything created is counted until it is released.
 *
 * <p>A context is current in one thread at a time, so each call first makes this one current. All
 * functions used here are in the driver of CUDA 11.0: JCuda binds at the first call, and a function
 * that the driver lacks would end the process.
 */
final class CudaDriver implements AutoCloseable {
  /** What the driver says of a PTX text that it refuses, at most so much of it. */
  private static final int LOG_BYTES = 16384;

  private static final String RECORD = "cuEventRecord";

  /** Codes after which nothing works any more in this context: a kernel trapped, or worse. */
  private static final Set<Integer> FATAL =
      Set.of(
          CUresult.CUDA_ERROR_DEINITIALIZED,
          CUresult.CUDA_ERROR_ECC_UNCORRECTABLE,
          CUresult.CUDA_ERROR_NVLINK_UNCORRECTABLE,
          CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,
          CUresult.CUDA_ERROR_LAUNCH_TIMEOUT,
          CUresult.CUDA_ERROR_CONTEXT_IS_DESTROYED,
          CUresult.CUDA_ERROR_ASSERT,
          CUresult.CUDA_ERROR_HARDWARE_STACK_ERROR,
          CUresult.CUDA_ERROR_ILLEGAL_INSTRUCTION,
          CUresult.CUDA_ERROR_MISALIGNED_ADDRESS,
          CUresult.CUDA_ERROR_INVALID_ADDRESS_SPACE,
          CUresult.CUDA_ERROR_INVALID_PC,
          CUresult.CUDA_ERROR_LAUNCH_FAILED,
          CUresult.CUDA_ERROR_UNKNOWN);

  private final String device;
  private final LiveObjects live;
  private final CUcontext context = new CUcontext();
  private boolean lost;
  private boolean open;

  /**
   * Creates a context.
   *
   * @param live told of everything that is created and released
   * @throws DeviceException when the driver can't
   */
  CudaDriver(CudaDevice target, LiveObjects live) {
    this.device = target.device().name();
    this.live = live;
    CUdevice handle = new CUdevice();
    check("cuDeviceGet", JCudaDriver.cuDeviceGet(handle, target.ordinal()));
    check("cuCtxCreate", JCudaDriver.cuCtxCreate(context, 0, handle));
    live.created(Kind.CONTEXT);
    open = true;
  }

  /**
   * Whether a kernel trapped. The context is of no use then: only closing works, and what it held
   * is freed with it.
   */
  boolean isLost() {
    return lost;
  }

  // ---- memory

  /** Allocates device memory, aligned to 256 bytes at least. */
  CUdeviceptr allocate(long bytes) {
    enter();
    CUdeviceptr memory = new CUdeviceptr();
    check("cuMemAlloc of " + bytes + " bytes", JCudaDriver.cuMemAlloc(memory, bytes));
    live.created(Kind.MEMORY);
    return memory;
  }

  /** Allocates host memory that the device reads and writes without a copy in between. */
  PinnedMemory allocatePinned(long bytes) {
    enter();
    Pointer memory = new Pointer();
    check("cuMemAllocHost of " + bytes + " bytes", JCudaDriver.cuMemAllocHost(memory, bytes));
    live.created(Kind.PINNED_MEMORY);
    return new PinnedMemory(memory, memory.getByteBuffer(0, bytes).order(ByteOrder.nativeOrder()));
  }

  /**
   * Page-locked host memory.
   *
   * @param pointer for the driver
   * @param bytes for the host
   */
  record PinnedMemory(Pointer pointer, ByteBuffer bytes) {}

  /** Memory of the device that is free now, bytes. */
  long freeMemory() {
    enter();
    long[] free = new long[1];
    long[] total = new long[1];
    check("cuMemGetInfo", JCudaDriver.cuMemGetInfo(free, total));
    return free[0];
  }

  /**
   * Copies to the device; returns at once, and the host's bytes must stay until it has happened.
   */
  void copyToDevice(CUdeviceptr target, PinnedMemory source, long bytes, CUstream stream) {
    enter();
    check(
        "cuMemcpyHtoDAsync of " + bytes + " bytes",
        JCudaDriver.cuMemcpyHtoDAsync(target, source.pointer, bytes, stream));
  }

  /**
   * Copies from the device; returns at once, and the host's bytes are there when it has happened.
   */
  void copyFromDevice(PinnedMemory target, CUdeviceptr source, long bytes, CUstream stream) {
    enter();
    check(
        "cuMemcpyDtoHAsync of " + bytes + " bytes",
        JCudaDriver.cuMemcpyDtoHAsync(target.pointer, source, bytes, stream));
  }

  /** Sets bytes. */
  void fill(CUdeviceptr target, byte value, long bytes, CUstream stream) {
    enter();
    check("cuMemsetD8Async", JCudaDriver.cuMemsetD8Async(target, value, bytes, stream));
  }

  /** Sets 16-bit words. */
  void fill(CUdeviceptr target, short value, long words, CUstream stream) {
    enter();
    check("cuMemsetD16Async", JCudaDriver.cuMemsetD16Async(target, value, words, stream));
  }

  /** Sets 32-bit words. */
  void fill(CUdeviceptr target, int value, long words, CUstream stream) {
    enter();
    check("cuMemsetD32Async", JCudaDriver.cuMemsetD32Async(target, value, words, stream));
  }

  void release(CUdeviceptr memory) {
    release(Kind.MEMORY, "cuMemFree", () -> JCudaDriver.cuMemFree(memory));
  }

  void release(PinnedMemory memory) {
    release(Kind.PINNED_MEMORY, "cuMemFreeHost", () -> JCudaDriver.cuMemFreeHost(memory.pointer));
  }

  // ---- kernels

  /**
   * Loads PTX; the driver compiles it for the device.
   *
   * @param file the kernel file that it was compiled from
   * @throws KernelBuildException with the driver's log when it refuses the text
   */
  CUmodule load(String file, String ptx) {
    enter();
    CUmodule module = new CUmodule();
    byte[] log = new byte[LOG_BYTES];
    JITOptions options = new JITOptions();
    options.putBytes(CU_JIT_ERROR_LOG_BUFFER, log);
    options.putInt(CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, log.length);
    byte[] text = ptx.getBytes(StandardCharsets.UTF_8);
    byte[] terminated = Arrays.copyOf(text, text.length + 1);
    int code = JCudaDriver.cuModuleLoadDataJIT(module, Pointer.to(terminated), options);
    switch (code) {
      case CUresult.CUDA_ERROR_INVALID_PTX,
          CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
          CUresult.CUDA_ERROR_INVALID_IMAGE,
          CUresult.CUDA_ERROR_NO_BINARY_FOR_GPU ->
          throw new KernelBuildException(
              file, name(code) + " from the driver of " + device + "\n" + text(log), ptx);
      default -> check("cuModuleLoadDataEx(" + file + ")", code);
    }
    live.created(Kind.MODULE);
    return module;
  }

  /** A module's kernel; it lives as long as the module. */
  CUfunction function(CUmodule module, String name) {
    enter();
    CUfunction function = new CUfunction();
    check(
        "cuModuleGetFunction(" + name + ")",
        JCudaDriver.cuModuleGetFunction(function, module, name));
    return function;
  }

  /** Shared memory that a kernel declares itself, bytes. */
  int staticShared(CUfunction function) {
    enter();
    int[] bytes = new int[1];
    check(
        "cuFuncGetAttribute(SHARED_SIZE_BYTES)",
        JCudaDriver.cuFuncGetAttribute(
            bytes, CUfunction_attribute.CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, function));
    return bytes[0];
  }

  /** Lets a kernel be launched with so much dynamic shared memory. */
  void allowDynamicShared(CUfunction function, int bytes) {
    enter();
    check(
        "cuFuncSetAttribute(MAX_DYNAMIC_SHARED_SIZE_BYTES, " + bytes + ")",
        JCudaDriver.cuFuncSetAttribute(
            function, CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes));
  }

  /**
   * Queues kernels between two events. The time between the events is measured, so nothing but the
   * driver's calls happens here.
   */
  void launch(List<BoundKernel> kernels, CUevent begin, CUevent end, CUstream stream) {
    enter();
    check(RECORD, JCudaDriver.cuEventRecord(begin, stream));
    for (BoundKernel kernel : kernels) {
      check("cuLaunchKernel", kernel.launch(stream));
    }
    check(RECORD, JCudaDriver.cuEventRecord(end, stream));
  }

  void release(CUmodule module) {
    release(Kind.MODULE, "cuModuleUnload", () -> JCudaDriver.cuModuleUnload(module));
  }

  // ---- order and time

  /** Creates a stream that does not wait for others. */
  CUstream createStream() {
    enter();
    CUstream stream = new CUstream();
    check(
        "cuStreamCreate",
        JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING));
    live.created(Kind.STREAM);
    return stream;
  }

  /** Waits until everything in a stream has happened; errors of its kernels show here. */
  void synchronize(CUstream stream) {
    enter();
    check("cuStreamSynchronize", JCudaDriver.cuStreamSynchronize(stream));
  }

  /** Waits until an event has happened; one that was never queued has. */
  void synchronize(CUevent event) {
    enter();
    check("cuEventSynchronize", JCudaDriver.cuEventSynchronize(event));
  }

  void release(CUstream stream) {
    release(Kind.STREAM, "cuStreamDestroy", () -> JCudaDriver.cuStreamDestroy(stream));
  }

  /** Creates an event that is stamped when a stream reaches it. */
  CUevent createEvent() {
    enter();
    CUevent event = new CUevent();
    check("cuEventCreate", JCudaDriver.cuEventCreate(event, 0));
    live.created(Kind.EVENT);
    return event;
  }

  /** Queues an event. */
  void record(CUevent event, CUstream stream) {
    enter();
    check(RECORD, JCudaDriver.cuEventRecord(event, stream));
  }

  /** Time between two events that have happened, ns; the device's clock has steps of 500 ns. */
  long elapsedNs(CUevent start, CUevent end) {
    enter();
    float[] milliseconds = new float[1];
    check("cuEventElapsedTime", JCudaDriver.cuEventElapsedTime(milliseconds, start, end));
    return Math.round(milliseconds[0] * 1e6);
  }

  void release(CUevent event) {
    release(Kind.EVENT, "cuEventDestroy", () -> JCudaDriver.cuEventDestroy(event));
  }

  // ---- the context

  /** Destroys the context and frees whatever it still held. */
  @Override
  public void close() {
    if (!open) {
      return;
    }
    open = false;
    live.released(Kind.CONTEXT);
    int code = JCudaDriver.cuCtxDestroy(context);
    // A lost context is destroyed too, but the driver repeats what it was lost of.
    if (!lost) {
      check("cuCtxDestroy", code);
    }
  }

  private void enter() {
    if (!open) {
      throw new IllegalStateException("the CUDA context of " + device + " is closed");
    }
    check("cuCtxSetCurrent", JCudaDriver.cuCtxSetCurrent(context));
  }

  private interface Call {
    int run();
  }

  /** What a lost context held is freed with it: asking for less only fails again. */
  private void release(Kind kind, String name, Call call) {
    live.released(kind);
    if (open && !lost) {
      enter();
      check(name, call.run());
    }
  }

  private void check(String call, int code) {
    if (code == CUresult.CUDA_SUCCESS) {
      return;
    }
    String reason = name(code);
    if (isFatal(code)) {
      lost = true;
      reason += CudaLibrary.lastTrap().map(line -> ": " + line).orElse("");
    }
    throw new DeviceException(device, call, reason);
  }

  /** Whether a call failed because there is too little memory. */
  static boolean isOutOfMemory(DeviceException failure) {
    return failure.code().equals(name(CUresult.CUDA_ERROR_OUT_OF_MEMORY));
  }

  /** Whether a context that gave this code is of no use any more. */
  static boolean isFatal(int code) {
    return FATAL.contains(code);
  }

  /** A code's name and number. */
  static String name(int code) {
    String[] name = new String[1];
    boolean known = JCudaDriver.cuGetErrorName(code, name) == CUresult.CUDA_SUCCESS;
    return (known ? name[0] : CUresult.stringFor(code)) + " (" + code + ")";
  }

  /** A C string without what follows its terminating zero. */
  static String text(byte[] bytes) {
    int length = 0;
    while (length < bytes.length && bytes[length] != 0) {
      length++;
    }
    return new String(bytes, 0, length, StandardCharsets.UTF_8);
  }
}
