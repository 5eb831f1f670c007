package dev.heddle.reference;

import dev.heddle.core.Backend;

class ReferenceBackendTest extends BackendContract {
  @Override
  protected Backend backend() {
    return new ReferenceBackend();
  }
}
