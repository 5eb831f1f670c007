package dev.heddle.cuda;

import static dev.heddle.cuda.PtxChange.Outcome.PASS;
import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.DeviceException;
import dev.heddle.core.KernelBuildException;
import dev.heddle.cuda.PtxChange.Rung;
import dev.heddle.reference.KernelTrial;
import dev.heddle.reference.UlpHistogram;
import dev.heddle.reference.Verdict;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every deliberate fault in the PTX of a kernel is found by the emulator or by the verdict, and the
 * kernel without it passes. A fault of a barrier, a wait or a bound has to be found as such: the
 * values may come out right by the order in which an emulator happens to run threads.
 */
class MutatedPtxTest {
  @BeforeAll
  static void emulator() {
    Emulator.loadWithCompiler();
  }

  static Stream<PtxChange> faults() {
    return PtxFaults.all().filter(change -> change.outcome() != PASS);
  }

  static Stream<PtxChange> noFaults() {
    return PtxFaults.all().filter(change -> change.outcome() == PASS);
  }

  @ParameterizedTest
  @MethodSource("faults")
  void aFaultIsFound(PtxChange fault) {
    assertOutcome(fault);
  }

  @ParameterizedTest
  @MethodSource("noFaults")
  void aChangeThatIsNoFaultPasses(PtxChange change) {
    assertOutcome(change);
  }

  private static void assertOutcome(PtxChange change) {
    CudaBackend backend = backend(changed(change));
    assertThat(outcome(backend, change.rung(), change.trial()))
        .containsPattern(change.outcome().pattern);
    assertThat(backend.liveObjects().total()).isZero();
  }

  @ParameterizedTest
  @MethodSource("trials")
  void theKernelAsItIsPasses(Rung rung, PtxTrial trial) {
    assertThat(outcome(backend(UnaryOperator.identity()), rung, trial)).isEqualTo("pass");
  }

  static Stream<Arguments> trials() {
    return PtxFaults.all()
        .collect(
            Collectors.toMap(
                change -> change.rung().algorithm() + change.rung().dtype() + change.trial(),
                change -> Arguments.of(change.rung(), change.trial()),
                (first, other) -> first))
        .values()
        .stream();
  }

  /**
   * A verdict is about the largest error, and that of cutting off is no more than twice that of
   * rounding. But cutting off has it everywhere.
   */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"FP16", "BF16"})
  void cutOffInsteadOfRoundedShowsInTheUnitsInTheLastPlace(DType dtype) {
    PtxChange cut =
        new Rung("flash_mma", "attention_flash_mma", dtype)
            .change(
                "cut off instead of rounded",
                PASS,
                PtxTrial.BAND,
                PtxEdit.replace("cvt\\.rn\\.(b?f16x2)", "cvt.rz.$1").every());
    assertThat(exactShare(UnaryOperator.identity(), cut)).isGreaterThan(0.5);
    assertThat(exactShare(changed(cut), cut)).isLessThan(0.25);
  }

  /** Elements of the output that are the expected ones rounded, as a share of all. */
  private static double exactShare(UnaryOperator<Ptx> ptx, PtxChange change) {
    UlpHistogram ulps =
        verdict(backend(ptx), change.rung(), change.trial()).tensors().stream()
            .filter(judged -> judged.tensor().equals("out"))
            .findFirst()
            .orElseThrow()
            .measures()
            .ulps();
    return (double) ulps.exact() / ulps.total();
  }

  /** No barrier is left out of the faults, but for those of a reduction that is the same again. */
  @ParameterizedTest
  @MethodSource("kernelsWithBarriers")
  void everyBarrierIsTakenOutOnce(Rung rung, PtxTrial trial) {
    AtomicReference<String> loaded = new AtomicReference<>("");
    UnaryOperator<Ptx> keep =
        ptx -> {
          loaded.set(ptx.text());
          return ptx;
        };
    assertThat(outcome(backend(keep), rung, trial)).isEqualTo("pass");
    String ptx = loaded.get();
    int barriers = PtxEdit.count(ptx, rung.kernel(), PtxFaults.BARRIER);
    int removed = 0;
    Set<String> without = new HashSet<>();
    for (PtxChange fault : PtxFaults.all().filter(each -> each.rung().equals(rung)).toList()) {
      if (fault.name().startsWith("barrier")) {
        String text = fault.edit().apply(ptx, CudaBackend.RESOURCES);
        assertThat(without.add(text)).as(fault.name()).isTrue();
        removed += barriers - PtxEdit.count(text, rung.kernel(), PtxFaults.BARRIER);
      }
    }
    assertThat(removed).isEqualTo(barriers);
  }

  static Stream<Arguments> kernelsWithBarriers() {
    Map<Rung, PtxTrial> trials =
        faults()
            .filter(fault -> fault.name().startsWith("barrier"))
            .filter(fault -> !fault.rung().kernel().equals("attention_softmax_staged"))
            .collect(Collectors.toMap(PtxChange::rung, PtxChange::trial, (first, other) -> first));
    return trials.entrySet().stream().map(entry -> Arguments.of(entry.getKey(), entry.getValue()));
  }

  private static UnaryOperator<Ptx> changed(PtxChange change) {
    return ptx -> new Ptx(change.edit().apply(ptx.text(), CudaBackend.RESOURCES), ptx.origin());
  }

  private static CudaBackend backend(UnaryOperator<Ptx> ptx) {
    return new CudaBackend(CudaBackend.Options.DEFAULT.withPtx(ptx));
  }

  /** What comes of a run, in the words that {@link PtxChange.Outcome} looks for. */
  private static String outcome(CudaBackend backend, Rung rung, PtxTrial trial) {
    try {
      Verdict verdict = verdict(backend, rung, trial);
      return verdict.label() + verdict.reason().map(reason -> ": " + reason).orElse("");
    } catch (DeviceException e) {
      return "trap: " + e.getMessage();
    } catch (KernelBuildException e) {
      return "not loaded: " + e.getMessage();
    }
  }

  private static Verdict verdict(CudaBackend backend, Rung rung, PtxTrial trial) {
    Device device = Devices.emulator(backend);
    KernelTrial inputs = trial.in(rung.dtype());
    return inputs.verdict(
        backend, device, backend.plan(device, trial.operation(rung.dtype()), rung.algorithm()));
  }
}
