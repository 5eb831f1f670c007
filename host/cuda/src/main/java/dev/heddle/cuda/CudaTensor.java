package dev.heddle.cuda;

import dev.heddle.core.Closing;
import dev.heddle.core.GuardedTensor;
import dev.heddle.core.HostTensor;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.kernel.RecipeLimits;
import java.util.List;
import jcuda.driver.CUdeviceptr;

/**
 * A tensor in device memory. On the emulator it has no guard bands: that checks every access
 * against the allocation, and would take a band for valid memory.
 */
final class CudaTensor extends GuardedTensor {
  /** Size of a band: keeps the payload aligned as the driver aligns allocations. */
  static final int GUARD_BYTES = 4096;

  private static final byte GUARD = (byte) 0xA5;

  private final CudaSession session;
  private final int guardBytes;
  private final CUdeviceptr allocation;
  private final CUdeviceptr payload;

  /** Allocates and writes the guard bands. */
  CudaTensor(CudaSession session, TensorSpec spec) {
    super(session, spec);
    this.session = session;
    this.guardBytes = session.guardBytes();
    CudaDriver driver = session.driver();
    this.allocation = driver.allocate(RecipeLimits.allocation(spec.bytes(), guardBytes));
    this.payload = allocation.withByteOffset(guardBytes);
    if (guardBytes > 0) {
      try {
        driver.fill(allocation, GUARD, guardBytes, session.stream());
        driver.fill(behind(), GUARD, guardBytes, session.stream());
      } catch (RuntimeException e) {
        Closing.after(e, List.of(() -> driver.release(allocation)));
        throw e;
      }
    }
  }

  /** What kernels are given. */
  CUdeviceptr memory() {
    requireOpen();
    return payload;
  }

  private CUdeviceptr behind() {
    return payload.withByteOffset(payloadBytes());
  }

  @Override
  protected void upload(HostTensor source) {
    copied(() -> session.staging().upload(payload, source));
  }

  @Override
  protected void download(HostTensor target) {
    copied(() -> session.staging().download(target, payload));
  }

  /** The first copy of a session reserves page-locked memory. */
  private void copied(Runnable copy) {
    session.fitting(
        () -> "a copy of %s, %d bytes, wants a buffer".formatted(shape(), payloadBytes()),
        () -> {
          copy.run();
          return this;
        });
  }

  @Override
  protected void fillWithNan() {
    long elements = shape().elements();
    if (dtype().isHalf()) {
      session.driver().fill(payload, dtype().encode(Float.NaN), elements, session.stream());
    } else {
      int nan = Float.floatToRawIntBits(Float.NaN);
      session.driver().fill(payload, nan, elements * dtype().bytes() / 4, session.stream());
    }
  }

  @Override
  protected boolean bandsIntact() {
    return guardBytes == 0 || (intact(allocation) && intact(behind()));
  }

  private boolean intact(CUdeviceptr band) {
    for (byte value : session.staging().bytes(band, guardBytes)) {
      if (value != GUARD) {
        return false;
      }
    }
    return true;
  }

  @Override
  protected void free() {
    session.driver().release(allocation);
  }
}
