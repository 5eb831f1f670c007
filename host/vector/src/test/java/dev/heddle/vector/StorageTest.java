package dev.heddle.vector;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.UpdateRule;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Probe;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.RotaryEmbedding.Pairing;
import dev.heddle.reference.StorageTrial;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** fp16 and bf16 are what fp32 is, rounded once where it is stored. */
class StorageTest {
  private static final VectorBackend BACKEND = new VectorBackend();

  private final Device device = ((Probe.Available) BACKEND.probe()).devices().getFirst();

  @ParameterizedTest
  @EnumSource(names = {"FP16", "BF16"})
  void everyKindOfNumberIsRounded(DType dtype) {
    assertThat(StorageTrial.conversions(BACKEND, device, dtype, "tiled")).isEmpty();
  }

  /** Deep enough that a product is several slices, which are added up before they are rounded. */
  @ParameterizedTest
  @EnumSource(names = {"FP16", "BF16"})
  void everyRungRoundsOnce(DType dtype) {
    AttentionProblem banded =
        AttentionProblem.of(new AttentionShape(2, 4, 2, 131, 1100, 40, 33))
            .withMask(new BandMask(900, 9, BandMask.Alignment.BOTTOM_RIGHT));
    List<Operation> operations =
        new ArrayList<>(
            List.of(
                banded,
                new LinearProblem(67, 1203, 285, true, DType.FP32),
                new LinearProblem(64, 1203, 256, false, DType.FP32),
                new HeadsTranspose(2, 13, 5, 33, DType.FP32),
                new CacheAppend(2, 3, 13, 5, 33, DType.FP32),
                new RotaryEmbedding(2, 3, 5, 45, 42, Pairing.HALF_SPLIT, 9, DType.FP32),
                new RotaryEmbedding(2, 3, 5, 45, 42, Pairing.INTERLEAVED, 9, DType.FP32),
                LinearAttention.of(new AttentionShape(2, 4, 2, 31, 31, 13, 45), UpdateRule.GATED)
                    .kernelised(),
                LinearAttention.of(
                    new AttentionShape(2, 4, 2, 31, 31, 13, 45), UpdateRule.GATED_DELTA)));
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      operations.add(new AttentionStage(stage, banded));
    }
    for (Operation operation : operations) {
      for (String algorithm : BACKEND.algorithms(device, operation)) {
        assertThat(StorageTrial.differences(BACKEND, device, operation, dtype, algorithm))
            .as("%s %s", operation.name(), algorithm)
            .isEmpty();
      }
    }
  }
}
