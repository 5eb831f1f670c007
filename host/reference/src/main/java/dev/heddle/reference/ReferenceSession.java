package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HostSession;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Provenance;
import dev.heddle.core.TensorSpec;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Runs the scalar formulas on a session's tensors. */
final class ReferenceSession extends HostSession {
  private static final ScalarOperations OPERATIONS = new ScalarOperations(Precision.FP64);

  ReferenceSession(Backend backend, Device device) {
    super(backend, device, ReferenceBackend.DTYPES);
  }

  @Override
  protected Kernel compile(Operation operation, Plan plan, Map<String, Span> tensors) {
    return new Kernel() {
      @Override
      public void run() {
        Map<String, double[]> inputs = new HashMap<>();
        for (TensorSpec spec : operation.inputs()) {
          inputs.put(spec.name(), widen(span(tensors, spec)));
        }
        Map<String, double[]> outputs = evaluate(operation, plan.algorithm(), inputs);
        for (TensorSpec spec : operation.outputs()) {
          narrow(ScalarOperations.input(outputs, spec.name()), spec.dtype(), span(tensors, spec));
        }
      }

      @Override
      public long scratchBytes() {
        return ReferenceBackend.scratchBytes(operation, plan);
      }
    };
  }

  @Override
  protected Provenance provenance(Operation operation, Plan plan) {
    List<Class<?>> sources =
        switch (plan.algorithm()) {
          case "flash" -> List.of(ScalarFlash.class, ScalarOperations.class, Precision.class);
          // The session itself runs the stages one after another.
          case "staged" -> List.of(ReferenceSession.class, ScalarOperations.class, Precision.class);
          default ->
              operation instanceof LinearAttention
                  ? List.of(ScalarLinearAttention.class, ScalarOperations.class, Precision.class)
                  : List.of(ScalarOperations.class, Precision.class);
        };
    return Provenance.ofClasses(device(), plan, sources);
  }

  private static Map<String, double[]> evaluate(
      Operation operation, String algorithm, Map<String, double[]> inputs) {
    if (operation instanceof AttentionProblem problem) {
      switch (algorithm) {
        case "staged" -> {
          return staged(problem, inputs);
        }
        case "flash" -> {
          return ScalarFlash.attention(problem, inputs);
        }
        default -> {}
      }
    }
    return OPERATIONS.evaluate(operation, inputs);
  }

  private static Map<String, double[]> staged(
      AttentionProblem problem, Map<String, double[]> inputs) {
    Map<String, double[]> tensors = new HashMap<>(inputs);
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      tensors.putAll(OPERATIONS.evaluate(new AttentionStage(stage, problem), tensors));
    }
    return tensors;
  }

  private static Span span(Map<String, Span> tensors, TensorSpec spec) {
    Span span = tensors.get(spec.name());
    if (span == null) {
      throw new IllegalArgumentException("no tensor given for '" + spec.name() + "'");
    }
    return span;
  }

  private static double[] widen(Span span) {
    double[] wide = new double[span.length()];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = span.array()[span.offset() + i];
    }
    return wide;
  }

  private static void narrow(double[] wide, DType dtype, Span span) {
    for (int i = 0; i < wide.length; i++) {
      span.array()[span.offset() + i] = dtype.round((float) wide[i]);
    }
  }
}
