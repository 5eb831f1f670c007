package dev.heddle.tornado;

import dev.heddle.core.GuardedTensor;
import dev.heddle.core.HostTensor;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.kernel.RecipeLimits;
import dev.heddle.tornado.kernels.Tensors;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;
import uk.ac.manchester.tornado.api.types.arrays.TornadoNativeArray;
import uk.ac.manchester.tornado.runtime.common.XPUDeviceBufferState;

/**
 * A tensor in a device buffer of TornadoVM's, and the array on the host from which TornadoVM copies
 * to it and back.
 *
 * <pre>{@code
 * | header | guard band | payload | guard band |
 * }</pre>
 *
 * <p>TornadoVM copies to a device only whole arrays, so an upload writes the bands anew.
 */
final class TornadoTensor extends GuardedTensor {
  private static final byte GUARD = (byte) 0xA5;
  private static final byte NO_GUARD = (byte) 0x5A;

  private final TornadoSession session;
  private final TornadoDriver driver;
  private final TornadoNativeArray array;
  private final long bandBytes;
  private final XPUDeviceBufferState buffer;

  /** Allocates and writes the guard bands. */
  TornadoTensor(TornadoSession session, TensorSpec spec) {
    super(session, spec);
    this.session = session;
    this.driver = session.driver();
    this.array = array(spec);
    this.bandBytes = (long) Tensors.BAND * spec.dtype().bytes();
    this.buffer = driver.allocate(array);
    guard();
    try {
      driver.upload(array, buffer);
    } catch (RuntimeException | Error e) {
      driver.release(buffer);
      throw e;
    }
  }

  private static TornadoNativeArray array(TensorSpec spec) {
    int elements = Math.toIntExact(spec.shape().elements() + 2L * Tensors.BAND);
    return switch (spec.dtype()) {
      case FP32 -> new FloatArray(elements);
      case FP16, BF16 -> new ShortArray(elements);
      case INT32 -> new IntArray(elements);
      case BOOL -> new ByteArray(elements);
    };
  }

  /** What kernels are given. */
  XPUDeviceBufferState buffer() {
    requireOpen();
    return buffer;
  }

  private MemorySegment before() {
    return array.getSegment().asSlice(0, bandBytes);
  }

  private MemorySegment payload() {
    return array.getSegment().asSlice(bandBytes, payloadBytes());
  }

  private MemorySegment behind() {
    return array.getSegment().asSlice(bandBytes + payloadBytes(), bandBytes);
  }

  private void guard() {
    before().fill(GUARD);
    behind().fill(GUARD);
  }

  @Override
  protected void upload(HostTensor source) {
    payload().copyFrom(source.segment());
    driver.upload(array, buffer);
  }

  @Override
  protected void download(HostTensor target) {
    fetch(bandBytes, payloadBytes());
    target.segment().copyFrom(payload());
  }

  @Override
  protected void fillWithNan() {
    MemorySegment payload = payload();
    if (dtype().isHalf()) {
      short nan = dtype().encode(Float.NaN);
      for (long i = 0; i < shape().elements(); i++) {
        payload.setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i, nan);
      }
    } else {
      for (long i = 0; i < payloadBytes() / Float.BYTES; i++) {
        payload.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, Float.NaN);
      }
    }
    driver.upload(array, buffer);
  }

  @Override
  protected boolean bandsIntact() {
    // What can't be fetched must not pass for intact.
    before().fill(NO_GUARD);
    behind().fill(NO_GUARD);
    fetch(0, bandBytes);
    fetch(bandBytes + payloadBytes(), bandBytes);
    boolean intact = isGuard(before()) && isGuard(behind());
    // The next upload writes the bands of the host's array.
    guard();
    return intact;
  }

  private void fetch(long offset, long bytes) {
    driver.download(array, buffer, TornadoNativeArray.ARRAY_HEADER + offset, bytes);
  }

  private static boolean isGuard(MemorySegment band) {
    for (long i = 0; i < band.byteSize(); i++) {
      if (band.get(ValueLayout.JAVA_BYTE, i) != GUARD) {
        return false;
      }
    }
    return true;
  }

  @Override
  protected void free() {
    session.freed(RecipeLimits.allocation(payloadBytes(), Limits.bandBytes(dtype())));
    driver.release(buffer);
  }
}
