package dev.heddle.vector;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.Backend;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostSession;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Provenance;
import java.util.List;
import java.util.Map;

/** Runs operations with the Vector API on a crew of one thread per core. */
final class VectorSession extends HostSession {
  private final Workers workers;

  VectorSession(Backend backend, Device device) {
    super(backend, device);
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
              Tensors.get(tensors, "scores"),
              Tensors.get(tensors, "probabilities"),
              tensors.get("lse"),
              workers);
      case VALUES ->
          new ValuesStage(
              problem,
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

  private static List<Class<?>> sources(Operation operation, Plan plan) {
    return switch (operation) {
      case AttentionProblem problem ->
          switch (plan.algorithm()) {
            case VectorBackend.NAIVE -> List.of(NaiveAttention.class);
            case VectorBackend.STAGED ->
                List.of(
                    ScoresStage.class,
                    SoftmaxStage.class,
                    ValuesStage.class,
                    TiledProduct.class,
                    Packing.class,
                    MicroKernel.class,
                    Exp.class);
            default -> List.of(FlashAttention.class, Packing.class, MicroKernel.class, Exp.class);
          };
      case AttentionStage stage ->
          switch (stage.stage()) {
            case SCORES ->
                List.of(ScoresStage.class, TiledProduct.class, Packing.class, MicroKernel.class);
            case SOFTMAX -> List.of(SoftmaxStage.class, Exp.class);
            case VALUES ->
                List.of(ValuesStage.class, TiledProduct.class, Packing.class, MicroKernel.class);
          };
      case LinearProblem problem ->
          List.of(Linear.class, TiledProduct.class, Packing.class, MicroKernel.class);
      case HeadsTranspose problem -> List.of(HeadsSwap.class);
    };
  }

  /** Closes what was handed out, then ends the threads. */
  @Override
  public void close() {
    super.close();
    workers.close();
  }
}
