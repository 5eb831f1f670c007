package dev.heddle.lab;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.Backend;
import dev.heddle.core.BandMask;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.reference.FlashAttentionPolicy;
import dev.heddle.reference.PlantedBackend;
import dev.heddle.reference.PlantedBackend.Fault;
import dev.heddle.reference.ReferenceBackend;
import dev.heddle.reference.Verdict;
import dev.heddle.vector.VectorBackend;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

class ComparisonTest {
  private static final AttentionProblem PROBLEM =
      AttentionProblem.of(new AttentionShape(1, 2, 1, 19, 23, 8, 8));
  private static final Workload WORKLOAD = Workload.random(PROBLEM, 7);

  @Test
  void eachFaultIsToldAndNoneIsTimed() {
    Comparison comparison = compare(Installation.of(List.of(new PlantedBackend())));
    assertThat(comparison.trials())
        .as("the device that dies has two algorithms")
        .hasSize(Fault.values().length + 1);
    for (Fault fault : Fault.values()) {
      Trial trial = comparison.trials().get(fault.ordinal());
      switch (fault) {
        case NONE, SLOW -> {
          assertThat(trial.verdict()).as("%s", fault).isInstanceOf(Verdict.Pass.class);
          assertThat(comparison.flopsPerSecond(trial)).as("%s", fault).isPresent();
        }
        case EMULATED -> {
          assertThat(trial.verdict()).as("%s", fault).isInstanceOf(Verdict.Pass.class);
          assertThat(trial.measurement()).as("%s", fault).isEmpty();
          assertThat(comparison.flopsPerSecond(trial)).as("%s", fault).isEmpty();
          assertThat(comparison.peakFlops(trial)).as("%s", fault).isEmpty();
        }
        case WRONG_VALUE, NAN, NOT_WRITTEN, WRONG_WHEN_WARM, BREAKS, THROWS, DIES, STAYS_OPEN -> {
          assertThat(trial.verdict()).as("%s", fault).isInstanceOf(Verdict.Fail.class);
          assertThat(trial.measurement()).as("%s", fault).isEmpty();
          assertThat(trial.outputs()).as("%s", fault).isEmpty();
          assertThat(comparison.flopsPerSecond(trial)).as("%s", fault).isEmpty();
        }
        case REFUSES -> {
          assertThat(trial.verdict()).as("%s", fault).isInstanceOf(Verdict.Refused.class);
          assertThat(trial.measurement()).as("%s", fault).isEmpty();
        }
      }
    }
    assertThat(reason(comparison, Fault.NAN)).contains("out[0, 1, 18, 7] is NaN");
    assertThat(reason(comparison, Fault.WRONG_VALUE)).contains("out[0, 0, 0, 0]");
    assertThat(reason(comparison, Fault.THROWS)).contains("plantedLaunch", "PLANTED_FAULT");
    assertThat(reason(comparison, Fault.BREAKS))
        .contains("a fault of the backend's own", "ArrayIndexOutOfBounds", "PlantedSession");
    assertThat(reason(comparison, Fault.REFUSES)).contains("planted: this device refuses");
  }

  @Test
  void whatKillsItsDeviceFailsAloneAndTheNextAlgorithmFindsItWhole() {
    Comparison comparison =
        compare(Installation.of(List.of(new PlantedBackend("dying", Fault.DIES, Fault.NONE))));
    assertThat(comparison.trials())
        .extracting(Trial::algorithm)
        .containsExactly("naive", "flash", "naive");
    Trial killed = comparison.trials().getFirst();
    assertThat(killed.failed()).isTrue();
    assertThat(killed.verdict().reason().orElseThrow())
        .isEqualTo("plantedLaunch on planted failed: PLANTED_ILLEGAL_ADDRESS");
    for (Trial sound : comparison.trials().subList(1, 3)) {
      assertThat(sound.passed()).isTrue();
      assertThat(sound.measurement()).isPresent();
    }
    Attend attend =
        new Attend(
            Installation.of(List.of(new PlantedBackend("dying", Fault.DIES))),
            new FlashAttentionPolicy(),
            doing -> {});
    Trial naive = attend.run(PROBLEM, WORKLOAD.inputs(), Selection.ALL, Optional.of("naive"));
    assertThat(naive.failed()).isTrue();
    Trial flash = attend.run(PROBLEM, WORKLOAD.inputs(), Selection.ALL, Optional.empty());
    assertThat(flash.passed()).isTrue();
  }

  @Test
  void everyTypeIsJudgedInItselfAndOnlyFp32HasAPeak() throws IOException {
    for (DType dtype : DType.FLOATING) {
      Comparison comparison =
          Comparison.run(
              Installation.of(List.of(new ReferenceBackend(), new VectorBackend())),
              Workload.random(PROBLEM.withDtype(dtype), 7),
              Selection.ALL,
              Optional.empty(),
              new FlashAttentionPolicy(),
              doing -> {});
      assertThat(comparison.workload().description()).contains(dtype.label());
      for (Trial trial : comparison.trials()) {
        assertThat(trial.passed()).isTrue();
        assertThat(comparison.flopsPerSecond(trial)).isPresent();
        assertThat(comparison.peakShare(trial).isPresent()).isEqualTo(dtype == DType.FP32);
      }
      JsonNode root = new ObjectMapper().readTree(ComparisonJson.write(comparison));
      assertThat(root.get("dtype").asText()).isEqualTo(dtype.label());
      assertThat(root.get("hostPeakGflops").isNull()).isEqualTo(dtype != DType.FP32);
      JsonNode first = root.get("results").get(0);
      assertThat(first.get("peakGflops").isNull()).isEqualTo(dtype != DType.FP32);
      assertThat(first.get("peakShare").isNull()).isEqualTo(dtype != DType.FP32);
      assertThat(first.get("gflops").isNull()).isFalse();
    }
  }

  /** The peak is measured by the device's clock where there is one, and so its share has to be. */
  @Test
  void thePeakAndItsShareAreOfOneClock() throws IOException {
    Comparison run = compare(Installation.of(List.of(new ReferenceBackend())));
    double flopsPerNs = WORKLOAD.chain().flops();
    Measurement host = new Measurement(List.of(new Measurement.Round(List.of(1000L), List.of())));
    Measurement both =
        new Measurement(List.of(new Measurement.Round(List.of(1000L), List.of(200L))));
    Comparison comparison =
        new Comparison(
            WORKLOAD,
            run.policy(),
            false,
            OptionalDouble.of(flopsPerNs * 1e9 / 100),
            Map.of(),
            List.of(timed(run.trials().getFirst(), host), timed(run.trials().getFirst(), both)),
            Optional.empty(),
            Map.of());
    JsonNode results = new ObjectMapper().readTree(ComparisonJson.write(comparison)).get("results");
    List<Double> shares = List.of(0.1, 0.5);
    for (int i = 0; i < 2; i++) {
      Trial trial = comparison.trials().get(i);
      assertThat(comparison.peakShare(trial).orElseThrow()).isCloseTo(shares.get(i), within(1e-9));
      assertThat(results.get(i).get("peakShare").asDouble()).isCloseTo(shares.get(i), within(1e-9));
      assertThat(results.get(i).get("gflops").asDouble())
          .isCloseTo(flopsPerNs / 1000, within(1e-9));
    }
  }

  private static Trial timed(Trial trial, Measurement measurement) {
    return new Trial(
        trial.device(),
        trial.algorithm(),
        trial.kernel(),
        trial.verdict(),
        Optional.of(measurement),
        trial.outputs(),
        trial.provenance(),
        trial.code(),
        trial.transfers(),
        trial.scratchBytes());
  }

  @Test
  void aLayerOfTheModelRunsInEveryType() {
    for (DType dtype : DType.FLOATING) {
      Workload workload = Workload.miniLm("Warp and weft.", 1, BandMask.NONE, dtype);
      assertThat(workload.chain().tensors()).allMatch(spec -> spec.dtype() == dtype);
      assertThat(workload.inputs().values()).allMatch(tensor -> tensor.dtype() == dtype);
      assertThat(workload.description()).contains(dtype.label());
      Comparison comparison =
          Comparison.run(
              Installation.of(List.of(new ReferenceBackend())),
              workload,
              Selection.ALL,
              Optional.of("flash"),
              new FlashAttentionPolicy(),
              doing -> {});
      assertThat(comparison.trials()).singleElement().matches(Trial::passed);
    }
  }

  @Test
  void jsonHoldsEveryTrialAndNullForWhatDoesNotExist() throws IOException {
    Comparison comparison =
        compare(Installation.of(List.of(new PlantedBackend(), new MissingBackend())));
    JsonNode root = new ObjectMapper().readTree(ComparisonJson.write(comparison));
    assertThat(root.get("results")).hasSize(Fault.values().length + 1);
    for (Fault fault : Fault.values()) {
      JsonNode node = root.get("results").get(fault.ordinal());
      assertThat(node.get("backend").asText()).isEqualTo("planted");
      assertThat(node.get("device").asText()).isEqualTo("fault " + fault);
      assertThat(node.get("algorithm").asText()).isEqualTo("naive");
      assertThat(node.get("emulated").asBoolean()).isEqualTo(fault == Fault.EMULATED);
      boolean passed = node.get("verdict").asText().equals("pass");
      boolean timed = passed && fault != Fault.EMULATED;
      assertThat(node.get("medianNs").isNull()).isEqualTo(!timed);
      assertThat(node.get("gflops").isNull()).isEqualTo(!timed);
      assertThat(node.get("reason").isNull()).isEqualTo(passed);
      assertThat(node.has("peakShare")).isTrue();
      if (timed) {
        assertThat(node.get("gflops").asDouble()).isPositive();
      }
      if (passed) {
        assertThat(node.get("maxAbsError").asDouble()).isBetween(0.0, 1e-6);
        assertThat(node.get("relL2").asDouble()).isBetween(0.0, 1e-6);
        assertThat(node.get("errorRatio").asDouble()).isBetween(0.0, 1.0);
        assertThat(node.get("provenance").get(0).get("sourceSha256").asText()).hasSize(64);
        // q 2 x 19 x 8, k and v 23 x 8; out as q, lse 2 x 19.
        assertThat(node.get("uploadedBytes").asLong()).isEqualTo(4 * (304 + 184 + 184));
        assertThat(node.get("downloadedBytes").asLong()).isEqualTo(4 * (304 + 38));
        assertThat(node.get("uploadNs").asLong()).isPositive();
        assertThat(node.get("downloadNs").asLong()).isPositive();
      }
    }
    assertThat(root.get("results").get(Fault.NAN.ordinal()).get("maxAbsError").isNull()).isTrue();
    assertThat(root.get("unavailable").get(0).get("remedy").asText()).isEqualTo("install it");
  }

  @Test
  void selectionsThatNameWhatIsNotThere() {
    Installation installation =
        Installation.of(List.of(new ReferenceBackend(), new MissingBackend()));
    assertThatThrownBy(() -> installation.candidates(select("cuda", -1)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("there is no backend 'cuda'; there are reference, missing");
    assertThatThrownBy(() -> installation.candidates(select("missing", -1)))
        .isInstanceOf(NothingToRunException.class)
        .hasMessage("missing is unavailable: there is none; install it");
    assertThatThrownBy(() -> installation.candidates(select("reference", 3)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("there is no device 3; there are reference:0");
    assertThatThrownBy(() ->
            Comparison.run(
                installation,
                WORKLOAD,
                Selection.ALL,
                Optional.of("quick"),
                new FlashAttentionPolicy(),
                doing -> {}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'quick'; there are naive, staged, flash");
  }

  @Test
  void attendTakesTheFastestThatPassesAndIsNoEmulator() {
    List<String> told = new ArrayList<>();
    Attend attend =
        new Attend(
            Installation.of(
                List.of(
                    new ReferenceBackend(),
                    new PlantedBackend("slow", Fault.SLOW),
                    new PlantedBackend("wrong", Fault.WRONG_VALUE),
                    new PlantedBackend("emulator", Fault.EMULATED),
                    new PlantedBackend("good", Fault.NONE))),
            new FlashAttentionPolicy(),
            told::add);
    Trial trial = attend.run(PROBLEM, WORKLOAD.inputs(), Selection.ALL, Optional.empty());
    assertThat(trial.device().backend()).isEqualTo("good");
    assertThat(trial.passed()).isTrue();
    assertThat(trial.outputs()).containsKeys("out", "lse");
    assertThat(told).anyMatch(line -> line.contains("good:0 naive"));
  }

  @Test
  void attendFallsBackToTheOracleOnlyWhereNothingElseIs() {
    Attend attend =
        new Attend(
            Installation.of(
                List.of(new ReferenceBackend(), new PlantedBackend("none", Fault.REFUSES))),
            new FlashAttentionPolicy(),
            doing -> {});
    assertThat(
            attend
                .run(PROBLEM, WORKLOAD.inputs(), Selection.ALL, Optional.empty())
                .device()
                .backend())
        .isEqualTo("reference");
    assertThatThrownBy(
            () -> attend.run(PROBLEM, WORKLOAD.inputs(), select("none", -1), Optional.empty()))
        .isInstanceOf(NothingToRunException.class)
        .hasMessageContaining("none:0 naive: planted: this device refuses everything");
  }

  @Test
  void whatNoHostTensorHoldsIsBadInput() {
    AttentionShape shape = new AttentionShape(1, 1, 1, 1 << 25, 1, 1, 100);
    assertThatThrownBy(() -> Workload.random(AttentionProblem.of(shape), 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("out [1, 1, 33554432, 100] has 3355443200 elements");
  }

  @Test
  void whatTheHeapCannotHoldIsBadInputWithItsBytes() {
    long heap = Runtime.getRuntime().maxMemory();
    int seqlen = Math.toIntExact(heap / (12 * 16) + 1);
    AttentionShape shape = new AttentionShape(1, 1, 1, seqlen, 1, 16, 1);
    assertThatThrownBy(() -> Workload.random(AttentionProblem.of(shape), 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("heap limit is " + heap + " bytes")
        .hasMessageContaining("-Xmx");
  }

  @Test
  void whatEveryDeviceRefusesIsNotComputedAtAll() {
    List<String> told = new ArrayList<>();
    Comparison comparison =
        Comparison.run(
            Installation.of(List.of(new PlantedBackend("none", Fault.REFUSES))),
            WORKLOAD,
            Selection.ALL,
            Optional.empty(),
            new FlashAttentionPolicy(),
            told::add);
    assertThat(comparison.trials())
        .singleElement()
        .satisfies(trial -> assertThat(trial.verdict()).isInstanceOf(Verdict.Refused.class));
    assertThat(told).isEmpty();
  }

  @Test
  void valuesThatOverflowPlainArithmeticAreBadInput() {
    Map<String, HostTensor> huge =
        Map.of(
            "q", HostTensor.zeros(PROBLEM.shape().q(), DType.FP32).fill(1e20f),
            "k", HostTensor.zeros(PROBLEM.shape().k(), DType.FP32).fill(1e20f),
            "v", HostTensor.zeros(PROBLEM.shape().v(), DType.FP32).fill(1));
    Attend attend =
        new Attend(
            Installation.of(List.of(new ReferenceBackend())),
            new FlashAttentionPolicy(),
            doing -> {});
    assertThatThrownBy(() -> attend.run(PROBLEM, huge, Selection.ALL, Optional.empty()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("overflows fp32");
  }

  @Test
  void stagesRunAlone() {
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      Comparison comparison =
          Comparison.run(
              Installation.of(List.of(new ReferenceBackend(), new VectorBackend())),
              Workload.random(new AttentionStage(stage, PROBLEM), 3),
              Selection.ALL,
              Optional.empty(),
              new FlashAttentionPolicy(),
              doing -> {});
      assertThat(comparison.trials()).hasSize(2).allMatch(Trial::passed);
      Trial vector = comparison.trials().getLast();
      assertThat(vector.kernel()).startsWith(new AttentionStage(stage, PROBLEM).name() + "_");
      assertThat(comparison.flopsPerSecond(vector).isPresent())
          .as("%s has products to count", stage)
          .isEqualTo(stage != AttentionStage.Stage.SOFTMAX);
    }
  }

  @Test
  void sameSeedSameNumbers() {
    Workload again = Workload.random(PROBLEM, 7);
    Workload other = Workload.random(PROBLEM, 8);
    for (String name : List.of("q", "k", "v")) {
      float[] values = tensor(WORKLOAD, name);
      assertThat(tensor(again, name)).containsExactly(values);
      assertThat(tensor(other, name)).isNotEqualTo(values);
    }
    assertThat(tensor(WORKLOAD, "k")).isNotEqualTo(tensor(WORKLOAD, "v"));
  }

  private static float[] tensor(Workload workload, String name) {
    return workload.inputs().get(name).floats();
  }

  private static Comparison compare(Installation installation) {
    return Comparison.run(
        installation,
        WORKLOAD,
        Selection.ALL,
        Optional.empty(),
        new FlashAttentionPolicy(),
        doing -> {});
  }

  private static String reason(Comparison comparison, Fault fault) {
    return comparison.trials().get(fault.ordinal()).verdict().reason().orElseThrow();
  }

  private static Selection select(String backend, int device) {
    return new Selection(
        Optional.of(backend), device < 0 ? OptionalInt.empty() : OptionalInt.of(device));
  }

  private static final class MissingBackend implements Backend {
    @Override
    public String id() {
      return "missing";
    }

    @Override
    public Probe probe() {
      return new Probe.Unavailable("there is none", "install it");
    }

    @Override
    public List<String> algorithms(Device device, Operation operation) {
      return List.of();
    }

    @Override
    public Optional<Refusal> refusal(Device device, Operation operation, Plan plan) {
      return Optional.empty();
    }

    @Override
    public Session open(Device device) {
      throw new IllegalStateException("nothing to open");
    }
  }
}
