package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Operation;
import dev.heddle.reference.BackendContract;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;

/** What the backend declares, and that nothing is left behind at the end of the contract. */
abstract class CudaContract extends BackendContract {
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
      case "splitkv", "transpose" -> Set.of(DType.values());
      default -> Set.of(DType.FP32);
    };
  }

  /**
   * Rows of queries, keys and values are read 16 bytes at a time above {@code staged}, and by
   * tensor cores 64.
   */
  @Override
  protected boolean isOrdinary(Operation operation, String algorithm) {
    return switch (operation) {
      case AttentionProblem attention ->
          switch (algorithm) {
            case "flash", "splitkv" -> divides(16 / operation.dtype().bytes(), attention.shape());
            case "flash_mma" -> divides(32, attention.shape());
            default -> true;
          };
      default -> true;
    };
  }

  private static boolean divides(int multiple, AttentionShape shape) {
    return shape.headDim() % multiple == 0
        && shape.headDimV() % multiple == 0
        && Math.max(shape.headDim(), shape.headDimV()) <= 256;
  }

  @Override
  protected Set<String> limits() {
    return Set.of("headDim");
  }
}
