package dev.heddle.vector;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;
import java.util.List;
import java.util.Map;

/**
 * {@code attention_staged}: the three stages one after another, the scores {@code [B, H_Q,
 * SEQLEN_Q, SEQLEN_K]} in memory between them.
 */
final class StagedAttention implements HostSession.Kernel {
  private final List<HostSession.Kernel> stages;
  private final long scoresBytes;

  StagedAttention(AttentionProblem problem, Map<String, Span> tensors, Workers workers) {
    AttentionShape shape = problem.shape();
    int length = Math.toIntExact(shape.scores().elements());
    Span scores = new Span(new float[length], 0, length);
    scoresBytes = (long) length * Float.BYTES;
    ScoreOptions options = new ScoreOptions(problem, tensors);
    stages =
        List.of(
            new ScoresStage(
                shape, Tensors.get(tensors, "q"), Tensors.get(tensors, "k"), scores, workers),
            new SoftmaxStage(problem, options, scores, scores, tensors.get("lse"), workers),
            new ValuesStage(
                problem,
                options,
                scores,
                Tensors.get(tensors, "v"),
                Tensors.get(tensors, "out"),
                workers));
  }

  static long scratchBytes(AttentionProblem problem, int workers) {
    AttentionShape shape = problem.shape();
    return shape.scores().elements() * Float.BYTES
        + ScoresStage.scratchBytes(shape, workers)
        + SoftmaxStage.scratchBytes(problem, workers)
        + ValuesStage.scratchBytes(problem, workers);
  }

  @Override
  public void run() {
    stages.forEach(HostSession.Kernel::run);
  }

  @Override
  public long scratchBytes() {
    return scoresBytes + stages.stream().mapToLong(HostSession.Kernel::scratchBytes).sum();
  }
}
