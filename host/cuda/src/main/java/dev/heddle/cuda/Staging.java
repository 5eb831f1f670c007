package dev.heddle.cuda;

import dev.heddle.core.Closing;
import dev.heddle.core.HostTensor;
import dev.heddle.cuda.CudaDriver.PinnedMemory;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUstream;

/**
 * Copies between host and device by way of page-locked memory: the driver would copy pageable
 * memory through buffers of its own, more slowly. Two buffers take turns, so that the host fills or
 * empties one while the device copies the other.
 */
final class Staging {
  private static final int BUFFER_BYTES = 4 << 20;

  private final CudaDriver driver;
  private final CUstream stream;
  private final List<Buffer> buffers = new ArrayList<>();

  /** A buffer, and when the device was last done with it. */
  private record Buffer(PinnedMemory memory, CUevent done) {}

  /** Allocates nothing until something is copied. */
  Staging(CudaDriver driver, CUstream stream) {
    this.driver = driver;
    this.stream = stream;
  }

  /** Copies a tensor to the device and waits until it is there. */
  void upload(CUdeviceptr target, HostTensor source) {
    long bytes = bytes(source);
    int turn = 0;
    for (long at = 0; at < bytes; at += BUFFER_BYTES) {
      Buffer buffer = buffer(turn++);
      int part = (int) Math.min(BUFFER_BYTES, bytes - at);
      driver.synchronize(buffer.done);
      fill(buffer.memory.bytes(), source, at, part);
      driver.copyToDevice(target.withByteOffset(at), buffer.memory, part, stream);
      driver.record(buffer.done, stream);
    }
    driver.synchronize(stream);
  }

  /** Copies a tensor to the host and waits until it is there. */
  void download(HostTensor target, CUdeviceptr source) {
    long bytes = bytes(target);
    long asked = 0;
    int turn = 0;
    for (long at = 0; at < bytes; at += BUFFER_BYTES) {
      while (asked < bytes && asked < at + 2L * BUFFER_BYTES) {
        Buffer next = buffer((int) (asked / BUFFER_BYTES));
        long part = Math.min(BUFFER_BYTES, bytes - asked);
        driver.copyFromDevice(next.memory, source.withByteOffset(asked), part, stream);
        driver.record(next.done, stream);
        asked += part;
      }
      Buffer buffer = buffer(turn++);
      driver.synchronize(buffer.done);
      empty(buffer.memory.bytes(), target, at, (int) Math.min(BUFFER_BYTES, bytes - at));
    }
  }

  /** Copies a few bytes to the host. */
  byte[] bytes(CUdeviceptr source, int count) {
    Buffer buffer = buffer(0);
    driver.copyFromDevice(buffer.memory, source, count, stream);
    driver.synchronize(stream);
    byte[] bytes = new byte[count];
    buffer.memory.bytes().get(0, bytes);
    return bytes;
  }

  /** Frees the buffers. */
  void release() {
    List<Runnable> steps = new ArrayList<>();
    for (Buffer buffer : buffers) {
      steps.add(() -> driver.release(buffer.done));
      steps.add(() -> driver.release(buffer.memory));
    }
    buffers.clear();
    Closing.all(steps);
  }

  private Buffer buffer(int turn) {
    while (buffers.size() < 2) {
      PinnedMemory memory = driver.allocatePinned(BUFFER_BYTES);
      try {
        buffers.add(new Buffer(memory, driver.createEvent()));
      } catch (RuntimeException e) {
        Closing.after(e, List.of(() -> driver.release(memory)));
        throw e;
      }
    }
    return buffers.get(turn % 2);
  }

  private static long bytes(HostTensor tensor) {
    return (long) tensor.size() * tensor.dtype().bytes();
  }

  private static void fill(ByteBuffer buffer, HostTensor source, long at, int bytes) {
    MemorySegment.ofBuffer(buffer).copyFrom(source.segment().asSlice(at, bytes));
  }

  private static void empty(ByteBuffer buffer, HostTensor target, long at, int bytes) {
    target.segment().asSlice(at, bytes).copyFrom(MemorySegment.ofBuffer(buffer).asSlice(0, bytes));
  }
}
