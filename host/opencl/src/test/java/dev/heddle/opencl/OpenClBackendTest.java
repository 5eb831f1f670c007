package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Operation;
import dev.heddle.reference.BackendContract;
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

  @AfterAll
  static void nothingIsLeftOnAnyDevice() {
    assertThat(BACKEND.liveObjects().total()).as(BACKEND.liveObjects().toString()).isZero();
  }
}
