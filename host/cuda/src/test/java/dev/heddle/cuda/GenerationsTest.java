package dev.heddle.cuda;

import dev.heddle.core.Backend;
import dev.heddle.core.Device;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;

/**
 * The contract's promise of what is refused, for a device of each generation: the emulator plays
 * one of them, and the contract has to hold on every card that the backend offers.
 */
class GenerationsTest {
  private static final List<CudaDevice> DEVICES = ShippedKernels.devices();

  @BeforeAll
  static void somethingMakesKernels() {
    CompilerSearch search = CompilerSearch.onThisMachine();
    Assumptions.assumeTrue(search.compiler().isPresent(), search.missing());
  }

  @TestFactory
  Stream<DynamicNode> eachRefusesWhatItDoesNotDeclareAndNothingElse() {
    return new Planned().refusesWhatItDoesNotDeclareAndNothingElse();
  }

  /** The contract on devices that need not be there. */
  private static final class Planned extends CudaContract {
    private final CudaBackend backend = new CudaBackend(DEVICES);

    @Override
    protected Backend backend() {
      return backend;
    }

    @Override
    protected List<Device> devices() {
      return DEVICES.stream().map(CudaDevice::device).toList();
    }
  }
}
