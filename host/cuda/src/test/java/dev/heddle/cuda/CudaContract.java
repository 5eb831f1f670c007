package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.reference.BackendContract;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;

/** What the backend declares, and that nothing is left behind at the end of the contract. */
abstract class CudaContract extends BackendContract {
  private static final Pattern CAPABILITY = Pattern.compile("compute capability (\\d+)\\.\\d+");
  private static final CudaBackend BACKEND = new CudaBackend();

  @AfterAll
  static void nothingIsLeftOnTheDevice() {
    assertThat(BACKEND.liveObjects().total()).as(BACKEND.liveObjects().toString()).isZero();
  }

  @Override
  protected Backend backend() {
    return BACKEND;
  }

  @Override
  protected Set<DType> dtypes(Operation operation, String algorithm) {
    Set<DType> halves = Set.of(DType.FP16, DType.BF16);
    return switch (algorithm) {
      case "flash_mma", "mma" -> halves;
      case "splitkv", "transpose", "append", "embedding", "recurrent" -> Set.copyOf(DType.FLOATING);
      default -> Set.of(DType.FP32);
    };
  }

  @Override
  protected Set<AttentionOption> options(Operation operation, String algorithm) {
    return switch (algorithm) {
      case "naive", "staged" -> AttentionOption.ALL;
      case "flash" -> AttentionOption.WITHOUT_SCORES;
      case "splitkv" -> Set.of(AttentionOption.KEY_LENGTHS);
      default -> Set.of();
    };
  }

  /**
   * Rows of queries, keys and values are read 16 bytes at a time above {@code staged}, and by
   * tensor cores 64. Devices before compute capability 8.0 have no such tensor cores, and 64 KiB of
   * shared memory, which is enough for head dims up to 128.
   */
  @Override
  protected boolean isOrdinary(Device device, Operation operation, String algorithm) {
    return switch (operation) {
      case AttentionProblem attention ->
          switch (algorithm) {
            case "flash", "splitkv" ->
                divides(16 / operation.dtype().bytes(), attention.shape())
                    && (isAmpereOrNewer(device) || largest(attention.shape()) <= 128);
            case "flash_mma" -> isAmpereOrNewer(device) && divides(32, attention.shape());
            default -> true;
          };
      default -> !algorithm.equals("mma") || isAmpereOrNewer(device);
    };
  }

  private static boolean isAmpereOrNewer(Device device) {
    Matcher capability = CAPABILITY.matcher(device.driver());
    assertThat(capability.find()).as(device.driver()).isTrue();
    return Integer.parseInt(capability.group(1)) >= 8;
  }

  private static boolean divides(int multiple, AttentionShape shape) {
    return shape.headDim() % multiple == 0
        && shape.headDimV() % multiple == 0
        && largest(shape) <= 256;
  }

  private static int largest(AttentionShape shape) {
    return Math.max(shape.headDim(), shape.headDimV());
  }

  @Override
  protected Set<String> limits(Device device) {
    return isAmpereOrNewer(device)
        ? Set.of("headDim")
        : Set.of("headDim", "localMemoryBytes", CudaDevice.CAPABILITY);
  }
}
