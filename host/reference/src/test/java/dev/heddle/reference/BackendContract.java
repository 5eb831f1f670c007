package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.Backend;
import dev.heddle.core.CacheAppend;
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
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.RotaryEmbedding.Pairing;
import dev.heddle.core.Session;
import dev.heddle.core.Shape;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.Transfers;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.reference.ContractCases.Case;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiPredicate;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;

/**
 * What every backend promises, on each of its devices and in each storage type. A backend's own
 * test class inherits this, names the backend and says by the other protected methods what it
 * declares; where none of its devices is present the tests are skipped with the reason.
 */
public abstract class BackendContract {

  /** How many cases a backend is put through. */
  public enum Extent {
    /** Every shape under every mask, up to a thousand queries and keys. */
    FULL,
    /**
     * For an emulated device, a thousand times slower than a real one: shapes of the same kinds
     * (ragged, grouped heads, one query, long and short heads), none above 2^21 multiply-adds, each
     * under three of the eight masks, so that every mask is met by several; all other cases as they
     * are.
     */
    SMALL
  }

  /** Rungs on which every device runs ordinary attention. */
  private static final Set<String> LADDER = Set.of("naive", "staged", "flash");

  /** Head dims up to this need no more than {@link #ORDINARY_LOCAL_MEMORY}. */
  private static final int ORDINARY_HEAD_DIM = 128;

  /** Local memory of an ordinary device, bytes: the least that OpenCL's full profile allows. */
  private static final long ORDINARY_LOCAL_MEMORY = 32 << 10;

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

  /** How many cases there are; all by default. */
  protected Extent extent() {
    return Extent.FULL;
  }

  /** How many cases there are in that storage type; as many as in every other by default. */
  protected Extent extent(DType dtype) {
    return extent();
  }

  /**
   * The storage types in which a rung runs such an operation; in the others it has to refuse it.
   * Only fp32 by default.
   *
   * @param operation of any storage type
   */
  protected Set<DType> dtypes(Operation operation, String algorithm) {
    return Set.of(DType.FP32);
  }

  /**
   * The options of attention that a rung has; it has to refuse the others. None by default.
   *
   * @param operation attention, or a stage of it
   */
  protected Set<AttentionOption> options(Operation operation, String algorithm) {
    return Set.of();
  }

  /**
   * Whether a rung has to run such an operation on every device of ordinary size, given that it has
   * the storage type: by default all but attention on a rung above {@code flash} or with a head dim
   * beyond 128. A narrower rung says so here, so that what it refuses is on record.
   */
  protected boolean isOrdinary(Device device, Operation operation, String algorithm) {
    int headDim = largestHeadDim(operation);
    return headDim == 0 || (headDim <= ORDINARY_HEAD_DIM && isOnEveryLadder(operation, algorithm));
  }

  /**
   * Names of the limits for which what is not {@linkplain #isOrdinary ordinary} may be refused; by
   * default those of a device with a shared local memory.
   */
  protected Set<String> limits(Device device) {
    return Set.of("headDim", "localMemoryBytes", "workGroupSize");
  }

  @TestFactory
  Stream<DynamicNode> attentionOfEveryShapeAndMask() {
    return everywhere(dtype -> ContractCases.attentionShapes(dtype, extent(dtype)));
  }

  @TestFactory
  Stream<DynamicNode> attentionOfDifficultValues() {
    return everywhere(ContractCases::attentionValues);
  }

  @TestFactory
  Stream<DynamicNode> rowsThatSeeNothingAreZeroAndMinusInfinity() {
    return everywhere(ContractCases::emptyRows);
  }

  @TestFactory
  Stream<DynamicNode> optionsOfAttention() {
    return everywhere(ContractCases::options);
  }

  /** What is hidden is not read, be it NaN, and so changes nothing. */
  @TestFactory
  Stream<DynamicNode> whatOptionsHideIsNotRead() {
    return everywhere(ContractCases::hiddenNan);
  }

  @TestFactory
  Stream<DynamicNode> stagesOfAttentionAlone() {
    return everywhere(ContractCases::stages);
  }

  @TestFactory
  Stream<DynamicNode> linear() {
    return everywhere(ContractCases::linear);
  }

  @TestFactory
  Stream<DynamicNode> heads() {
    return everywhere(ContractCases::heads);
  }

  @TestFactory
  Stream<DynamicNode> cacheAppends() {
    return everywhere(ContractCases::cacheAppends);
  }

  @TestFactory
  Stream<DynamicNode> rotaryEmbeddings() {
    return everywhere(ContractCases::rotaryEmbeddings);
  }

  @TestFactory
  Stream<DynamicNode> linearAttention() {
    return everywhere(ContractCases::linearAttention);
  }

  /** As an earlier step of a chain may leave them, where no host looks at them. */
  @TestFactory
  Stream<DynamicNode> integersOutOfRangeAreTakenForTheNearestThatFits() {
    List<Operation> operations =
        List.of(
            new CacheAppend(2, 2, 9, 3, 5, DType.FP32),
            new RotaryEmbedding(2, 2, 3, 8, 6, Pairing.HALF_SPLIT, 7, DType.FP32));
    return onEachDevice(device -> {
      for (Operation operation : operations) {
        Map<String, HostTensor> inputs = CaseInputs.fitting(operation).draw(operation.inputs());
        for (HostTensor integers : inputs.values()) {
          if (integers.dtype() == DType.INT32) {
            integers.ints()[0] = -1_000_000;
            integers.ints()[integers.size() - 1] = 1_000_000;
          }
        }
        for (String algorithm : backend().algorithms(device, operation)) {
          try (Session session = backend().open(device)) {
            Map<String, DeviceTensor> tensors = allocate(session, operation);
            tensors.values().forEach(DeviceTensor::poison);
            inputs.forEach((name, values) -> tensors.get(name).write(values));
            Plan plan = new Planner(backend(), device).plan(operation, algorithm);
            session.run(List.of(session.prepare(operation, plan, tensors)));
            List<String> broken =
                tensors.keySet().stream().filter(n -> !tensors.get(n).guardsIntact()).toList();
            assertPasses(
                VERIFIER.judge(
                    Expectation.of(Chain.of(operation), inputs),
                    Map.of("y", tensors.get("y").read()),
                    broken));
          }
        }
      }
    });
  }

  @TestFactory
  Stream<DynamicNode> chainOfDecoding() {
    return everywhere(dtype -> List.of(ContractCases.decoding(dtype)));
  }

  @TestFactory
  Stream<DynamicNode> chainOfALayer() {
    return everywhere(dtype -> List.of(ContractCases.layer(dtype)));
  }

  @TestFactory
  Stream<DynamicNode> ladderIsComplete() {
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 64, 64));
    return onEachDevice(device ->
        assertThat(backend().algorithms(device, problem)).contains("naive", "staged", "flash"));
  }

  /** The declaration both ways: what a rung has it does not refuse, what it lacks it refuses. */
  @TestFactory
  public Stream<DynamicNode> refusesWhatItDoesNotDeclareAndNothingElse() {
    return onEachDevice(device -> {
      for (DType dtype : DType.FLOATING) {
        for (Case testCase : allCases(dtype)) {
          Set<Optional<String>> rungs = new LinkedHashSet<>(rungs(device, testCase.chain()));
          rungs.add(Optional.empty());
          for (Optional<String> rung : rungs) {
            assertRefusedForCauseOnly(device, testCase, rung);
          }
        }
      }
    });
  }

  private List<Case> allCases(DType dtype) {
    List<Case> cases = new ArrayList<>(ContractCases.attentionShapes(dtype, extent(dtype)));
    cases.addAll(ContractCases.attentionValues(dtype));
    cases.addAll(ContractCases.emptyRows(dtype));
    cases.addAll(ContractCases.options(dtype));
    cases.addAll(ContractCases.hiddenNan(dtype));
    cases.addAll(ContractCases.stages(dtype));
    cases.addAll(ContractCases.linear(dtype));
    cases.addAll(ContractCases.heads(dtype));
    cases.addAll(ContractCases.cacheAppends(dtype));
    cases.addAll(ContractCases.rotaryEmbeddings(dtype));
    cases.addAll(ContractCases.linearAttention(dtype));
    cases.add(ContractCases.decoding(dtype));
    cases.add(ContractCases.layer(dtype));
    cases.add(ContractCases.overflow(dtype));
    cases.add(ContractCases.nan(dtype, 0));
    WildKey.all(dtype, extent(dtype)).forEach(wild -> cases.add(wild.poisoned()));
    return cases;
  }

  private void assertRefusedForCauseOnly(Device device, Case testCase, Optional<String> rung) {
    List<Operation> operations =
        testCase.chain().steps().stream().map(Chain.Step::operation).toList();
    Optional<String> limit = declared(device, testCase.chain(), rung).map(Refusal::limit);
    String what = testCase + " on " + rung.orElse("the default rung");
    Set<String> known = new HashSet<>(limits(device));
    if (operations.stream().anyMatch(o -> backend().algorithms(device, o).isEmpty())) {
      known.add("operation");
    }
    if (!operations.stream().allMatch(operation -> onSome(device, operation, rung, this::stores))) {
      known.add("dtype");
      assertThat(limit).as("%s is refused", what).isPresent();
    }
    if (!operations.stream().allMatch(o -> onSome(device, o, rung, this::hasOptions))) {
      kinds(operations).forEach(kind -> known.add(kind.label()));
      assertThat(limit).as("%s is refused", what).isPresent();
    }
    if (rung.isEmpty()) {
      // The refusal is the last rung's, which may lack what others have that pass a limit.
      known.add("dtype");
      kinds(operations).forEach(kind -> known.add(kind.label()));
      boolean offered =
          operations.stream()
              .allMatch(operation ->
                  onSome(
                      device,
                      operation,
                      rung,
                      (o, algorithm) -> stores(o, algorithm) && hasOptions(o, algorithm)));
      assertThat(offered || limit.isPresent()).as("%s is refused", what).isTrue();
    }
    if (limit.isEmpty()) {
      return;
    }
    assertThat(known).as(what).contains(limit.get());
    long localMemory = device.limits().localMemoryBytes();
    boolean ordinary =
        (localMemory == 0 || localMemory >= ORDINARY_LOCAL_MEMORY)
            && operations.stream()
                .allMatch(operation ->
                    onSome(
                        device,
                        operation,
                        rung,
                        (o, algorithm) ->
                            stores(o, algorithm)
                                && hasOptions(o, algorithm)
                                && isOrdinary(device, o, algorithm)));
    assertThat(ordinary).as("%s is refused for %s", what, limit.get()).isFalse();
  }

  /** Whether the rung, or where none is chosen one of the ladder, has a property. */
  private boolean onSome(
      Device device,
      Operation operation,
      Optional<String> rung,
      BiPredicate<Operation, String> property) {
    return rung.map(List::of).orElseGet(() -> backend().algorithms(device, operation)).stream()
        .anyMatch(algorithm -> property.test(operation, algorithm));
  }

  private boolean stores(Operation operation, String algorithm) {
    return dtypes(operation, algorithm).contains(operation.dtype());
  }

  private boolean hasOptions(Operation operation, String algorithm) {
    return options(operation, algorithm).containsAll(kinds(List.of(operation)));
  }

  private static Set<AttentionOption> kinds(List<Operation> operations) {
    Set<AttentionOption> kinds = EnumSet.noneOf(AttentionOption.class);
    operations.forEach(operation -> kinds.addAll(AttentionOptions.of(operation).kinds()));
    return kinds;
  }

  private static boolean isOnEveryLadder(Operation operation, String algorithm) {
    return !(operation instanceof AttentionProblem) || LADDER.contains(algorithm);
  }

  /** The longest head of attention or of a stage of it; 0 for other operations. */
  private static int largestHeadDim(Operation operation) {
    return switch (operation) {
      case AttentionProblem problem ->
          Math.max(problem.shape().headDim(), problem.shape().headDimV());
      case AttentionStage stage -> largestHeadDim(stage.attention());
      default -> 0;
    };
  }

  @TestFactory
  Stream<DynamicNode> aWildKeyReachesOnlyTheRowsThatSeeIt() {
    List<DynamicNode> nodes = new ArrayList<>();
    for (Device device : devices()) {
      for (DType dtype : DType.FLOATING) {
        for (WildKey wild : WildKey.all(dtype, extent(dtype))) {
          for (Optional<String> rung : runningRungs(device, wild.poisoned().chain())) {
            nodes.add(
                dynamicTest(
                    name(device, wild.poisoned(), rung),
                    () -> reachesOnlyWhatSeesIt(device, wild, rung)));
          }
        }
      }
    }
    return nodes.stream();
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
    return onEachRungThatRuns(
        dtype -> ContractCases.emptyRows(dtype).getFirst(),
        (device, some, algorithm) -> {
          try (Session session = backend().open(device);
              PreparedChain chain = prepare(session, some, algorithm)) {
            chain.run();
            assertPasses(VERIFIER.verify(chain, some.expectation()));
            assertPasses(VERIFIER.verify(chain, some.expectation()));
          }
        });
  }

  @TestFactory
  Stream<DynamicNode> rowWhoseScoresOverflowIsNotTakenForAnEmptyOne() {
    return onEachRungThatRuns(
        ContractCases::overflow,
        (device, overflow, algorithm) -> {
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
    int poisoned = 5;
    return onEachRungThatRuns(
        dtype -> ContractCases.nan(dtype, poisoned),
        (device, nan, algorithm) -> {
          try (Session session = backend().open(device);
              PreparedChain chain = prepare(session, nan, algorithm)) {
            chain.run();
            HostTensor out = outputOf(chain, "out");
            for (int i = 0; i < out.size(); i++) {
              assertThat(Float.isNaN(out.get(i)))
                  .as("out[%d] is NaN", i)
                  .isEqualTo(i / out.shape().rowLength() == poisoned);
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
    Case layer = ContractCases.layer(DType.FP32);
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
  Stream<DynamicNode> transfersAreCountedAndRunsAreNone() {
    Case layer = ContractCases.layer(DType.FP32);
    long inputs = layer.chain().inputs().stream().mapToLong(TensorSpec::bytes).sum();
    return onEachDevice(device -> {
      try (Session session = backend().open(device)) {
        assertThat(session.transfers()).isEqualTo(Transfers.NONE);
        try (PreparedChain chain = prepare(session, layer, Optional.empty())) {
          Transfers uploads = session.transfers();
          assertThat(uploads.uploadedBytes()).isEqualTo(inputs);
          assertThat(uploads.uploadNs()).isPositive();
          assertThat(uploads.downloadedBytes()).isZero();
          chain.poison();
          chain.run();
          assertThat(session.transfers()).isEqualTo(uploads);
          long outputs =
              chain.outputs().values().stream()
                  .mapToLong(tensor -> (long) tensor.size() * tensor.dtype().bytes())
                  .sum();
          Transfers downloads = session.transfers().since(uploads);
          assertThat(downloads.downloadedBytes()).isEqualTo(outputs);
          assertThat(downloads.downloadNs()).isPositive();
          assertThat(downloads.uploadedBytes()).isZero();
        }
      }
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
        for (DType type : DType.FLOATING) {
          if (type != DType.FP32) {
            HostTensor narrow = HostTensor.zeros(problem.shape().q(), type);
            assertThatThrownBy(() -> tensors.get("q").write(narrow))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(type.label());
          }
        }
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

  /** On devices that store more than one type: a tensor of another one than the operation's. */
  @TestFactory
  Stream<DynamicNode> tensorsOfAnotherTypeAreRefused() {
    AttentionShape shape = AttentionShape.square(1, 1, 32, 32);
    return onEachRungThatRuns(
        dtype -> ContractCases.of("32 x 32", AttentionProblem.of(shape).withDtype(dtype)),
        (device, some, algorithm) -> {
          Operation problem = some.chain().steps().getFirst().operation();
          Plan plan = plan(new Planner(backend(), device), problem, algorithm);
          try (Session session = backend().open(device)) {
            for (DType other : DType.FLOATING) {
              if (other != problem.dtype() && storesAnything(device, other)) {
                Map<String, DeviceTensor> tensors = allocate(session, problem);
                tensors.put("k", session.allocate(shape.k(), other));
                assertThatThrownBy(() -> session.prepare(problem, plan, tensors))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining(problem.dtype().label() + " k [1, 1, 32, 32]")
                    .hasMessageContaining(other.label());
              }
            }
          }
        });
  }

  private boolean storesAnything(Device device, DType dtype) {
    AttentionProblem problem =
        AttentionProblem.of(AttentionShape.square(1, 1, 32, 32)).withDtype(dtype);
    return onSome(device, problem, Optional.empty(), this::stores);
  }

  @TestFactory
  Stream<DynamicNode> provenanceNamesTheSource() {
    Set<String> hashes = new HashSet<>();
    return onEachRungThatRuns(
        dtype -> ContractCases.emptyRows(dtype).getFirst(),
        (device, some, algorithm) -> {
          try (Session session = backend().open(device);
              PreparedChain chain = prepare(session, some, algorithm)) {
            String hash = chain.provenance().getFirst().sourceHash();
            assertThat(hashes.add(device.id() + some + hash)).as("a hash of its own").isTrue();
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

  /**
   * Every case on every device under every rung: it passes, or it is refused as declared. Of the
   * cases that a rung refuses for their storage type, the first stands for all.
   */
  private Stream<DynamicNode> everywhere(Function<DType, List<Case>> cases) {
    List<DynamicNode> nodes = new ArrayList<>();
    for (Device device : devices()) {
      for (DType dtype : DType.FLOATING) {
        Set<String> refused = new HashSet<>();
        for (Case testCase : cases.apply(dtype)) {
          for (Optional<String> rung : rungs(device, testCase.chain())) {
            Optional<Refusal> refusal = declared(device, testCase.chain(), rung);
            if (refusal.isEmpty()
                || !refusal.get().limit().equals("dtype")
                || refused.add(rung.orElse("default"))) {
              nodes.add(
                  dynamicTest(
                      name(device, testCase, rung),
                      () -> passesOrIsRefusedAsDeclared(device, testCase, rung)));
            }
          }
        }
      }
    }
    return nodes.stream();
  }

  private static String name(Device device, Case testCase, Optional<String> rung) {
    return device.displayName() + ", " + testCase + ", " + rung.orElse("default");
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

  /** Why a chain is refused, also where the planner finds no rung that runs. */
  private Optional<Refusal> declared(Device device, Chain chain, Optional<String> algorithm) {
    Planner planner = new Planner(backend(), device);
    try {
      return chain.steps().stream()
          .map(Chain.Step::operation)
          .flatMap(operation ->
              backend().refusal(device, operation, plan(planner, operation, algorithm)).stream())
          .findFirst();
    } catch (UnsupportedProblemException e) {
      return Optional.of(e.refusal());
    }
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

  private List<Optional<String>> runningRungs(Device device, Chain chain) {
    return rungs(device, chain).stream()
        .filter(rung -> declared(device, chain, rung).isEmpty())
        .toList();
  }

  /** A check of one case in every type, under each of the rungs that run it. */
  private Stream<DynamicNode> onEachRungThatRuns(Function<DType, Case> cases, RungCheck check) {
    List<DynamicNode> nodes = new ArrayList<>();
    for (Device device : devices()) {
      for (DType dtype : DType.FLOATING) {
        Case testCase = cases.apply(dtype);
        for (Optional<String> rung : runningRungs(device, testCase.chain())) {
          nodes.add(
              dynamicTest(
                  name(device, testCase, rung), () -> check.accept(device, testCase, rung)));
        }
      }
    }
    return nodes.stream();
  }

  private interface Check<T> {
    void accept(T value);
  }

  private interface RungCheck {
    void accept(Device device, Case testCase, Optional<String> rung);
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
