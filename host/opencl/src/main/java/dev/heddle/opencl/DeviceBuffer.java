package dev.heddle.opencl;

import dev.heddle.core.Closing;
import dev.heddle.core.GuardedTensor;
import dev.heddle.core.HostTensor;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.kernel.RecipeLimits;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.jocl.Pointer;
import org.jocl.cl_mem;

/**
 * A tensor in device memory: the middle of an allocation whose ends hold a pattern.
 *
 * <pre>{@code
 * | guard band | payload, what kernels are given | guard band |
 * 0            guardBytes                        guardBytes + payload
 * }</pre>
 *
 * <p>Without guard bands the allocation is the payload itself, for a simulator that checks every
 * access against the allocation and would take a band for valid memory.
 */
final class DeviceBuffer extends GuardedTensor {
  /** Smallest band; a power of two that devices' alignments divide. */
  static final int GUARD_BYTES = 4096;

  private static final byte GUARD = (byte) 0xA5;

  private final OpenClSession session;
  private final Driver driver;
  private final int guardBytes;
  private final cl_mem allocation;
  private final cl_mem payload;

  /** Allocates and writes the guard bands. */
  DeviceBuffer(OpenClSession session, TensorSpec spec) {
    super(session, spec);
    this.session = session;
    this.driver = session.driver();
    this.guardBytes = session.guardBytes();
    this.allocation = driver.createBuffer(session.context(), allocatedBytes());
    cl_mem middle = null;
    try {
      if (guardBytes > 0) {
        middle = driver.createSubBuffer(allocation, guardBytes, payloadBytes());
        byte[] pattern = {GUARD};
        driver.fill(session.queue(), allocation, pattern, 0, guardBytes);
        driver.fill(session.queue(), allocation, pattern, guardBytes + payloadBytes(), guardBytes);
      }
    } catch (RuntimeException e) {
      if (middle != null) {
        driver.release(middle);
      }
      driver.release(allocation);
      throw e;
    }
    this.payload = middle == null ? allocation : middle;
  }

  /** What kernels are given. */
  cl_mem memory() {
    requireOpen();
    return payload;
  }

  /** Bytes that the device holds for it, guard bands included. */
  private long allocatedBytes() {
    return RecipeLimits.allocation(payloadBytes(), guardBytes);
  }

  @Override
  protected void upload(HostTensor source) {
    driver.write(session.queue(), payload, payloadBytes(), pointer(source));
  }

  @Override
  protected void download(HostTensor target) {
    driver.read(session.queue(), payload, 0, payloadBytes(), pointer(target));
  }

  @Override
  protected void fillWithNan() {
    ByteBuffer nan = ByteBuffer.allocate(dtype().bytes()).order(ByteOrder.nativeOrder());
    switch (dtype()) {
      case FP32 -> nan.putFloat(Float.NaN);
      case FP16, BF16 -> nan.putShort(dtype().encode(Float.NaN));
      case INT32 -> nan.putInt(Integer.MIN_VALUE);
      case BOOL -> nan.put((byte) -1);
    }
    driver.fill(session.queue(), payload, nan.array(), 0, payloadBytes());
  }

  @Override
  protected boolean bandsIntact() {
    return guardBytes == 0 || (intact(0) && intact(guardBytes + payloadBytes()));
  }

  private boolean intact(long offset) {
    byte[] band = new byte[guardBytes];
    driver.read(session.queue(), allocation, offset, guardBytes, Pointer.to(band));
    for (byte value : band) {
      if (value != GUARD) {
        return false;
      }
    }
    return true;
  }

  @Override
  protected void free() {
    List<Runnable> steps = new ArrayList<>();
    if (guardBytes > 0) {
      steps.add(() -> driver.release(payload));
    }
    steps.add(() -> driver.release(allocation));
    session.freed(allocatedBytes());
    Closing.all(steps);
  }

  private static Pointer pointer(HostTensor tensor) {
    return switch (tensor.dtype()) {
      case FP32 -> Pointer.to(tensor.floats());
      case FP16, BF16 -> Pointer.to(tensor.patterns());
      case INT32 -> Pointer.to(tensor.ints());
      case BOOL -> Pointer.to(tensor.bytes());
    };
  }
}
