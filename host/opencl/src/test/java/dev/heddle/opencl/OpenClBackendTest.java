package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.Operation;
import dev.heddle.reference.BackendContract;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;

/**
 * The contract on every OpenCL device that is present, and nothing left behind at the end of it.
 */
class OpenClBackendTest extends BackendContract {
  private static final OpenClBackend BACKEND = new OpenClBackend();

  @Override
  protected Backend backend() {
    return BACKEND;
  }

  @Override
  protected Set<DType> dtypes(Operation operation, String algorithm) {
    return Set.copyOf(DType.FLOATING);
  }

  @Override
  protected Set<AttentionOption> options(Operation operation, String algorithm) {
    return algorithm.equals("naive") || algorithm.equals("staged")
        ? AttentionOption.ALL
        : AttentionOption.WITHOUT_SCORES;
  }

  /**
   * Most of the time goes into compiling programs; what is special to 16 bits is in small shapes.
   */
  @Override
  protected Extent extent(DType dtype) {
    return dtype == DType.FP32 ? Extent.FULL : Extent.SMALL;
  }

  /** llvmpipe ends loops after 65535 iterations: 300 tokens of a head of 64 are too many. */
  @Override
  protected boolean isOrdinary(Device device, Operation operation, String algorithm) {
    boolean endsLoops = device.name().startsWith("llvmpipe");
    return super.isOrdinary(device, operation, algorithm)
        && !(endsLoops
            && operation instanceof LinearAttention linear
            && linear.shape().seqlenK() * linear.shape().headDim() > 1 << 13);
  }

  @Override
  protected Set<String> limits(Device device) {
    Set<String> limits = new HashSet<>(super.limits(device));
    limits.add("loopIterations");
    return limits;
  }

  @AfterAll
  static void nothingIsLeftOnAnyDevice() {
    assertThat(BACKEND.liveObjects().total()).as(BACKEND.liveObjects().toString()).isZero();
  }
}
