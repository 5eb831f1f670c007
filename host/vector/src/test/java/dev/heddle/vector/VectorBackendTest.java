package dev.heddle.vector;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.Backend;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.DeviceTensor;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.UpdateRule;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.RotaryEmbedding.Pairing;
import dev.heddle.core.Session;
import dev.heddle.core.TensorSpec;
import dev.heddle.reference.BackendContract;
import java.io.IOException;
import java.io.InputStream;
import java.lang.classfile.ClassFile;
import java.lang.classfile.constantpool.ClassEntry;
import java.lang.classfile.constantpool.PoolEntry;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class VectorBackendTest extends BackendContract {
  private final VectorBackend backend = new VectorBackend();

  @Override
  protected Backend backend() {
    return backend;
  }

  @Override
  protected Set<DType> dtypes(Operation operation, String algorithm) {
    return Set.copyOf(DType.FLOATING);
  }

  @Override
  protected Set<AttentionOption> options(Operation operation, String algorithm) {
    return algorithm.equals("flash") ? AttentionOption.WITHOUT_SCORES : AttentionOption.ALL;
  }

  @Test
  void saysWhatIsMissingWithoutTheModule() {
    Probe probe = backend.probe(ModuleLayer.empty());
    assertThat(probe)
        .isInstanceOfSatisfying(
            Probe.Unavailable.class,
            missing -> {
              assertThat(missing.reason()).contains("--add-modules jdk.incubator.vector");
              assertThat(missing.remedy()).contains("--add-modules jdk.incubator.vector");
            });
  }

  @Test
  void refusesATunableThatItDoesNotHave() {
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 8, 8));
    Plan plan = Plan.of("flash", Map.of("BLOCK_Q", 64));
    assertThat(backend.refusal(device(), problem, plan).orElseThrow().reason()).contains("BLOCK_Q");
  }

  @Test
  void declaresTheScratchThatItHolds() {
    AttentionProblem problem = AttentionProblem.of(new AttentionShape(2, 6, 2, 70, 130, 33, 40));
    List<Operation> operations = new ArrayList<>();
    for (BandMask mask : List.of(BandMask.NONE, BandMask.causal(Alignment.TOP_LEFT))) {
      operations.add(problem.withMask(mask));
      for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
        operations.add(new AttentionStage(stage, problem.withMask(mask)));
      }
    }
    operations.add(new LinearProblem(100, 600, 130, true, DType.FP32));
    for (UpdateRule rule : UpdateRule.values()) {
      operations.add(LinearAttention.of(new AttentionShape(2, 6, 2, 70, 70, 33, 40), rule));
    }
    operations.add(
        LinearAttention.of(new AttentionShape(2, 6, 2, 70, 70, 33, 40), UpdateRule.GATED)
            .withDecayPerDim(true)
            .kernelised());
    Device device = device();
    for (Operation operation : operations) {
      for (String algorithm : backend.algorithms(device, operation)) {
        Plan plan = Plan.of(algorithm);
        try (Session session = backend.open(device)) {
          Map<String, DeviceTensor> tensors = new HashMap<>();
          for (TensorSpec spec : operation.tensors()) {
            tensors.put(spec.name(), session.allocate(spec.shape(), spec.dtype()));
          }
          assertThat(session.prepare(operation, plan, tensors).scratchBytes())
              .as("%s %s", operation.name(), algorithm)
              .isEqualTo(
                  VectorBackend.scratchBytes(operation, plan, device.limits().computeUnits()));
        }
      }
    }
  }

  /** A worker's panels have as many rows as the head has elements, whatever the keys are. */
  @Test
  void refusesAHeadWhosePanelIsLongerThanAnArray() {
    Device large =
        new Device(
            "vector",
            0,
            "a large machine",
            "none",
            Device.Kind.CPU,
            false,
            new Device.Limits(1L << 50, 1L << 50, 0, 1, 2));
    int panelTooLong = Math.ceilDiv(Integer.MAX_VALUE, Lanes.PANEL);
    for (AttentionShape shape :
        List.of(
            new AttentionShape(1, 1, 1, 1, 1, panelTooLong, 1),
            new AttentionShape(1, 1, 1, 1, 1, 1, panelTooLong))) {
      AttentionProblem problem = AttentionProblem.of(shape);
      assertThat(backend.refusal(large, problem, Plan.of("flash")).orElseThrow().limit())
          .isEqualTo("arrayLength");
    }
    assertThat(
            backend
                .refusal(
                    large,
                    LinearAttention.of(
                        new AttentionShape(
                            1, 1, 1, 1, 1, Math.ceilDiv(Integer.MAX_VALUE, Lanes.NARROW), 1),
                        UpdateRule.LINEAR),
                    Plan.of("recurrent"))
                .orElseThrow()
                .limit())
        .isEqualTo("arrayLength");
    AttentionProblem half =
        AttentionProblem.of(new AttentionShape(1, 1, 1, 1, 1, panelTooLong / 2, 1));
    assertThat(backend.refusal(large, half, Plan.of("flash"))).isEmpty();
  }

  /** A source names another class of the package only if that is among the sources too. */
  @Test
  void provenanceLeavesNoClassOut() throws IOException {
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 8, 8));
    List<Operation> operations =
        new ArrayList<>(
            List.of(
                problem,
                new LinearProblem(8, 8, 8, true, DType.FP32),
                new HeadsTranspose(1, 2, 2, 8, DType.FP32),
                new CacheAppend(1, 2, 4, 2, 8, DType.FP32),
                new RotaryEmbedding(1, 2, 4, 8, 4, Pairing.INTERLEAVED, 4, DType.FP32),
                LinearAttention.of(AttentionShape.square(1, 2, 4, 8), UpdateRule.LINEAR)));
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      operations.add(new AttentionStage(stage, problem));
    }
    for (Operation operation : operations) {
      for (String algorithm : backend.algorithms(device(), operation)) {
        List<Class<?>> sources = VectorSession.sources(operation, Plan.of(algorithm));
        Set<String> named = sources.stream().map(Class::getName).collect(Collectors.toSet());
        for (Class<?> source : sources) {
          // The common base names its subclasses, which another operation's need not be.
          if (source != ProductKernel.class) {
            assertThat(named)
                .as("%s %s: %s", operation.name(), algorithm, source)
                .containsAll(classesNamedBy(source));
          }
        }
      }
    }
  }

  /** Names of the package's top-level classes that a class and its nest refer to. */
  private static Set<String> classesNamedBy(Class<?> source) throws IOException {
    String folder = source.getPackageName().replace('.', '/') + "/";
    Set<String> names = new HashSet<>();
    for (Class<?> member : source.getNestMembers()) {
      String file = member.getName().substring(member.getPackageName().length() + 1) + ".class";
      try (InputStream code = source.getResourceAsStream(file)) {
        assertThat(code).as(file).isNotNull();
        for (PoolEntry entry : ClassFile.of().parse(code.readAllBytes()).constantPool()) {
          if (entry instanceof ClassEntry named && named.asInternalName().startsWith(folder)) {
            names.add(named.asInternalName().replace('/', '.').replaceFirst("\\$.*", ""));
          }
        }
      }
    }
    return names;
  }

  @Test
  void measuresAPeakThatScalarCodeCouldNotReach() {
    // One lane on one pipe would do 2 flop per cycle: below 12 Gflop/s on any core there is.
    double peak = backend.measurePeakFlops(device()).orElseThrow();
    assertThat(peak).isBetween(12e9, 1e15);
  }

  private Device device() {
    return ((Probe.Available) backend.probe()).devices().getFirst();
  }
}
