package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.DeviceException;
import dev.heddle.core.DeviceTensor;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Plan;
import dev.heddle.core.Planner;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Session;
import dev.heddle.core.Shape;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.reference.FlashAttentionPolicy;
import dev.heddle.reference.KernelTrial;
import dev.heddle.reference.Mutation;
import dev.heddle.reference.Verdict;
import dev.heddle.reference.Verifier;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import jcuda.driver.JCudaDriver;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a session does where something goes wrong, and what it says of itself. */
class CudaSessionTest {
  private static final AttentionProblem PROBLEM =
      AttentionProblem.of(new AttentionShape(1, 2, 1, 21, 37, 32, 32))
          .withMask(BandMask.causal(BandMask.Alignment.BOTTOM_RIGHT));

  private static final String MEMORY = "PTX_EMULATOR_MEMORY";
  private static final String FAIL_ALLOCATION = "PTX_EMULATOR_FAIL_ALLOCATION";

  /** Writes far outside of every allocation. */
  private static final Mutation WILD =
      new Mutation(
          "a wild write",
          "attention_naive.cu",
          "scores[q_row * args.seqlen_k + j] = s;",
          "scores[((size_t)1 << 40) + q_row * args.seqlen_k + j] = s;");

  private final CudaBackend backend = new CudaBackend();

  @BeforeAll
  static void loadTheEmulator() {
    Emulator.loadWithCompiler();
  }

  @AfterEach
  void nothingIsLeft() {
    Emulator.set(MEMORY, null);
    Emulator.set(FAIL_ALLOCATION, null);
    assertThat(backend.liveObjects().total()).as("%s", backend.liveObjects()).isZero();
  }

  // ---- a kernel that traps

  @Test
  void aTrapNamesKernelsCallAndPlaceAndTheNextSessionIsFresh() {
    CudaBackend wild =
        new CudaBackend(CudaBackend.Options.DEFAULT.withFiles(WILD.files(CudaBackend.RESOURCES)));
    KernelTrial trial = KernelTrial.of(PROBLEM);
    try (Session session = wild.open(Devices.emulator(wild));
        PreparedChain chain = prepare(session, trial, Plan.of("naive"))) {
      DeviceException trap = catchThrowableOfType(DeviceException.class, chain::run);
      assertThat(trap.call()).startsWith("cuStreamSynchronize after attention_scores_naive, ");
      assertThat(trap.code())
          .startsWith("CUDA_ERROR_ILLEGAL_ADDRESS (700): ")
          .contains("attention_scores_naive", "attention_naive.cu:");
      // The context is dead: each further call fails the same way, and none hangs or crashes.
      assertThatThrownBy(chain::run).isInstanceOf(DeviceException.class);
      assertThatThrownBy(chain::outputs).isInstanceOf(DeviceException.class);
      assertThatThrownBy(() -> session.allocate(Shape.of(8), DType.FP32))
          .isInstanceOf(DeviceException.class);
    }
    assertThat(wild.liveObjects().total()).as("%s", wild.liveObjects()).isZero();
    assertThat(trial.verdict(backend, Devices.emulator(backend), Plan.of("naive")))
        .isInstanceOf(Verdict.Pass.class);
  }

  // ---- a free that fails

  /** Memory that the driver does not know: the context goes all the same, and all that it held. */
  @Test
  void aFreeThatFailsKeepsNothingElse() {
    KernelTrial trial = KernelTrial.of(PROBLEM);
    Session session = backend.open(Devices.emulator(backend));
    assertThat(passes(session, trial, Plan.of("splitkv"))).isTrue();
    prepare(session, trial, Plan.of("splitkv"));
    CudaTensor tensor = (CudaTensor) session.allocate(Shape.of(8), DType.FP32);
    assertThat(JCudaDriver.cuMemFree(tensor.memory())).isZero();
    session.allocate(Shape.of(8), DType.FP32);
    assertThatThrownBy(session::close)
        .isInstanceOfSatisfying(
            DeviceException.class, e -> assertThat(e.call()).isEqualTo("cuMemFree"));
    assertThat(session.liveResources()).isZero();
    assertThat(backend.liveObjects().total()).as("%s", backend.liveObjects()).isZero();
  }

  // ---- out of memory

  @Test
  void aTensorThatDoesNotFitIsNamedAndTheSessionStaysUsable() {
    KernelTrial trial = KernelTrial.of(PROBLEM);
    try (Session session = backend.open(Devices.emulator(backend))) {
      Emulator.set(MEMORY, Integer.toString(1 << 20));
      assertThatThrownBy(() -> session.allocate(Shape.of(3, 1 << 18), DType.FP32))
          .isInstanceOfSatisfying(
              UnsupportedProblemException.class,
              e -> {
                assertThat(e.refusal().limit()).isEqualTo("deviceMemory");
                assertThat(e.refusal().reason())
                    .contains(
                        "[3, 262144]", Integer.toString(3 << 20), "CUDA_ERROR_OUT_OF_MEMORY (2)");
              });
      assertThat(session.liveResources()).isZero();
      assertThat(passes(session, trial, Plan.of("naive"))).isTrue();
      assertThat(session.liveResources()).isZero();
    }
  }

  /** Page-locked memory, too, is asked of the driver: a session's first copy may find none. */
  @Test
  void theFirstCopyMayFindNoMemory() {
    try (Session session = backend.open(Devices.emulator(backend));
        DeviceTensor tensor = session.allocate(Shape.of(3, 5), DType.FP32)) {
      HostTensor there = HostTensor.gaussian(tensor.shape(), DType.FP32, 7);
      Emulator.set(FAIL_ALLOCATION, "1");
      assertRefused(() -> tensor.write(there), "[3, 5]", "60 bytes", "cuMemAllocHost");
      Emulator.set(FAIL_ALLOCATION, "2");
      assertRefused(tensor::read, "[3, 5]", "60 bytes", "cuMemAllocHost");
      tensor.write(there);
      assertThat(tensor.read().toDoubles()).isEqualTo(there.toDoubles());
    }
  }

  /**
   * Contexts, modules and launches take memory too, in ways that the emulator never runs out of.
   */
  @Test
  void whateverCallIsOutOfMemoryIsARefusal() {
    try (CudaSession session = (CudaSession) backend.open(Devices.emulator(backend))) {
      DeviceException full =
          new DeviceException("a GPU", "cuLaunchKernel", "CUDA_ERROR_OUT_OF_MEMORY (2)");
      assertRefused(() -> throwing(session, full), "attention of 7 bytes", "cuLaunchKernel");
      DeviceException other = new DeviceException("a GPU", "cuLaunchKernel", "CUDA_ERROR (209)");
      assertThatThrownBy(() -> throwing(session, other)).isSameAs(other);
    }
  }

  private static void throwing(CudaSession session, DeviceException failure) {
    session.fitting(
        () -> "attention of 7 bytes",
        () -> {
          throw failure;
        });
  }

  private static void assertRefused(ThrowingCallable call, String... parts) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            UnsupportedProblemException.class,
            e -> {
              assertThat(e.refusal().limit()).isEqualTo("deviceMemory");
              assertThat(e.refusal().reason())
                  .contains(parts)
                  .contains("bytes free of", "CUDA_ERROR_OUT_OF_MEMORY (2)");
            });
  }

  /** Whichever allocation of a problem fails, what was there before it is freed. */
  @ParameterizedTest
  @ValueSource(strings = {"naive", "splitkv"})
  void everyAllocationMayFail(String algorithm) {
    KernelTrial trial = KernelTrial.of(PROBLEM);
    List<String> missed = new ArrayList<>();
    try (Session session = backend.open(Devices.emulator(backend))) {
      // Staging is there from now on: its memory is the host's, and no problem's.
      assertThat(passes(session, trial, Plan.of(algorithm))).isTrue();
      int before = backend.liveObjects().total();
      int failing = 1;
      boolean passed = false;
      while (!passed) {
        Emulator.set(FAIL_ALLOCATION, Integer.toString(failing++));
        try {
          passed = passes(session, trial, Plan.of(algorithm));
        } catch (UnsupportedProblemException e) {
          missed.add(e.refusal().reason().split(" ", 2)[0]);
        }
        assertThat(session.liveResources()).isZero();
        assertThat(backend.liveObjects().total()).isEqualTo(before);
      }
    }
    List<String> scratch =
        algorithm.equals("naive")
            ? List.of("scores")
            : List.of("partial_l", "partial_m", "partial_out");
    assertThat(missed).hasSize(PROBLEM.tensors().size() + scratch.size());
    assertThat(missed.subList(PROBLEM.tensors().size(), missed.size()))
        .containsExactlyElementsOf(scratch);
  }

  // ---- what is checked and told

  @Test
  void aWriteBesideATensorShowsInItsGuardBand() {
    Mutation mutation =
        new Mutation(
            "a write beside the scores",
            "attention_naive.cu",
            "scores[q_row * args.seqlen_k + j] = s;",
            "scores[q_row * args.seqlen_k + j] = s;\n  if (q_row + j == 0) scores[-1] = s;");
    CudaBackend beside =
        new CudaBackend(
            CudaBackend.Options.DEFAULT
                .withFiles(mutation.files(CudaBackend.RESOURCES))
                .withGuardBands());
    KernelTrial trial = KernelTrial.of(PROBLEM);
    try (Session session = beside.open(Devices.emulator(beside));
        PreparedChain chain = prepare(session, trial, Plan.of("naive"))) {
      assertThat(chain.brokenGuards()).isEmpty();
      chain.run();
      assertThat(chain.brokenGuards()).containsExactlyInAnyOrder("out", "lse");
    }
    assertThat(beside.liveObjects().total()).isZero();
  }

  /** More than two of the staging buffers, which take turns. */
  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void largeTensorsComeBackAsTheyWent(DType dtype) {
    Shape shape = Shape.of(3, (11 << 20) / dtype.bytes() / 3 + 5);
    HostTensor there = HostTensor.gaussian(shape, dtype, 7);
    try (Session session = backend.open(Devices.emulator(backend));
        DeviceTensor tensor = session.allocate(shape, dtype)) {
      tensor.write(there);
      assertThat(tensor.read().toDoubles()).isEqualTo(there.toDoubles());
      assertThat(session.transfers().uploadedBytes()).isEqualTo(shape.elements() * dtype.bytes());
      tensor.poison();
      assertThat(tensor.read().toDoubles()).containsOnly(Double.NaN);
    }
  }

  @Test
  void theEmulatorsClockIsNobodysTime() {
    try (Session session = backend.open(Devices.emulator(backend));
        PreparedChain chain = prepare(session, KernelTrial.of(PROBLEM), Plan.of("flash"))) {
      assertThat(chain.run().deviceNs()).isEmpty();
    }
    assertThat(backend.measurePeakFlops(Devices.emulator(backend))).isEmpty();
  }

  @Test
  void provenanceNamesTheFileAndWhereItsPtxIsFrom() {
    try (Session session = backend.open(Devices.emulator(backend));
        PreparedChain chain = prepare(session, KernelTrial.of(PROBLEM), Plan.of("naive"))) {
      assertThat(chain.provenance().getFirst().sources())
          .satisfiesExactly(
              file -> assertThat(file).isEqualTo("cuda/attention_naive.cu"),
              ptx -> assertThat(ptx).startsWith("PTX: "));
      assertThat(chain.provenance().getFirst().sourceHash())
          .as("the hash of the source, not of its PTX")
          .isEqualTo(backend.kernels().source("attention_naive.cu").hash());
    }
  }

  @Test
  void decodingIsPlannedInSplits() {
    AttentionProblem decode = AttentionProblem.of(new AttentionShape(1, 8, 1, 2, 4096, 64, 64));
    AttentionProblem prefill = AttentionProblem.of(new AttentionShape(1, 8, 1, 4096, 4096, 64, 64));
    Planner planner = new Planner(backend, Devices.emulator(backend));
    assertThat(planner.plan(decode).algorithm()).isEqualTo("splitkv");
    assertThat(planner.plan(decode.withDtype(DType.BF16)).algorithm()).isEqualTo("splitkv");
    assertThat(planner.plan(prefill).algorithm()).isEqualTo("flash");
    assertThat(planner.plan(prefill.withDtype(DType.FP16)).algorithm()).isEqualTo("flash_mma");
  }

  private static boolean passes(Session session, KernelTrial trial, Plan plan) {
    try (PreparedChain chain = prepare(session, trial, plan)) {
      return new Verifier(new FlashAttentionPolicy()).verify(chain, trial.expectation())
          instanceof Verdict.Pass;
    }
  }

  private static PreparedChain prepare(Session session, KernelTrial trial, Plan plan) {
    Chain chain = trial.chain();
    Map<String, HostTensor> inputs = trial.inputs();
    return PreparedChain.prepare(session, chain, operation -> plan, inputs);
  }
}
