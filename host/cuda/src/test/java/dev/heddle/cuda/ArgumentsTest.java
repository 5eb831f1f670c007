package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.DType;
import dev.heddle.core.DeviceTensor;
import dev.heddle.core.KernelBuildException;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Planner;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.core.TensorSpec;
import dev.heddle.reference.Mutation;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** A kernel and a host that disagree stop at preparation, and nothing stays allocated then. */
class ArgumentsTest {
  private static final AttentionProblem PROBLEM =
      AttentionProblem.of(AttentionShape.square(1, 2, 64, 64));

  @BeforeAll
  static void loadTheEmulator() {
    Emulator.loadWithCompiler();
  }

  static Stream<Mutation> disagreements() {
    String v = "const float *__restrict__ v,";
    return Stream.of(
        new Mutation("renamed", "attention_flash.cu", v, v.replace("v,", "w,")),
        new Mutation("added", "attention_flash.cu", v, v + " const float *extra,"),
        new Mutation("lost", "attention_flash.cu", " float *__restrict__ lse,", ""),
        new Mutation("of another type", "attention_flash.cu", v, v.replace("float", "int")),
        new Mutation("member renamed", "attention_args.h", "int mask_left; ", "int mask_leften;"),
        new Mutation("member added", "attention_args.h", "int batch; ", "int batch; int more;"),
        new Mutation(
            "option of another type",
            "attention_flash.cu",
            "const uchar *__restrict__ mask,",
            "const float *__restrict__ mask,"),
        new Mutation(
            "option lost", "attention_flash.cu", " const int *__restrict__ key_lengths,", ""),
        new Mutation(
            "option's member added",
            "attention_options.h",
            "int block_rows;",
            "int block_rows; int more;"));
  }

  @ParameterizedTest
  @MethodSource("disagreements")
  void aKernelThatDisagreesIsNamed(Mutation mutation) {
    // A kernel whose text uses what was renamed does not compile either way: the body goes, the
    // signature stays.
    CudaBackend backend = backend(withoutBody(mutation.files(CudaBackend.RESOURCES)));
    assertThatThrownBy(() -> prepareFlash(backend))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageMatching("(?s).*(attention_flash|attention_args|attention_options).*");
    assertThat(backend.liveObjects().total()).isZero();
  }

  @Test
  void aKernelWithoutItsBodyAgreesWithTheHost() {
    CudaBackend backend = backend(withoutBody(CudaBackend.RESOURCES));
    prepareFlash(backend);
    assertThat(backend.liveObjects().total()).isZero();
  }

  private static Function<String, String> withoutBody(Function<String, String> files) {
    return name -> {
      String text = files.apply(name);
      return name.equals("attention_flash.cu")
          ? text.substring(0, text.indexOf("{", text.indexOf("__global__"))) + "{}\n"
          : text;
    };
  }

  static Stream<Mutation> buildFailures() {
    return Stream.of(
        new Mutation(
            "a struct of another size",
            "attention_args.h",
            "typedef char attention_args_layout[sizeof(attention_args)",
            "typedef char attention_args_layout[1 + sizeof(attention_args)"),
        new Mutation(
            "another sum of shared memory",
            "attention_flash.cu",
            "static_assert(SHARED_BYTES == 4",
            "static_assert(SHARED_BYTES == 8"),
        new Mutation(
            "a typing error",
            "local_tiles.h",
            "const int thread = thread_index();",
            "const imt thread = thread_index();"));
  }

  @ParameterizedTest
  @MethodSource("buildFailures")
  void aKernelThatDoesNotCompileShowsFileAndLine(Mutation mutation) {
    CudaBackend backend = backend(mutation.files(CudaBackend.RESOURCES));
    assertThatThrownBy(() -> prepareFlash(backend))
        .isInstanceOfSatisfying(
            KernelBuildException.class,
            e -> {
              assertThat(e.log()).containsPattern(mutation.file() + "\\(\\d+\\): error");
              assertThat(e.source()).contains(mutation.replacement());
            });
    assertThat(backend.liveObjects().total()).isZero();
  }

  /**
   * The host's sums and the compiled kernels': the files themselves only check the dynamic ones.
   */
  @ParameterizedTest
  @MethodSource("sharedMemory")
  void sharedMemoryIsWhatTheKernelsTake(Operation operation, String algorithm) {
    CudaBackend backend = new CudaBackend();
    try (CudaSession session = (CudaSession) backend.open(Devices.emulator(backend))) {
      Plan plan = backend.plan(session.device(), operation, algorithm);
      var prepared = (CudaSession.Launchable) prepare(session, operation, plan);
      assertThat(prepared.sharedBytes()).isPositive();
      assertThat((long) prepared.sharedBytes())
          .isEqualTo(backend.recipe(operation, plan).localBytes());
    }
    assertThat(backend.liveObjects().total()).isZero();
  }

  static Stream<Arguments> sharedMemory() {
    AttentionProblem halves = PROBLEM.withDtype(DType.FP16);
    return Stream.of(
        Arguments.of(PROBLEM, "staged"),
        Arguments.of(PROBLEM, "flash"),
        Arguments.of(PROBLEM, "splitkv"),
        Arguments.of(halves, "splitkv"),
        Arguments.of(halves, "flash_mma"),
        Arguments.of(new LinearProblem(64, 64, 64, false, DType.FP32), "tiled"),
        Arguments.of(new LinearProblem(64, 64, 64, false, DType.BF16), "mma"));
  }

  @Test
  void whatAFileDeclaresIsRefusedInItsOwnWords() {
    assertThat(refused(PROBLEM, Plan.of("flash", Map.of("BLOCK_M", 33))))
        .isEqualTo(new Refusal("tunables", "BLOCK_M = 33; it must be one of [16, 32, 64, 128]"));
    assertThat(refused(PROBLEM, Plan.of("flash", Map.of("BLOCKS", 1))).limit())
        .isEqualTo("tunables");
    AttentionProblem odd = AttentionProblem.of(new AttentionShape(1, 1, 1, 8, 8, 66, 64));
    assertThat(refused(odd, Plan.of("flash")).limit()).isEqualTo("headDim");
    assertThat(refused(odd, Plan.of("flash")).reason()).contains("multiples of 4");
    assertThat(refused(odd.withDtype(DType.BF16), Plan.of("flash_mma")).reason())
        .contains("multiples of 32");
  }

  @Test
  void theDevicesLimitsAreRefusedByName() {
    AttentionProblem manyHeads = AttentionProblem.of(new AttentionShape(70_000, 1, 1, 1, 1, 4, 4));
    Refusal grid = refused(manyHeads, Plan.of("naive"));
    assertThat(grid.limit()).isEqualTo("gridSize");
    assertThat(grid.reason())
        .contains("attention_scores_naive", "70000 blocks along z", "at most 65535");
    AttentionProblem wide = AttentionProblem.of(new AttentionShape(1, 1, 1, 8, 8, 4096, 4));
    Refusal shared =
        refused(
            wide,
            Plan.of(
                "flash", Map.of("BLOCK_M", 16, "BLOCK_N", 16, "THREADS_M", 4, "THREADS_N", 16)));
    assertThat(shared.limit()).isEqualTo("localMemoryBytes");
    assertThat(shared.reason()).contains("of shared memory", "PTX emulator (CPU) has 166912");
    AttentionProblem large =
        AttentionProblem.of(new AttentionShape(1, 1, 1, 1 << 16, 1 << 16, 4, 4));
    assertThat(refused(large, Plan.of("staged")).reason())
        .contains("scores [1, 1, 65536, 65536]", Long.toString(4L << 32));
  }

  private static Refusal refused(Operation operation, Plan plan) {
    CudaBackend backend = new CudaBackend();
    return backend.refusal(Devices.emulator(backend), operation, plan).orElseThrow();
  }

  private static CudaBackend backend(Function<String, String> files) {
    return new CudaBackend(CudaBackend.Options.DEFAULT.withFiles(files));
  }

  private static void prepareFlash(CudaBackend backend) {
    try (Session session = backend.open(Devices.emulator(backend))) {
      Plan plan = new Planner(backend, session.device()).plan(PROBLEM, "flash");
      prepare(session, PROBLEM, plan).close();
      assertThat(session.liveResources()).isEqualTo(PROBLEM.tensors().size());
    }
  }

  private static dev.heddle.core.Prepared prepare(Session session, Operation operation, Plan plan) {
    Map<String, DeviceTensor> tensors = new HashMap<>();
    for (TensorSpec spec : operation.tensors()) {
      tensors.put(spec.name(), session.allocate(spec.shape(), spec.dtype()));
    }
    return session.prepare(operation, plan, tensors);
  }
}
