package dev.heddle.reference;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Operation;
import java.util.Set;

class ReferenceBackendTest extends BackendContract {
  @Override
  protected Backend backend() {
    return new ReferenceBackend();
  }

  @Override
  protected Set<DType> dtypes(Operation operation, String algorithm) {
    return Set.copyOf(DType.FLOATING);
  }

  @Override
  protected Set<AttentionOption> options(Operation operation, String algorithm) {
    return algorithm.equals("flash") ? AttentionOption.WITHOUT_SCORES : AttentionOption.ALL;
  }
}
