package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.Backend;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.DeviceTensor;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Planner;
import dev.heddle.core.Prepared;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.core.Shape;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.reference.ContractCases.Case;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;

/**
 * What every backend promises, on each of its devices. A backend's own test class inherits this and
 * names the backend; where none of its devices is present the tests are skipped with the reason.
 */
public abstract class BackendContract {
  /** Rungs on which every device runs ordinary attention. */
  private static final Set<String> LADDER = Set.of("naive", "staged", "flash");

  /** Head dims up to this need no more than {@link #ORDINARY_LOCAL_MEMORY}. */
  private static final int ORDINARY_HEAD_DIM = 128;

  /** Local memory of an ordinary device, bytes: the least that OpenCL's full profile allows. */
  private static final long ORDINARY_LOCAL_MEMORY = 32 << 10;

  /** Limits for which a kernel may be more than a device can run. */
  private static final Set<String> DEVICE_LIMITS =
      Set.of("headDim", "localMemoryBytes", "workGroupSize");

  private static final Verifier VERIFIER = new Verifier(new FlashAttentionPolicy());

  /** The backend under test. */
  protected abstract Backend backend();

  /** Devices to test; by default all that are present. */
  protected List<Device> devices() {
    return switch (backend().probe()) {
      case Probe.Available available -> available.devices();
      case Probe.Unavailable missing -> Assumptions.abort(missing.reason());
    };
  }

  @TestFactory
  Stream<DynamicNode> attentionOfEveryShapeAndMask() {
    return everywhere(ContractCases.attentionShapes());
  }

  @TestFactory
  Stream<DynamicNode> attentionOfDifficultValues() {
    return everywhere(ContractCases.attentionValues());
  }

  @TestFactory
  Stream<DynamicNode> rowsThatSeeNothingAreZeroAndMinusInfinity() {
    return everywhere(ContractCases.emptyRows());
  }

  @TestFactory
  Stream<DynamicNode> stagesOfAttentionAlone() {
    return everywhere(ContractCases.stages());
  }

  @TestFactory
  Stream<DynamicNode> linear() {
    return everywhere(ContractCases.linear());
  }

  @TestFactory
  Stream<DynamicNode> heads() {
    return everywhere(ContractCases.heads());
  }

  @TestFactory
  Stream<DynamicNode> chainOfALayer() {
    return everywhere(List.of(ContractCases.layer()));
  }

  @TestFactory
  Stream<DynamicNode> ladderIsComplete() {
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 64, 64));
    return onEachDevice(device ->
        assertThat(backend().algorithms(device, problem)).contains("naive", "staged", "flash"));
  }

  @TestFactory
  Stream<DynamicNode> ordinaryProblemsAreNotRefused() {
    List<Case> cases =
        Stream.of(
                ContractCases.attentionShapes(),
                ContractCases.attentionValues(),
                ContractCases.emptyRows(),
                ContractCases.stages(),
                ContractCases.linear(),
                ContractCases.heads(),
                List.of(ContractCases.layer()))
            .flatMap(List::stream)
            .toList();
    return onEachDevice(device -> {
      for (Case testCase : cases) {
        Set<Optional<String>> rungs = new LinkedHashSet<>(rungs(device, testCase.chain()));
        rungs.add(Optional.empty());
        for (Optional<String> rung : rungs) {
          assertRefusedForCauseOnly(device, testCase, rung);
        }
      }
    });
  }

  private void assertRefusedForCauseOnly(Device device, Case testCase, Optional<String> rung) {
    Optional<String> limit = refusedLimit(device, testCase.chain(), rung);
    if (limit.isEmpty()) {
      return;
    }
    String what = testCase + " on " + rung.orElse("the default rung");
    boolean fp32 =
        testCase.chain().steps().stream().allMatch(step -> step.operation().dtype() == DType.FP32);
    if (!fp32) {
      assertThat(limit.get()).as(what).isEqualTo("dtype");
      return;
    }
    assertThat(DEVICE_LIMITS).as(what).contains(limit.get());
    long localMemory = device.limits().localMemoryBytes();
    boolean ordinary =
        largestHeadDim(testCase.chain()) <= ORDINARY_HEAD_DIM
            && (localMemory == 0 || localMemory >= ORDINARY_LOCAL_MEMORY)
            && (rung.isEmpty() || LADDER.contains(rung.get()));
    assertThat(ordinary).as("%s is refused for %s", what, limit.get()).isFalse();
  }

  /** The limit for which a chain is refused, also where the planner finds no rung that runs. */
  private Optional<String> refusedLimit(Device device, Chain chain, Optional<String> rung) {
    try {
      return declared(device, chain, rung).map(Refusal::limit);
    } catch (UnsupportedProblemException e) {
      return Optional.of(e.refusal().limit());
    }
  }

  /** The longest head of a chain's attention; 0 where it has none. */
  private static int largestHeadDim(Chain chain) {
    return chain.steps().stream()
        .mapToInt(step ->
            switch (step.operation()) {
              case AttentionProblem problem -> largestHeadDim(problem.shape());
              case AttentionStage stage -> largestHeadDim(stage.attention().shape());
              default -> 0;
            })
        .max()
        .orElseThrow();
  }

  private static int largestHeadDim(AttentionShape shape) {
    return Math.max(shape.headDim(), shape.headDimV());
  }

  @TestFactory
  Stream<DynamicNode> aWildKeyReachesOnlyTheRowsThatSeeIt() {
    return devices().stream()
        .map(device ->
            dynamicContainer(
                device.displayName(),
                WildKey.all().stream()
                    .flatMap(wild ->
                        rungs(device, wild.poisoned().chain()).stream()
                            .map(rung ->
                                dynamicTest(
                                    wild.poisoned() + ", " + rung.orElse("default"),
                                    () -> reachesOnlyWhatSeesIt(device, wild, rung))))));
  }

  private void reachesOnlyWhatSeesIt(Device device, WildKey wild, Optional<String> algorithm) {
    try (Session session = backend().open(device);
        PreparedChain chain = prepare(session, wild.poisoned(), algorithm)) {
      chain.poison();
      chain.run();
      Map<String, HostTensor> outputs = chain.outputs();
      if (wild.reachesAllThatSeeIt()) {
        wild.assertReached(outputs);
      }
      assertPasses(VERIFIER.judge(wild.finite().expectation(), wild.healed(outputs), List.of()));
    }
  }

  @TestFactory
  Stream<DynamicNode> repeatedRunsPassToo() {
    Case first = ContractCases.emptyRows().getFirst();
    return onEachDeviceAndRung(
        first.chain(),
        (device, algorithm) -> {
          try (Session session = backend().open(device);
              PreparedChain chain = prepare(session, first, algorithm)) {
            chain.run();
            assertPasses(VERIFIER.verify(chain, first.expectation()));
            assertPasses(VERIFIER.verify(chain, first.expectation()));
          }
        });
  }

  @TestFactory
  Stream<DynamicNode> rowWhoseScoresOverflowIsNotTakenForAnEmptyOne() {
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 9, 8));
    Case overflow =
        ContractCases.of(
            "scores of -1e41",
            problem,
            inputs -> {
              inputs.get("q").fill(-1e20f);
              inputs.get("k").fill(1e20f);
              inputs.get("v").fill(1);
              return inputs;
            });
    return onEachDeviceAndRung(
        overflow.chain(),
        (device, algorithm) -> {
          try (Session session = backend().open(device);
              PreparedChain chain = prepare(session, overflow, algorithm)) {
            chain.run();
            HostTensor out = outputOf(chain, "out");
            for (int i = 0; i < out.size(); i++) {
              assertThat(out.get(i)).as("out[%d]: NaN, or 1 in wider arithmetic", i).isNotZero();
            }
          }
        });
  }

  @TestFactory
  Stream<DynamicNode> nanReachesItsRowAndNoOther() {
    AttentionProblem problem = AttentionProblem.of(new AttentionShape(1, 2, 1, 21, 37, 24, 24));
    int poisoned = 5;
    Case nan =
        ContractCases.of(
            "NaN in one query",
            problem,
            inputs -> {
              inputs.get("q").set(poisoned * 24 + 3, Float.NaN);
              return inputs;
            });
    return onEachDeviceAndRung(
        nan.chain(),
        (device, algorithm) -> {
          try (Session session = backend().open(device);
              PreparedChain chain = prepare(session, nan, algorithm)) {
            chain.run();
            HostTensor out = outputOf(chain, "out");
            for (int i = 0; i < out.size(); i++) {
              assertThat(Float.isNaN(out.get(i)))
                  .as("out[%d] is NaN", i)
                  .isEqualTo(i / 24 == poisoned);
            }
            assertThat(VERIFIER.judge(nan.expectation(), chain.outputs(), List.of()))
                .as("NaN never passes")
                .isInstanceOf(Verdict.Fail.class);
          }
        });
  }

  @TestFactory
  Stream<DynamicNode> scoresThatCannotFitAreRefusedBeforeAnythingIsAllocated() {
    int seqlen = 1 << 20;
    AttentionProblem problem =
        AttentionProblem.of(new AttentionShape(1, 1, 1, seqlen, seqlen, 1, 1));
    return onEachDevice(device -> {
      Plan plan = new Planner(backend(), device).plan(problem, "staged");
      assertThat(backend().refusal(device, problem, plan)).isPresent();
      assertThat(backend().refusal(device, problem, plan).orElseThrow().reason())
          .as("names the bytes or elements asked for")
          .containsPattern("[0-9]{7,}");
    });
  }

  @TestFactory
  Stream<DynamicNode> everythingIsReleased() {
    Case layer = ContractCases.layer();
    return onEachDevice(device -> {
      Session session = backend().open(device);
      PreparedChain chain = prepare(session, layer, Optional.empty());
      assertThat(session.liveResources()).isPositive();
      chain.run();
      chain.close();
      assertThat(session.liveResources()).as("after the chain is closed").isZero();
      prepare(session, layer, Optional.empty());
      assertThat(session.liveResources()).isPositive();
      session.close();
      assertThat(session.liveResources()).as("after the session is closed").isZero();
      session.close();
    });
  }

  @TestFactory
  Stream<DynamicNode> wrongTensorsAreRefused() {
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 8, 8));
    return onEachDevice(device -> {
      Plan plan = new Planner(backend(), device).plan(problem);
      try (Session session = backend().open(device);
          Session other = backend().open(device)) {
        Map<String, DeviceTensor> tensors = allocate(session, problem);
        Map<String, DeviceTensor> incomplete = new HashMap<>(tensors);
        incomplete.remove("k");
        assertThatThrownBy(() -> session.prepare(problem, plan, incomplete))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageContaining("'k'");
        Map<String, DeviceTensor> foreign = new HashMap<>(tensors);
        foreign.put("k", other.allocate(problem.shape().k(), DType.FP32));
        assertThatThrownBy(() -> session.prepare(problem, plan, foreign))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageContaining("'k'");
        Map<String, DeviceTensor> small = new HashMap<>(tensors);
        small.put("k", session.allocate(Shape.of(3), DType.FP32));
        assertThatThrownBy(() -> session.prepare(problem, plan, small))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageContaining("k [1, 1, 8, 8]");
        Prepared prepared = session.prepare(problem, plan, tensors);
        assertThatThrownBy(() -> other.run(List.of(prepared)))
            .isInstanceOf(IllegalArgumentException.class);
        HostTensor tooShort = HostTensor.zeros(Shape.of(7), DType.FP32);
        assertThatThrownBy(() -> tensors.get("q").write(tooShort))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageContaining("[7]");
        prepared.close();
        assertThatThrownBy(() -> session.run(List.of(prepared)))
            .isInstanceOf(IllegalArgumentException.class);
      }
    });
  }

  @TestFactory
  Stream<DynamicNode> provenanceNamesTheSource() {
    Set<String> hashes = new HashSet<>();
    Case some = ContractCases.emptyRows().getFirst();
    return onEachDeviceAndRung(
        some.chain(),
        (device, algorithm) -> {
          try (Session session = backend().open(device);
              PreparedChain chain = prepare(session, some, algorithm)) {
            assertThat(hashes.add(device.id() + chain.provenance().getFirst().sourceHash()))
                .as("a hash of its own")
                .isTrue();
            assertThat(chain.provenance())
                .allSatisfy(provenance -> {
                  assertThat(provenance.device()).isEqualTo(device);
                  assertThat(provenance.plan().algorithm()).isEqualTo(algorithm.orElseThrow());
                  assertThat(provenance.sources()).isNotEmpty();
                  assertThat(provenance.sourceHash()).matches("[0-9a-f]{64}");
                });
          }
        });
  }

  /** Every case on every device under every rung: it passes, or it is refused as declared. */
  private Stream<DynamicNode> everywhere(List<Case> cases) {
    List<DynamicNode> nodes = new ArrayList<>();
    for (Device device : devices()) {
      for (Case testCase : cases) {
        for (Optional<String> algorithm : rungs(device, testCase.chain())) {
          nodes.add(
              dynamicTest(
                  device.displayName() + ", " + testCase + ", " + algorithm.orElse("default"),
                  () -> passesOrIsRefusedAsDeclared(device, testCase, algorithm)));
        }
      }
    }
    return nodes.stream();
  }

  private void passesOrIsRefusedAsDeclared(
      Device device, Case testCase, Optional<String> algorithm) {
    Optional<Refusal> declared = declared(device, testCase.chain(), algorithm);
    try (Session session = backend().open(device)) {
      if (declared.isPresent()) {
        assertThatThrownBy(() -> prepare(session, testCase, algorithm))
            .isInstanceOfSatisfying(
                UnsupportedProblemException.class,
                e -> assertThat(e.refusal().limit()).isEqualTo(declared.get().limit()));
      } else {
        try (PreparedChain chain = prepare(session, testCase, algorithm)) {
          assertPasses(VERIFIER.verify(chain, testCase.expectation()));
        }
      }
      assertThat(session.liveResources()).as("resources left open").isZero();
    }
  }

  private Optional<Refusal> declared(Device device, Chain chain, Optional<String> algorithm) {
    Planner planner = new Planner(backend(), device);
    return chain.steps().stream()
        .map(Chain.Step::operation)
        .flatMap(operation ->
            backend().refusal(device, operation, plan(planner, operation, algorithm)).stream())
        .findFirst();
  }

  private PreparedChain prepare(Session session, Case testCase, Optional<String> algorithm) {
    Planner planner = new Planner(backend(), session.device());
    return PreparedChain.prepare(
        session,
        testCase.chain(),
        operation -> plan(planner, operation, algorithm),
        testCase.inputs());
  }

  /** A chosen algorithm is attention's; the other operations of a chain keep their default. */
  private static Plan plan(Planner planner, Operation operation, Optional<String> algorithm) {
    if (algorithm.isEmpty()) {
      return planner.plan(operation);
    }
    return planner.plan(operation, algorithm.get());
  }

  private Set<Optional<String>> rungs(Device device, Chain chain) {
    Set<Optional<String>> rungs = new LinkedHashSet<>();
    if (chain.steps().size() > 1) {
      rungs.add(Optional.empty());
    } else {
      backend()
          .algorithms(device, chain.steps().getFirst().operation())
          .forEach(algorithm -> rungs.add(Optional.of(algorithm)));
    }
    return rungs;
  }

  private Stream<DynamicNode> onEachDevice(Check<Device> check) {
    return devices().stream()
        .map(device -> dynamicTest(device.displayName(), () -> check.accept(device)));
  }

  private Stream<DynamicNode> onEachDeviceAndRung(
      Chain chain, BiConsumer<Device, Optional<String>> check) {
    Function<Device, Stream<DynamicNode>> perDevice =
        device ->
            rungs(device, chain).stream()
                .map(rung -> dynamicTest(rung.orElse("default"), () -> check.accept(device, rung)));
    return devices().stream()
        .map(device -> dynamicContainer(device.displayName(), perDevice.apply(device)));
  }

  private interface Check<T> {
    void accept(T value);
  }

  private static Map<String, DeviceTensor> allocate(Session session, Operation operation) {
    Map<String, DeviceTensor> tensors = new HashMap<>();
    for (TensorSpec spec : operation.tensors()) {
      tensors.put(spec.name(), session.allocate(spec.shape(), spec.dtype()));
    }
    return tensors;
  }

  private static HostTensor outputOf(PreparedChain chain, String name) {
    HostTensor output = chain.outputs().get(name);
    assertThat(output).isNotNull();
    return output;
  }

  private static void assertPasses(Verdict verdict) {
    assertThat(verdict).isInstanceOf(Verdict.Pass.class);
  }
}
