package dev.heddle.tornado;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.DeviceTensor;
import dev.heddle.core.GeneratedCode;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostTensor;
import dev.heddle.core.KernelBuildException;
import dev.heddle.core.Plan;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Probe;
import dev.heddle.core.Session;
import dev.heddle.core.Shape;
import dev.heddle.core.Timing;
import dev.heddle.reference.FlashAttentionPolicy;
import dev.heddle.reference.KernelTrial;
import dev.heddle.reference.Verdict;
import dev.heddle.reference.Verifier;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What the backend promises beyond the contract: no silent fallback, one compilation, guards. */
class TornadoSessionTest {
  private static final HeadsTranspose HEADS = new HeadsTranspose(1, 5, 1, 33, DType.FP32);
  private static final Plan TRANSPOSE = Plan.of("transpose");

  private final TornadoBackend backend = new TornadoBackend();

  private static Device device(Backend backend) {
    return switch (backend.probe()) {
      case Probe.Available available -> available.devices().getFirst();
      case Probe.Unavailable missing -> Assumptions.abort(missing.reason());
    };
  }

  private static TornadoBackend with(Class<?> planted) {
    return new TornadoBackend(new JavaKernels(Map.of("heads_transpose", planted)));
  }

  private static PreparedChain prepare(Session session, KernelTrial trial, Plan plan) {
    return PreparedChain.prepare(session, trial.chain(), operation -> plan, trial.inputs());
  }

  @AfterEach
  void nothingIsLeft() {
    assertThat(backend.liveObjects().total()).as(backend.liveObjects().toString()).isZero();
  }

  // ---- no silent fallback

  @Test
  void aKernelThatTornadoVmCannotCompileIsAnErrorAndNoSlowSuccess() {
    assertRefusedByCompiler(PlantedKernels.NoCode.class, "heads_transpose");
    assertThat(PlantedKernels.NoCode.runs).as("runs as sequential Java").isZero();
  }

  @Test
  void aKernelThatTheDriverCannotCompileIsAnErrorWithTheDriversLog() {
    assertRefusedByCompiler(PlantedKernels.BadCode.class, "NaN");
  }

  private static void assertRefusedByCompiler(Class<?> planted, String named) {
    TornadoBackend faulty = with(planted);
    KernelTrial trial = KernelTrial.of(HEADS);
    try (Session session = faulty.open(device(faulty))) {
      assertThatThrownBy(() -> prepare(session, trial, TRANSPOSE))
          .isInstanceOf(KernelBuildException.class)
          .hasMessageContaining("heads_transpose")
          .hasMessageContaining(named);
      assertThat(session.liveResources()).isZero();
    }
    assertThat(faulty.liveObjects().total()).isZero();
  }

  @Test
  void aLocalSizeThatDoesNotDivideTheGlobalSizeIsNeverLaunched() {
    assertThatThrownBy(() -> TornadoDriver.grid(List.of(48L, 8L), List.of(32L, 8L)))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("local size [32, 8] does not divide global size [48, 8]");
    assertThat(TornadoDriver.grid(List.of(64L, 8L), List.of(32L, 8L)).getLocalWork())
        .containsExactly(32, 8, 1);
  }

  // ---- one compilation

  @Test
  void oneCompilationServesManyShapes() {
    Device device = device(backend);
    try (TornadoSession session = (TornadoSession) backend.open(device)) {
      int before = session.driver().compilations();
      for (AttentionShape shape :
          List.of(
              new AttentionShape(1, 1, 1, 7, 9, 16, 16),
              new AttentionShape(2, 4, 2, 65, 33, 16, 16),
              new AttentionShape(1, 3, 1, 1, 200, 16, 16))) {
        assertThat(verdict(session, KernelTrial.of(AttentionProblem.of(shape)), Plan.of("flash")))
            .isInstanceOf(Verdict.Pass.class);
        assertThat(session.driver().compilations() - before).as(shape.toString()).isEqualTo(1);
      }
      AttentionProblem other = AttentionProblem.of(new AttentionShape(1, 1, 1, 7, 9, 24, 16));
      assertThat(verdict(session, KernelTrial.of(other), Plan.of("flash")))
          .isInstanceOf(Verdict.Pass.class);
      assertThat(session.driver().compilations() - before).as("another head dim").isEqualTo(2);
    }
  }

  private static Verdict verdict(Session session, KernelTrial trial, Plan plan) {
    try (PreparedChain chain = prepare(session, trial, plan)) {
      return new Verifier(new FlashAttentionPolicy()).verify(chain, trial.expectation());
    }
  }

  // ---- what is checked and told

  @Test
  void aWriteBesideATensorShowsInItsGuardBand() {
    TornadoBackend beside = with(PlantedKernels.Beside.class);
    try (Session session = beside.open(device(beside));
        PreparedChain chain = prepare(session, KernelTrial.of(HEADS), TRANSPOSE)) {
      assertThat(chain.brokenGuards()).isEmpty();
      chain.run();
      assertThat(chain.brokenGuards()).containsExactly("y");
    }
  }

  @Test
  void whatAKernelLeavesOutFailsTheVerdict() {
    TornadoBackend unfinished = with(PlantedKernels.Unfinished.class);
    assertThat(KernelTrial.of(HEADS).verdict(unfinished, device(unfinished), TRANSPOSE))
        .isInstanceOf(Verdict.Fail.class);
    assertThat(KernelTrial.of(HEADS).verdict(backend, device(backend), TRANSPOSE))
        .isInstanceOf(Verdict.Pass.class);
  }

  @Test
  void aParameterThatTheHostBindsNothingToStopsTheHost() {
    TornadoBackend unbound = with(PlantedKernels.Unbound.class);
    try (Session session = unbound.open(device(unbound))) {
      assertThatThrownBy(() -> prepare(session, KernelTrial.of(HEADS), TRANSPOSE))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("long width");
    }
  }

  @Test
  void theCodeThatRunsCanBeShown() {
    try (Session session = backend.open(device(backend));
        PreparedChain chain =
            prepare(
                session,
                KernelTrial.of(AttentionProblem.of(AttentionShape.square(1, 1, 16, 16))),
                Plan.of("naive"))) {
      List<GeneratedCode> code = chain.generatedCode();
      assertThat(code)
          .extracting(GeneratedCode::kernel)
          .containsExactly(
              "attention_scores_naive", "attention_softmax_naive", "attention_values_naive");
      assertThat(code).allMatch(shown -> shown.compileNs() > 0);
      assertThat(code.getFirst().text()).contains("attentionScoresNaive");
    }
  }

  @Test
  void timeInsideKernelsIsTheProfilersAndPartOfTheHostsTime() {
    KernelTrial trial =
        KernelTrial.of(AttentionProblem.of(new AttentionShape(1, 2, 2, 128, 128, 32, 32)));
    try (Session session = backend.open(device(backend));
        PreparedChain chain = prepare(session, trial, Plan.of("naive"))) {
      Timing timing = chain.run();
      OptionalLong inside = timing.deviceNs();
      assertThat(inside).isPresent();
      assertThat(inside.getAsLong()).isPositive().isLessThan(timing.hostNs());
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void tensorsComeBackAsTheyWent(DType dtype) {
    Shape shape = Shape.of(3, 1001);
    HostTensor there = HostTensor.gaussian(shape, dtype, 7);
    try (Session session = backend.open(device(backend));
        DeviceTensor tensor = session.allocate(shape, dtype)) {
      tensor.write(there);
      assertThat(tensor.read().toDoubles()).isEqualTo(there.toDoubles());
      assertThat(tensor.guardsIntact()).isTrue();
      tensor.poison();
      assertThat(tensor.read().toDoubles()).containsOnly(Double.NaN);
      assertThat(tensor.guardsIntact()).isTrue();
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void everyHandWrittenSiblingThatIsNamedExists(boolean cuda) {
    JavaKernels kernels = new JavaKernels();
    List<String> named =
        List.of(
                "attention_naive",
                "attention_staged",
                "attention_flash",
                "linear_naive",
                "linear_tiled",
                "heads_transpose")
            .stream()
            .flatMap(kernel -> Ladder.sibling(kernels.name(kernel), cuda).stream())
            .toList();
    assertThat(named).hasSize(5).allMatch(file -> Files.exists(Path.of("..", "..", file)));
  }
}
