package dev.heddle.vector;

import dev.heddle.core.Backend;
import dev.heddle.reference.BackendContract;

class VectorBackendTest extends BackendContract {
  @Override
  protected Backend backend() {
    return new VectorBackend();
  }
}
