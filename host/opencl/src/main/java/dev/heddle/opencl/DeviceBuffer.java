package dev.heddle.opencl;

import dev.heddle.core.DType;
import dev.heddle.core.DeviceTensor;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jocl.Pointer;
import org.jocl.cl_command_queue;
import org.jocl.cl_context;
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
final class DeviceBuffer implements DeviceTensor {
  /** Smallest band; a power of two that devices' alignments divide. */
  static final int GUARD_BYTES = 4096;

  private static final byte GUARD = (byte) 0xA5;

  private final Driver driver;
  private final cl_command_queue queue;
  private final Shape shape;
  private final DType dtype;
  private final int guardBytes;
  private final Consumer<DeviceBuffer> onClose;
  private final cl_mem allocation;
  private final cl_mem payload;
  private final List<DeviceBuffer> scratch = new ArrayList<>();
  private boolean open = true;

  /**
   * Allocates and writes the guard bands.
   *
   * @param guardBytes size of each band, a multiple of the device's alignment, or 0
   * @param onClose told when the tensor is closed
   */
  DeviceBuffer(
      Driver driver,
      cl_context context,
      cl_command_queue queue,
      Shape shape,
      DType dtype,
      int guardBytes,
      Consumer<DeviceBuffer> onClose) {
    this.driver = driver;
    this.queue = queue;
    this.shape = shape;
    this.dtype = dtype;
    this.guardBytes = guardBytes;
    this.onClose = onClose;
    this.allocation = driver.createBuffer(context, payloadBytes() + 2L * guardBytes);
    cl_mem middle = null;
    try {
      if (guardBytes > 0) {
        middle = driver.createSubBuffer(allocation, guardBytes, payloadBytes());
        driver.fill(queue, allocation, new byte[] {GUARD}, 0, guardBytes);
        driver.fill(queue, allocation, new byte[] {GUARD}, guardBytes + payloadBytes(), guardBytes);
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
  long allocatedBytes() {
    return payloadBytes() + 2L * guardBytes;
  }

  private long payloadBytes() {
    return Math.multiplyExact(shape.elements(), (long) dtype.bytes());
  }

  @Override
  public Shape shape() {
    return shape;
  }

  @Override
  public DType dtype() {
    return dtype;
  }

  @Override
  public void write(HostTensor source) {
    requireOpen();
    if (source.dtype() != dtype || source.size() != shape.elements()) {
      throw new IllegalArgumentException(
          "can't write "
              + source.dtype().label()
              + " "
              + source.shape()
              + " to "
              + dtype.label()
              + " "
              + shape);
    }
    driver.write(queue, payload, payloadBytes(), pointer(source));
  }

  @Override
  public HostTensor read() {
    requireOpen();
    HostTensor target = HostTensor.zeros(shape, dtype);
    driver.read(queue, payload, 0, payloadBytes(), pointer(target));
    return target;
  }

  @Override
  public void poison() {
    requireOpen();
    ByteBuffer nan = ByteBuffer.allocate(dtype.bytes()).order(ByteOrder.nativeOrder());
    if (dtype == DType.FP32) {
      nan.putFloat(Float.NaN);
    } else {
      nan.putShort(dtype.encode(Float.NaN));
    }
    driver.fill(queue, payload, nan.array(), 0, payloadBytes());
  }

  /** The bands of this tensor and of the scratch tensors that led to it. */
  @Override
  public boolean guardsIntact() {
    requireOpen();
    return (guardBytes == 0 || (intact(0) && intact(guardBytes + payloadBytes())))
        && scratch.stream().allMatch(DeviceBuffer::guardsIntact);
  }

  /** Answers for a scratch tensor's guard bands too, as long as that is open. */
  void watch(DeviceBuffer other) {
    scratch.add(other);
  }

  /** No longer answers for a scratch tensor. */
  void unwatch(DeviceBuffer other) {
    scratch.remove(other);
  }

  private boolean intact(long offset) {
    byte[] band = new byte[guardBytes];
    driver.read(queue, allocation, offset, guardBytes, Pointer.to(band));
    for (byte value : band) {
      if (value != GUARD) {
        return false;
      }
    }
    return true;
  }

  @Override
  public void close() {
    if (open) {
      open = false;
      if (guardBytes > 0) {
        driver.release(payload);
      }
      driver.release(allocation);
      onClose.accept(this);
    }
  }

  private static Pointer pointer(HostTensor tensor) {
    return tensor.dtype() == DType.FP32
        ? Pointer.to(tensor.floats())
        : Pointer.to(tensor.patterns());
  }

  private void requireOpen() {
    if (!open) {
      throw new IllegalStateException("the tensor is closed");
    }
  }
}
