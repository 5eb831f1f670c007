package dev.heddle.vector;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.Backend;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.Session;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;

/**
 * The Java Vector API on all cores: one device, the host's processor.
 *
 * <p>This class touches no vector class before {@link #probe} has found the module, so that a JVM
 * started without it gets a reason and not an error.
 */
public final class VectorBackend implements Backend {
  static final String NAIVE = "naive";
  static final String STAGED = "staged";
  static final String FLASH = "flash";
  static final String TILED = "tiled";
  static final String COPY = "copy";
  static final String APPEND = "append";
  static final String EMBEDDING = "embedding";
  static final String RECURRENT = "recurrent";

  static final Set<DType> DTYPES = Set.copyOf(DType.FLOATING);

  private static final String MODULE = "jdk.incubator.vector";

  /** Created by the service loader. */
  public VectorBackend() {}

  @Override
  public String id() {
    return "vector";
  }

  @Override
  public Probe probe() {
    return probe(ModuleLayer.boot());
  }

  /** Looks for the Vector API among the modules that a JVM was started with. */
  Probe probe(ModuleLayer modules) {
    if (modules.findModule(MODULE).isEmpty()) {
      return new Probe.Unavailable(
          "the JVM was started without --add-modules " + MODULE,
          "start Java with --add-modules " + MODULE + ", or use the heddle launcher");
    }
    Device device =
        HostSession.jvm(id(), "Java Vector API, " + Lanes.LANES * Float.SIZE + "-bit vectors");
    return new Probe.Available(List.of(device), List.of());
  }

  @Override
  public List<String> algorithms(Device device, Operation operation) {
    return switch (operation) {
      case AttentionProblem problem -> List.of(NAIVE, STAGED, FLASH);
      case AttentionStage stage -> List.of(STAGED);
      case LinearProblem problem -> List.of(TILED);
      case HeadsTranspose problem -> List.of(COPY);
      case CacheAppend problem -> List.of(APPEND);
      case RotaryEmbedding problem -> List.of(EMBEDDING);
      case LinearAttention problem -> List.of(RECURRENT);
    };
  }

  @Override
  public Optional<Refusal> refusal(Device device, Operation operation, Plan plan) {
    if (!plan.tunables().isEmpty()) {
      return Optional.of(
          new Refusal(
              "tunables",
              plan.kernelName(operation)
                  + " has no tunable "
                  + plan.tunables().firstKey()
                  + "; its tiles follow from the vector width"));
    }
    int cores = device.limits().computeUnits();
    Optional<Refusal> common =
        HostSession.commonRefusal(
            device,
            operation,
            plan,
            DTYPES,
            algorithms(device, operation),
            options(plan),
            scratchBytes(operation, plan, cores));
    return common.or(() -> tooLong(operation, plan));
  }

  @Override
  public Session open(Device device) {
    return new VectorSession(this, device);
  }

  @Override
  public OptionalDouble measurePeakFlops(Device device) {
    return OptionalDouble.of(FmaPeak.measure(device.limits().computeUnits()));
  }

  /** Options of attention that an algorithm has: flash holds no scores that it could put out. */
  private static Set<AttentionOption> options(Plan plan) {
    return plan.algorithm().equals(FLASH) ? AttentionOption.WITHOUT_SCORES : AttentionOption.ALL;
  }

  /** Memory that an operation needs beyond its inputs and outputs, bytes. */
  static long scratchBytes(Operation operation, Plan plan, int cores) {
    return switch (operation) {
      case AttentionProblem problem ->
          switch (plan.algorithm()) {
            case NAIVE -> NaiveAttention.scratchBytes(problem, cores);
            case STAGED -> StagedAttention.scratchBytes(problem, cores);
            default -> FlashAttention.scratchBytes(problem, cores);
          };
      case AttentionStage stage ->
          switch (stage.stage()) {
            case SCORES -> ScoresStage.scratchBytes(stage.attention().shape(), cores);
            case SOFTMAX -> SoftmaxStage.scratchBytes(stage.attention(), cores);
            case VALUES -> ValuesStage.scratchBytes(stage.attention(), cores);
          };
      case LinearProblem problem -> Linear.scratchBytes(problem, cores);
      case LinearAttention problem -> Recurrence.scratchBytes(problem, cores);
      case HeadsTranspose problem -> 0;
      case CacheAppend problem -> 0;
      case RotaryEmbedding problem -> 0;
    };
  }

  /** A score matrix or a packed operand that does not fit one JVM array. */
  private static Optional<Refusal> tooLong(Operation operation, Plan plan) {
    long longest =
        switch (operation) {
          case AttentionProblem problem ->
              plan.algorithm().equals(FLASH)
                  ? FlashAttention.longestArray(problem.shape())
                  : Math.max(problem.shape().scores().elements(), longestPanel(problem.shape()));
          case AttentionStage stage -> longestPanel(stage.attention().shape());
          case LinearProblem problem -> (long) problem.inFeatures() * Lanes.PANEL;
          case LinearAttention problem -> Recurrence.longestArray(problem.shape());
          case HeadsTranspose problem -> 0;
          case CacheAppend problem -> 0;
          case RotaryEmbedding problem -> 0;
        };
    return longest <= HostTensor.MAX_ELEMENTS
        ? Optional.empty()
        : Optional.of(
            new Refusal(
                "arrayLength",
                plan.kernelName(operation)
                    + " would keep "
                    + longest
                    + " elements in one array; a JVM array holds at most "
                    + HostTensor.MAX_ELEMENTS));
  }

  private static long longestPanel(AttentionShape shape) {
    return (long) Math.max(shape.headDim(), shape.seqlenK()) * Lanes.PANEL;
  }
}
