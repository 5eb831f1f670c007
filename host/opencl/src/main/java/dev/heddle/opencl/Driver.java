package dev.heddle.opencl;

import static org.jocl.CL.CL_BUFFER_CREATE_TYPE_REGION;
import static org.jocl.CL.CL_BUILD_PROGRAM_FAILURE;
import static org.jocl.CL.CL_CONTEXT_PLATFORM;
import static org.jocl.CL.CL_KERNEL_ARG_ADDRESS_QUALIFIER;
import static org.jocl.CL.CL_KERNEL_ARG_NAME;
import static org.jocl.CL.CL_KERNEL_ARG_TYPE_NAME;
import static org.jocl.CL.CL_KERNEL_LOCAL_MEM_SIZE;
import static org.jocl.CL.CL_KERNEL_NUM_ARGS;
import static org.jocl.CL.CL_MEM_READ_WRITE;
import static org.jocl.CL.CL_PROFILING_COMMAND_END;
import static org.jocl.CL.CL_PROFILING_COMMAND_START;
import static org.jocl.CL.CL_PROGRAM_BUILD_LOG;
import static org.jocl.CL.CL_QUEUE_PROFILING_ENABLE;
import static org.jocl.CL.CL_SUCCESS;
import static org.jocl.CL.CL_TRUE;

import dev.heddle.core.DeviceException;
import dev.heddle.core.KernelBuildException;
import dev.heddle.core.kernel.KernelSource;
import dev.heddle.opencl.LiveObjects.Kind;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.jocl.CL;
import org.jocl.Pointer;
import org.jocl.Sizeof;
import org.jocl.cl_buffer_region;
import org.jocl.cl_command_queue;
import org.jocl.cl_context;
import org.jocl.cl_context_properties;
import org.jocl.cl_device_id;
import org.jocl.cl_event;
import org.jocl.cl_kernel;
import org.jocl.cl_mem;
import org.jocl.cl_platform_id;
import org.jocl.cl_program;
import org.jspecify.annotations.Nullable;

/**
 * OpenCL's calls for one device: every code is checked and becomes a {@link DeviceException} with
 * the call's name, everything created is counted until it is released.
 */
final class Driver {

  /** Where an argument lives, as the kernel's own signature says. */
  enum AddressSpace {
    GLOBAL,
    LOCAL,
    CONSTANT,
    PRIVATE
  }

  private static final int ADDRESS_GLOBAL = 0x119B;
  private static final int ADDRESS_LOCAL = 0x119C;
  private static final int ADDRESS_CONSTANT = 0x119D;

  private final String device;
  private final LiveObjects live;

  Driver(String device, LiveObjects live) {
    this.device = device;
    this.live = live;
  }

  cl_context createContext(cl_platform_id platform, cl_device_id id) {
    cl_context_properties properties = new cl_context_properties();
    properties.addProperty(CL_CONTEXT_PLATFORM, platform);
    int[] code = new int[1];
    cl_context context =
        CL.clCreateContext(properties, 1, new cl_device_id[] {id}, null, null, code);
    check("clCreateContext", code[0]);
    live.created(Kind.CONTEXT);
    return context;
  }

  @SuppressWarnings("deprecation") // OpenCL 1.2 devices know no other call
  cl_command_queue createQueue(cl_context context, cl_device_id id) {
    int[] code = new int[1];
    cl_command_queue queue = CL.clCreateCommandQueue(context, id, CL_QUEUE_PROFILING_ENABLE, code);
    check("clCreateCommandQueue", code[0]);
    live.created(Kind.QUEUE);
    return queue;
  }

  cl_mem createBuffer(cl_context context, long bytes) {
    int[] code = new int[1];
    cl_mem memory = CL.clCreateBuffer(context, CL_MEM_READ_WRITE, bytes, null, code);
    check("clCreateBuffer of " + bytes + " bytes", code[0]);
    live.created(Kind.MEMORY);
    return memory;
  }

  cl_mem createSubBuffer(cl_mem parent, long origin, long bytes) {
    int[] code = new int[1];
    cl_mem memory =
        CL.clCreateSubBuffer(
            parent,
            CL_MEM_READ_WRITE,
            CL_BUFFER_CREATE_TYPE_REGION,
            new cl_buffer_region(origin, bytes),
            code);
    check("clCreateSubBuffer of " + bytes + " bytes", code[0]);
    live.created(Kind.MEMORY);
    return memory;
  }

  void fill(cl_command_queue queue, cl_mem memory, byte[] pattern, long offset, long bytes) {
    check(
        "clEnqueueFillBuffer",
        CL.clEnqueueFillBuffer(
            queue, memory, Pointer.to(pattern), pattern.length, offset, bytes, 0, null, null));
  }

  void write(cl_command_queue queue, cl_mem memory, long bytes, Pointer source) {
    check(
        "clEnqueueWriteBuffer",
        CL.clEnqueueWriteBuffer(queue, memory, CL_TRUE, 0, bytes, source, 0, null, null));
  }

  void read(cl_command_queue queue, cl_mem memory, long offset, long bytes, Pointer target) {
    check(
        "clEnqueueReadBuffer",
        CL.clEnqueueReadBuffer(queue, memory, CL_TRUE, offset, bytes, target, 0, null, null));
  }

  /**
   * Compiles.
   *
   * @throws KernelBuildException with the compiler's log
   */
  cl_program build(cl_context context, cl_device_id id, KernelSource source, String options) {
    int[] code = new int[1];
    cl_program program =
        CL.clCreateProgramWithSource(context, 1, new String[] {source.text()}, null, code);
    check("clCreateProgramWithSource", code[0]);
    live.created(Kind.PROGRAM);
    int built = CL.clBuildProgram(program, 1, new cl_device_id[] {id}, options, null, null);
    if (built != CL_SUCCESS) {
      String log = buildLog(program, id);
      release(program);
      if (built == CL_BUILD_PROGRAM_FAILURE) {
        throw new KernelBuildException(source.file(), log, source.text());
      }
      throw failure("clBuildProgram", built);
    }
    return program;
  }

  private String buildLog(cl_program program, cl_device_id id) {
    long[] size = new long[1];
    check(
        "clGetProgramBuildInfo",
        CL.clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, 0, null, size));
    byte[] log = new byte[(int) size[0]];
    check(
        "clGetProgramBuildInfo",
        CL.clGetProgramBuildInfo(
            program, id, CL_PROGRAM_BUILD_LOG, log.length, Pointer.to(log), null));
    return text(log);
  }

  cl_kernel createKernel(cl_program program, String name) {
    int[] code = new int[1];
    cl_kernel kernel = CL.clCreateKernel(program, name, code);
    check("clCreateKernel(" + name + ")", code[0]);
    live.created(Kind.KERNEL);
    return kernel;
  }

  int argumentCount(cl_kernel kernel) {
    int[] count = new int[1];
    check(
        "clGetKernelInfo",
        CL.clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, Sizeof.cl_uint, Pointer.to(count), null));
    return count[0];
  }

  String argumentName(cl_kernel kernel, int index) {
    return argumentText(kernel, index, CL_KERNEL_ARG_NAME);
  }

  String argumentType(cl_kernel kernel, int index) {
    return argumentText(kernel, index, CL_KERNEL_ARG_TYPE_NAME);
  }

  AddressSpace argumentAddressSpace(cl_kernel kernel, int index) {
    int[] space = new int[1];
    check(
        "clGetKernelArgInfo",
        CL.clGetKernelArgInfo(
            kernel,
            index,
            CL_KERNEL_ARG_ADDRESS_QUALIFIER,
            Sizeof.cl_uint,
            Pointer.to(space),
            null));
    return switch (space[0]) {
      case ADDRESS_GLOBAL -> AddressSpace.GLOBAL;
      case ADDRESS_LOCAL -> AddressSpace.LOCAL;
      case ADDRESS_CONSTANT -> AddressSpace.CONSTANT;
      default -> AddressSpace.PRIVATE;
    };
  }

  private String argumentText(cl_kernel kernel, int index, int what) {
    long[] size = new long[1];
    check("clGetKernelArgInfo", CL.clGetKernelArgInfo(kernel, index, what, 0, null, size));
    byte[] bytes = new byte[(int) size[0]];
    check(
        "clGetKernelArgInfo",
        CL.clGetKernelArgInfo(kernel, index, what, bytes.length, Pointer.to(bytes), null));
    return text(bytes);
  }

  /** Local memory that a compiled kernel takes, bytes. */
  long localMemory(cl_kernel kernel, cl_device_id id) {
    long[] bytes = new long[1];
    check(
        "clGetKernelWorkGroupInfo",
        CL.clGetKernelWorkGroupInfo(
            kernel, id, CL_KERNEL_LOCAL_MEM_SIZE, Sizeof.cl_ulong, Pointer.to(bytes), null));
    return bytes[0];
  }

  void setBuffer(cl_kernel kernel, int index, @Nullable cl_mem memory) {
    Pointer value = memory == null ? null : Pointer.to(memory);
    check("clSetKernelArg", CL.clSetKernelArg(kernel, index, Sizeof.cl_mem, value));
  }

  void setBytes(cl_kernel kernel, int index, byte[] bytes) {
    ByteBuffer direct = ByteBuffer.allocateDirect(bytes.length).order(ByteOrder.nativeOrder());
    direct.put(bytes).flip();
    check("clSetKernelArg", CL.clSetKernelArg(kernel, index, bytes.length, Pointer.to(direct)));
  }

  /** Queues a kernel; the event that times it is the caller's to release. */
  cl_event enqueue(cl_command_queue queue, cl_kernel kernel, long[] global, long[] local) {
    cl_event event = new cl_event();
    check(
        "clEnqueueNDRangeKernel",
        CL.clEnqueueNDRangeKernel(
            queue, kernel, global.length, null, global, local, 0, null, event));
    live.created(Kind.EVENT);
    return event;
  }

  /** Time between a finished kernel's start and end on the device's clock, ns. */
  long elapsed(cl_event event) {
    long[] start = new long[1];
    long[] end = new long[1];
    check(
        "clGetEventProfilingInfo",
        CL.clGetEventProfilingInfo(
            event, CL_PROFILING_COMMAND_START, Sizeof.cl_ulong, Pointer.to(start), null));
    check(
        "clGetEventProfilingInfo",
        CL.clGetEventProfilingInfo(
            event, CL_PROFILING_COMMAND_END, Sizeof.cl_ulong, Pointer.to(end), null));
    return end[0] - start[0];
  }

  void finish(cl_command_queue queue) {
    check("clFinish", CL.clFinish(queue));
  }

  void release(cl_event event) {
    live.released(Kind.EVENT);
    check("clReleaseEvent", CL.clReleaseEvent(event));
  }

  void release(cl_kernel kernel) {
    live.released(Kind.KERNEL);
    check("clReleaseKernel", CL.clReleaseKernel(kernel));
  }

  void release(cl_program program) {
    live.released(Kind.PROGRAM);
    check("clReleaseProgram", CL.clReleaseProgram(program));
  }

  void release(cl_mem memory) {
    live.released(Kind.MEMORY);
    check("clReleaseMemObject", CL.clReleaseMemObject(memory));
  }

  void release(cl_command_queue queue) {
    live.released(Kind.QUEUE);
    check("clReleaseCommandQueue", CL.clReleaseCommandQueue(queue));
  }

  void release(cl_context context) {
    live.released(Kind.CONTEXT);
    check("clReleaseContext", CL.clReleaseContext(context));
  }

  private void check(String call, int code) {
    if (code != CL_SUCCESS) {
      throw failure(call, code);
    }
  }

  private DeviceException failure(String call, int code) {
    return new DeviceException(device, call, CL.stringFor_errorCode(code));
  }

  /** A C string without its terminating zero. */
  static String text(byte[] bytes) {
    int length = bytes.length;
    while (length > 0 && bytes[length - 1] == 0) {
      length--;
    }
    return new String(Arrays.copyOf(bytes, length), StandardCharsets.UTF_8);
  }
}
