package dev.heddle.vector;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.Backend;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostSession;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Provenance;
import dev.heddle.core.RotaryEmbedding;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Runs operations with the Vector API on a crew of one thread per core. */
final class VectorSession extends HostSession {
  private static final List<Class<?>> COMMON = List.of(Lanes.class, Tensors.class, Workers.class);
  private static final List<Class<?>> ROUNDING = List.of(Rounding.class);
  private static final List<Class<?>> OPTIONS = List.of(ScoreOptions.class, Tanh.class, Exp.class);
  private static final List<Class<?>> MICRO_KERNEL =
      List.of(WildRows.class, Packing.class, MicroKernel.class);
  private static final List<Class<?>> PRODUCT =
      List.of(
          ProductKernel.class,
          TiledProduct.class,
          WildRows.class,
          Packing.class,
          MicroKernel.class,
          Rounding.class);

  private final Workers workers;

  VectorSession(Backend backend, Device device) {
    super(backend, device, VectorBackend.DTYPES);
    workers = new Workers(device.limits().computeUnits());
  }

  @Override
  protected Kernel compile(Operation operation, Plan plan, Map<String, Span> tensors) {
    return switch (operation) {
      case AttentionProblem problem ->
          switch (plan.algorithm()) {
            case VectorBackend.NAIVE -> new NaiveAttention(problem, tensors, workers);
            case VectorBackend.STAGED -> new StagedAttention(problem, tensors, workers);
            default -> new FlashAttention(problem, tensors, workers);
          };
      case AttentionStage stage -> stage(stage, tensors);
      case LinearProblem problem -> new Linear(problem, tensors, workers);
      case HeadsTranspose problem -> new HeadsSwap(problem, tensors, workers);
      case CacheAppend problem -> new CacheCopy(problem, tensors, workers);
      case RotaryEmbedding problem -> new Rotation(problem, tensors, workers);
      case LinearAttention problem -> new Recurrence(problem, tensors, workers);
    };
  }

  private Kernel stage(AttentionStage stage, Map<String, Span> tensors) {
    AttentionProblem problem = stage.attention();
    return switch (stage.stage()) {
      case SCORES ->
          new ScoresStage(
              problem.shape(),
              Tensors.get(tensors, "q"),
              Tensors.get(tensors, "k"),
              Tensors.get(tensors, "scores"),
              workers);
      case SOFTMAX ->
          new SoftmaxStage(
              problem,
              new ScoreOptions(problem, tensors),
              Tensors.get(tensors, "scores"),
              Tensors.get(tensors, "probabilities"),
              tensors.get("lse"),
              workers);
      case VALUES ->
          new ValuesStage(
              problem,
              new ScoreOptions(problem, tensors),
              Tensors.get(tensors, "probabilities"),
              Tensors.get(tensors, "v"),
              Tensors.get(tensors, "out"),
              workers);
    };
  }

  @Override
  protected Provenance provenance(Operation operation, Plan plan) {
    return Provenance.ofClasses(device(), plan, sources(operation, plan));
  }

  /** Every class of this package that takes part, each before what it is made of. */
  static List<Class<?>> sources(Operation operation, Plan plan) {
    return switch (operation) {
      case AttentionProblem problem ->
          switch (plan.algorithm()) {
            case VectorBackend.NAIVE -> sources(List.of(NaiveAttention.class), OPTIONS, ROUNDING);
            case VectorBackend.STAGED ->
                sources(
                    List.of(
                        StagedAttention.class,
                        ScoresStage.class,
                        SoftmaxStage.class,
                        ValuesStage.class),
                    PRODUCT,
                    OPTIONS);
            default ->
                sources(
                    List.of(FlashAttention.class, ScoreTile.class),
                    MICRO_KERNEL,
                    OPTIONS,
                    ROUNDING);
          };
      case AttentionStage stage ->
          switch (stage.stage()) {
            case SCORES -> sources(List.of(ScoresStage.class), PRODUCT);
            case SOFTMAX -> sources(List.of(SoftmaxStage.class), OPTIONS);
            case VALUES -> sources(List.of(ValuesStage.class), PRODUCT, OPTIONS);
          };
      case LinearProblem problem -> sources(List.of(Linear.class), PRODUCT);
      case HeadsTranspose problem -> sources(List.of(HeadsSwap.class));
      case CacheAppend problem -> sources(List.of(CacheCopy.class));
      case RotaryEmbedding problem -> sources(List.of(Rotation.class), ROUNDING);
      case LinearAttention problem -> sources(List.of(Recurrence.class), EXP, ROUNDING);
    };
  }

  @SafeVarargs
  private static List<Class<?>> sources(List<Class<?>> own, List<Class<?>>... parts) {
    return Stream.of(Stream.of(own), Stream.of(parts), Stream.of(COMMON))
        .flatMap(lists -> lists)
        .flatMap(List::stream)
        .toList();
  }

  /** Ends the threads. */
  @Override
  protected void release() {
    workers.close();
  }
}
