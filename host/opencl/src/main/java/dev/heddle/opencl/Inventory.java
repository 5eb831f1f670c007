package dev.heddle.opencl;

import static org.jocl.CL.CL_DEVICE_NOT_FOUND;
import static org.jocl.CL.CL_SUCCESS;

import dev.heddle.core.DeviceException;
import java.util.List;
import org.jocl.CL;
import org.jocl.Pointer;
import org.jocl.Sizeof;
import org.jocl.cl_device_id;
import org.jocl.cl_platform_id;
import org.jspecify.annotations.Nullable;

/**
 * What the OpenCL loader answers when it is asked which platforms and devices there are. Every
 * question throws {@link DeviceException} when the driver refuses to answer it.
 */
interface Inventory {

  /** The platforms; none is no error. */
  List<cl_platform_id> platforms();

  /** The devices of a platform; none is no error. */
  List<cl_device_id> devices(cl_platform_id platform);

  /** A platform's answer that is a text. */
  String text(cl_platform_id platform, int what);

  /** A device's answer that is a text. */
  String text(cl_device_id device, int what);

  /** A device's answer that is an unsigned number of so many bytes; at most 2^63 - 1 is told. */
  long number(cl_device_id device, int what, int bytes);

  /** The inventory of this machine. The first question loads JOCL and the OpenCL loader. */
  static Inventory ofThisMachine() {
    return new Loader();
  }

  /** Asks the loader through JOCL. */
  final class Loader implements Inventory {
    /** JOCL's constant of this name is sign-extended to 64 ones, which rusticl refuses. */
    private static final long ALL_DEVICE_TYPES = 0xFFFFFFFFL;

    /** What the ICD loader answers when no vendor is registered. */
    private static final int PLATFORM_NOT_FOUND = -1001;

    private Loader() {}

    @Override
    public List<cl_platform_id> platforms() {
      int[] count = new int[1];
      int code = CL.clGetPlatformIDs(0, null, count);
      if (code == PLATFORM_NOT_FOUND || (code == CL_SUCCESS && count[0] == 0)) {
        return List.of();
      }
      check("clGetPlatformIDs", code);
      cl_platform_id[] platforms = new cl_platform_id[count[0]];
      check("clGetPlatformIDs", CL.clGetPlatformIDs(platforms.length, platforms, null));
      return List.of(platforms);
    }

    @Override
    public List<cl_device_id> devices(cl_platform_id platform) {
      int[] count = new int[1];
      int code = CL.clGetDeviceIDs(platform, ALL_DEVICE_TYPES, 0, null, count);
      if (code == CL_DEVICE_NOT_FOUND || (code == CL_SUCCESS && count[0] == 0)) {
        return List.of();
      }
      check("clGetDeviceIDs", code);
      cl_device_id[] ids = new cl_device_id[count[0]];
      check("clGetDeviceIDs", CL.clGetDeviceIDs(platform, ALL_DEVICE_TYPES, ids.length, ids, null));
      return List.of(ids);
    }

    @Override
    public String text(cl_platform_id platform, int what) {
      return text(
          "clGetPlatformInfo",
          (bytes, value, size) -> CL.clGetPlatformInfo(platform, what, bytes, value, size));
    }

    @Override
    public String text(cl_device_id device, int what) {
      return text(
          "clGetDeviceInfo",
          (bytes, value, size) -> CL.clGetDeviceInfo(device, what, bytes, value, size));
    }

    @Override
    public long number(cl_device_id device, int what, int bytes) {
      if (bytes == Sizeof.cl_uint) {
        int[] value = new int[1];
        check("clGetDeviceInfo", CL.clGetDeviceInfo(device, what, bytes, Pointer.to(value), null));
        return Integer.toUnsignedLong(value[0]);
      }
      long[] value = new long[1];
      check("clGetDeviceInfo", CL.clGetDeviceInfo(device, what, bytes, Pointer.to(value), null));
      return value[0] < 0 ? Long.MAX_VALUE : value[0];
    }

    /** One of OpenCL's calls that first tell a size and then fill that many bytes. */
    private interface Query {
      int ask(long bytes, @Nullable Pointer value, long @Nullable [] size);
    }

    private static String text(String call, Query query) {
      long[] size = new long[1];
      check(call, query.ask(0, null, size));
      byte[] bytes = new byte[Math.toIntExact(size[0])];
      check(call, query.ask(size[0], Pointer.to(bytes), null));
      return Driver.text(bytes).strip();
    }

    private static void check(String call, int code) {
      if (code != CL_SUCCESS) {
        throw new DeviceException("this machine", call, CL.stringFor_errorCode(code));
      }
    }
  }
}
