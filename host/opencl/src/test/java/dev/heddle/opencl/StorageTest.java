package dev.heddle.opencl;

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
import dev.heddle.reference.Mutation;
import dev.heddle.reference.StorageTrial;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** fp16 and bf16 are what fp32 is, rounded once where it is stored; and faults in that are seen. */
class StorageTest {
  private static final OpenClBackend BACKEND = new OpenClBackend();
  private static final List<DType> HALVES = List.of(DType.FP16, DType.BF16);

  // Widths that are no multiple of the 16 that are converted at a time, at the end of rows and
  // tiles.
  private static final AttentionProblem BANDED =
      AttentionProblem.of(new AttentionShape(2, 4, 2, 131, 150, 41, 33))
          .withMask(new BandMask(70, 9, BandMask.Alignment.BOTTOM_RIGHT));
  private static final Operation LINEAR = new LinearProblem(67, 203, 85, true, DType.FP32);

  /** How cl/storage.h rounds the bits of an fp32 to those of a bf16. */
  private static final String NEAREST = "(bits + 0x7fff + (bits >> 16 & 1)) >> 16";

  private static final Operation HEADS = new HeadsTranspose(2, 13, 5, 33, DType.FP32);

  @TestFactory
  Stream<DynamicTest> everyRungRoundsOnce() {
    List<Operation> operations =
        new ArrayList<>(
            List.of(
                BANDED,
                LINEAR,
                HEADS,
                new CacheAppend(2, 3, 13, 5, 33, DType.FP32),
                new RotaryEmbedding(2, 3, 5, 45, 42, Pairing.HALF_SPLIT, 9, DType.FP32),
                new RotaryEmbedding(2, 3, 5, 45, 42, Pairing.INTERLEAVED, 9, DType.FP32),
                LinearAttention.of(new AttentionShape(2, 4, 2, 31, 31, 13, 45), UpdateRule.GATED)
                    .kernelised(),
                LinearAttention.of(
                    new AttentionShape(2, 4, 2, 31, 31, 13, 45), UpdateRule.GATED_DELTA)));
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      operations.add(new AttentionStage(stage, BANDED));
    }
    List<DynamicTest> tests = new ArrayList<>();
    for (Device device : devices()) {
      for (Operation operation : operations) {
        for (String algorithm : BACKEND.algorithms(device, operation)) {
          for (DType dtype : HALVES) {
            tests.add(
                DynamicTest.dynamicTest(
                    "%s, %s %s %s"
                        .formatted(
                            device.displayName(), dtype.label(), operation.name(), algorithm),
                    () ->
                        assertThat(
                                StorageTrial.differences(
                                    BACKEND, device, operation, dtype, algorithm))
                            .isEmpty()));
          }
        }
      }
    }
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> everyKindOfNumberIsRounded() {
    List<DynamicTest> tests = new ArrayList<>();
    for (Device device : devices()) {
      for (String algorithm : BACKEND.algorithms(device, LINEAR)) {
        for (DType dtype : HALVES) {
          tests.add(
              DynamicTest.dynamicTest(
                  "%s, %s %s".formatted(device.displayName(), dtype.label(), algorithm),
                  () ->
                      assertThat(StorageTrial.conversions(BACKEND, device, dtype, algorithm))
                          .isEmpty()));
        }
      }
    }
    return tests.stream();
  }

  private static List<Device> devices() {
    return switch (BACKEND.probe()) {
      case Probe.Available available -> available.devices();
      case Probe.Unavailable missing -> Assumptions.abort(missing.reason());
    };
  }

  /** A fault in what a storage type is, and the rung that meets it. */
  record Faulty(Operation operation, String algorithm, DType dtype, Mutation mutation) {
    @Override
    public String toString() {
      return mutation.toString();
    }
  }

  static Stream<Faulty> faults() {
    return Stream.of(
        fault(BANDED, "naive", DType.FP16, "element beside", "vload_half(0,", "vload_half(1,"),
        fault(BANDED, "flash", DType.FP16, "rounded down", "half_rte(", "half_rtz("),
        fault(BANDED, "flash", DType.FP16, "rounded up", "half_rte(", "half_rtp("),
        fault(BANDED, "staged", DType.BF16, "truncated", NEAREST + ");", "bits >> 16);"),
        fault(BANDED, "flash", DType.BF16, "mantissa cut", "(uint)(x)", "((uint)(x) & 0xfff8)"),
        fault(HEADS, "transpose", DType.FP16, "bit lost", "ushort *)&(y)", "ushort *)&(y) & 65534"),
        fault(BANDED, "flash_cpu", DType.FP16, "16 truncated", "half16_rte", "half16_rtz"),
        fault(BANDED, "flash_cpu", DType.BF16, "16 truncated", NEAREST + ";", "bits >> 16;"),
        fault(BANDED, "flash_cpu", DType.FP16, "end not widened", "floats[i] = to_float(x[i])", ""),
        fault(BANDED, "flash_cpu", DType.BF16, "end not stored", "store(x[i], floats[i])", ""),
        fault(LINEAR, "cpu", DType.FP16, "next 16", "vload16(i, (const", "vload16(i + 1, (const"),
        fault(LINEAR, "cpu", DType.BF16, "first 16 again", "load16(i, x), i", "load16(0, x), i"));
  }

  /** Faults in what rare numbers become; a linear layer's rungs meet them. */
  static Stream<Faulty> conversionFaults() {
    return Stream.of(
        fault(LINEAR, "tiled", DType.BF16, "ties up", NEAREST + ");", "(bits + 0x8000) >> 16);"),
        fault(LINEAR, "tiled", DType.BF16, "ties down", NEAREST + ");", "(bits + 0x7fff) >> 16);"),
        fault(LINEAR, "tiled", DType.BF16, "NaN", "return 0x7fff;", "return 0x7f80;"),
        fault(LINEAR, "tiled", DType.BF16, "inf", "> 0x7f800000", ">= 0x7f800000"),
        fault(LINEAR, "cpu", DType.BF16, "ties up, 16", NEAREST + ";", "(bits + 0x8000) >> 16;"),
        fault(LINEAR, "cpu", DType.BF16, "NaN, 16", "(uint16)(0x7fff)", "(uint16)(0x7f80)"),
        fault(LINEAR, "cpu", DType.FP16, "up, 16", "half16_rte", "half16_rtp"),
        fault(LINEAR, "cpu", DType.FP16, "up", "half_rte(", "half_rtp("));
  }

  private static Faulty fault(
      Operation operation,
      String algorithm,
      DType dtype,
      String name,
      String original,
      String replacement) {
    return new Faulty(
        operation,
        algorithm,
        dtype,
        new Mutation(dtype.label() + " " + name, "storage.h", original, replacement));
  }

  @ParameterizedTest
  @MethodSource("faults")
  void aFaultIsSeen(Faulty faulty) {
    OpenClBackend backend = new OpenClBackend(faulty.mutation.files(OpenClBackend.RESOURCES), true);
    assertThat(
            StorageTrial.differences(
                backend,
                Processor.of(backend, BANDED),
                faulty.operation,
                faulty.dtype,
                faulty.algorithm))
        .isNotEmpty();
    assertThat(backend.liveObjects().total()).isZero();
  }

  @ParameterizedTest
  @MethodSource("conversionFaults")
  void aFaultInAConversionIsSeen(Faulty faulty) {
    OpenClBackend backend = new OpenClBackend(faulty.mutation.files(OpenClBackend.RESOURCES), true);
    Device device = Processor.of(backend, BANDED);
    assertThat(StorageTrial.conversions(backend, device, faulty.dtype, faulty.algorithm))
        .isNotEmpty();
    assertThat(backend.liveObjects().total()).isZero();
  }
}
