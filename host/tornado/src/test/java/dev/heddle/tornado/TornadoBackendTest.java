package dev.heddle.tornado;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Operation;
import dev.heddle.reference.BackendContract;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;

/** The contract on every device that TornadoVM has, and nothing left behind at the end of it. */
class TornadoBackendTest extends BackendContract {
  private static final TornadoBackend BACKEND = new TornadoBackend();

  @Override
  protected Backend backend() {
    return BACKEND;
  }

  @Override
  protected Set<DType> dtypes(Operation operation, String algorithm) {
    return Set.copyOf(DType.FLOATING);
  }

  @AfterAll
  static void nothingIsLeftOnAnyDevice() {
    assertThat(BACKEND.liveObjects().total()).as(BACKEND.liveObjects().toString()).isZero();
  }
}
