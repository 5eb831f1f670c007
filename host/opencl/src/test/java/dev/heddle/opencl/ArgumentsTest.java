package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HostTensor;
import dev.heddle.core.KernelBuildException;
import dev.heddle.core.Plan;
import dev.heddle.core.Planner;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.core.Shape;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.reference.Mutation;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** A kernel and a host that disagree stop at preparation, and nothing stays allocated then. */
class ArgumentsTest {
  private static final AttentionProblem PROBLEM =
      AttentionProblem.of(AttentionShape.square(1, 1, 8, 8));

  @TestFactory
  Stream<DynamicTest> aKernelThatDisagreesIsNamed() {
    return Stream.of(
            new Mutation("argument renamed", "attention_flash.cl", "restrict v,", "restrict w,"),
            new Mutation(
                "argument added",
                "attention_flash.cl",
                "restrict v,",
                "restrict v, const __global float *extra,"),
            new Mutation(
                "argument lost", "attention_flash.cl", "__global float *restrict lse,", ""),
            new Mutation(
                "another element type",
                "attention_flash.cl",
                "const __global storage_t *restrict v,",
                "const __global int *restrict v,"),
            new Mutation(
                "another storage type",
                "attention_flash.cl",
                "const __global storage_t *restrict v,",
                "const __global half *restrict v,"),
            new Mutation(
                "member renamed", "attention_args.h", "int mask_left; ", "int mask_leften;"),
            new Mutation("member added", "attention_args.h", "int batch; ", "int batch; int more;"))
        .map(mutation ->
            DynamicTest.dynamicTest(
                mutation.name(),
                () -> {
                  // A kernel whose text uses what was renamed does not compile either way: the
                  // body goes, the signature stays.
                  OpenClBackend backend = new OpenClBackend(withoutBody(mutation), true);
                  assertThatThrownBy(() -> prepare(backend))
                      .isInstanceOf(IllegalStateException.class)
                      .hasMessageMatching("(?s).*(attention_flash|attention_args).*");
                  assertThat(backend.liveObjects().total()).isZero();
                }));
  }

  @Test
  void aStructOfAnotherSizeStopsTheBuild() {
    OpenClBackend backend =
        new OpenClBackend(
            new Mutation(
                    "packed by the compiler alone",
                    "attention_args.h",
                    "typedef char attention_args_layout[sizeof(attention_args)",
                    "typedef char attention_args_layout[1 + sizeof(attention_args)")
                .files(OpenClBackend.RESOURCES),
            true);
    assertThatThrownBy(() -> prepare(backend)).isInstanceOf(KernelBuildException.class);
    assertThat(backend.liveObjects().total()).isZero();
  }

  @Test
  void aKernelThatDoesNotCompileShowsLogFileAndLine() {
    OpenClBackend backend =
        new OpenClBackend(
            new Mutation(
                    "typing error", "local_tiles.h", "const int thread =", "const imt thread =")
                .files(OpenClBackend.RESOURCES),
            true);
    assertThatThrownBy(() -> prepare(backend))
        .isInstanceOfSatisfying(
            KernelBuildException.class,
            e -> {
              assertThat(e.log()).contains("imt");
              assertThat(e.log()).contains("local_tiles.h:");
              assertThat(e.source()).contains("const imt thread");
            });
    assertThat(backend.liveObjects().total()).isZero();
  }

  @Test
  void everyConstraintIsRefusedInTheKernelsOwnWords() {
    OpenClBackend backend = new OpenClBackend();
    Device device = device(backend);
    List<Refusal> refusals =
        List.of(
            refused(backend, device, "flash", Map.of("BLOCK_M", 8, "THREADS_M", 16)),
            refused(backend, device, "flash", Map.of("BLOCK_N", 8, "THREADS_N", 16)),
            refused(backend, device, "flash", Map.of("BLOCK_M", 33)),
            refused(backend, device, "flash", Map.of("BLOCKS", 1)));
    assertThat(refusals).extracting(Refusal::limit).containsOnly("tunables");
    assertThat(refusals.get(0).reason()).isEqualTo("BLOCK_M must be a multiple of THREADS_M");
    assertThat(refusals.get(1).reason()).isEqualTo("BLOCK_N must be a multiple of THREADS_N");
    assertThat(refusals.get(2).reason()).contains("33").contains("[8, 16, 32, 64, 128]");
    assertThat(refusals.get(3).reason()).contains("BLOCKS");
  }

  @Test
  void localMemoryIsWhatTheKernelTakesAndIsRefusedByName() {
    OpenClBackend backend = new OpenClBackend();
    Device device = device(backend);
    AttentionProblem wide =
        AttentionProblem.of(new AttentionShape(1, 1, 1, 64, 64, 96, 200)).withLse(false);
    Plan plan =
        Plan.of("flash", Map.of("BLOCK_M", 16, "BLOCK_N", 16, "THREADS_M", 8, "THREADS_N", 16));
    try (OpenClSession session = (OpenClSession) backend.open(device)) {
      Map<String, dev.heddle.core.DeviceTensor> tensors = new HashMap<>();
      for (TensorSpec spec : wide.tensors()) {
        tensors.put(spec.name(), session.allocate(spec.shape(), spec.dtype()));
      }
      var launchable = (OpenClSession.Launchable) session.prepare(wide, plan, tensors);
      assertThat(launchable.localBytes()).isEqualTo(backend.recipe(wide, plan).localBytes());
    }
    AttentionProblem huge = AttentionProblem.of(new AttentionShape(1, 1, 1, 64, 64, 1 << 20, 8));
    assertThat(backend.refusal(device, huge, Plan.of("flash")).orElseThrow().limit())
        .isEqualTo("localMemoryBytes");
  }

  @Test
  void moreThanTheDeviceHoldsIsRefusedBeforeAnythingIsAllocated() {
    OpenClBackend backend = new OpenClBackend();
    Device device = device(backend);
    int elements = Math.toIntExact(device.limits().allocationBytes() / 4 / 1024 + 1);
    try (Session session = backend.open(device)) {
      assertThatThrownBy(() -> session.allocate(Shape.of(elements, 1024), DType.FP32))
          .isInstanceOfSatisfying(
              UnsupportedProblemException.class,
              e -> {
                assertThat(e.refusal().limit()).isEqualTo("allocationBytes");
                assertThat(e.refusal().reason())
                    .contains(Long.toString(device.limits().allocationBytes()));
              });
      assertThat(backend.liveObjects().count(LiveObjects.Kind.MEMORY)).isZero();
      assertThat(session.liveResources()).isZero();
    }
    assertThat(backend.liveObjects().total()).isZero();
  }

  private static Refusal refused(
      OpenClBackend backend, Device device, String algorithm, Map<String, Integer> tunables) {
    return backend.refusal(device, PROBLEM, Plan.of(algorithm, tunables)).orElseThrow();
  }

  private static Function<String, String> withoutBody(Mutation mutation) {
    Function<String, String> files = mutation.files(OpenClBackend.RESOURCES);
    return name -> {
      String text = files.apply(name);
      if (!name.equals("attention_flash.cl")) {
        return text;
      }
      int signature = text.indexOf("__kernel");
      return text.substring(0, text.indexOf("{", signature)) + "{}\n";
    };
  }

  private static void prepare(OpenClBackend backend) {
    Device device = device(backend);
    Chain chain = Chain.of(PROBLEM);
    Map<String, HostTensor> inputs = new HashMap<>();
    chain
        .inputs()
        .forEach(spec -> inputs.put(spec.name(), HostTensor.zeros(spec.shape(), spec.dtype())));
    try (Session session = backend.open(device);
        PreparedChain prepared =
            PreparedChain.prepare(
                session, chain, o -> new Planner(backend, device).plan(o, "flash"), inputs)) {
      prepared.run();
    }
  }

  private static Device device(OpenClBackend backend) {
    return switch (backend.probe()) {
      case Probe.Available available -> available.devices().getFirst();
      case Probe.Unavailable missing -> Assumptions.abort(missing.reason());
    };
  }
}
