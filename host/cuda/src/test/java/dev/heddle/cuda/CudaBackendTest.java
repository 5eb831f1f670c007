package dev.heddle.cuda;

import org.junit.jupiter.api.BeforeAll;

/**
 * The contract, every kernel in every storage type that it has, on the PTX emulator, which checks
 * each access and each race.
 */
class CudaBackendTest extends CudaContract {
  @BeforeAll
  static void loadTheEmulator() {
    Emulator.loadWithCompiler();
  }

  @Override
  protected Extent extent() {
    return Extent.SMALL;
  }
}
