package dev.heddle.lab;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.Device;
import dev.heddle.reference.Verdict;
import java.util.List;
import java.util.Optional;

/**
 * A comparison as JSON. {@code results[]} holds an object for each trial; numbers that do not
 * exist, such as the time of a result that did not pass, or that JSON can't write, such as NaN, are
 * null.
 */
public final class ComparisonJson {
  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

  private ComparisonJson() {}

  /** The whole document, indented. */
  public static byte[] write(Comparison comparison) {
    ObjectNode root = NODES.objectNode();
    root.put("workload", comparison.workload().description());
    comparison.workload().note().ifPresent(note -> root.put("note", note));
    root.put("dtype", comparison.workload().focus().dtype().label());
    if (comparison.workload().focus() instanceof AttentionProblem problem) {
      root.set("problem", problem(problem));
      root.put("conventionalFlops", problem.conventionalFlops());
    }
    root.put("flops", comparison.workload().chain().flops());
    root.put("policy", comparison.policy().name());
    root.put("bound", comparison.policy().derivation());
    root.put("sampled", comparison.sampled());
    comparison
        .hostPeakFlops()
        .ifPresentOrElse(
            peak -> root.put("hostPeakGflops", peak * 1e-9), () -> root.putNull("hostPeakGflops"));
    ArrayNode results = root.putArray("results");
    comparison.trials().forEach(trial -> results.add(result(comparison, trial)));
    comparison.peer().ifPresent(peer -> root.set("peer", peer(peer)));
    root.set("unavailable", ResultNodes.missing(comparison.missing()));
    return ResultNodes.write(root);
  }

  private static ObjectNode result(Comparison comparison, Trial trial) {
    Device device = trial.device();
    ObjectNode node = ResultNodes.device(device);
    node.put("algorithm", trial.algorithm());
    node.put("kernel", trial.kernel());
    node.put("verdict", trial.verdict().label());
    node.put("reason", trial.verdict().reason().orElse(null));
    Optional<Verdict.Judged> worst = trial.verdict().worst();
    ResultNodes.number(node, "maxAbsError", worst.map(w -> w.measures().maxAbs()));
    ResultNodes.number(node, "relL2", worst.map(w -> w.measures().relL2()));
    ResultNodes.number(node, "errorRatio", worst.map(Verdict.Judged::errorRatio));
    Optional<Measurement> time = trial.measurement();
    ResultNodes.number(node, "medianNs", time.map(m -> (double) m.medianNs()));
    ResultNodes.number(
        node, "gflops", boxed(comparison.flopsPerSecond(trial)).map(rate -> rate * 1e-9));
    ResultNodes.number(
        node, "peakGflops", boxed(comparison.peakFlops(trial)).map(peak -> peak * 1e-9));
    ResultNodes.number(node, "peakShare", boxed(comparison.peakShare(trial)));
    ResultNodes.number(node, "minNs", time.map(m -> (double) m.minNs()));
    ResultNodes.number(node, "maxNs", time.map(m -> (double) m.maxNs()));
    ResultNodes.number(
        node,
        "deviceMedianNs",
        time.filter(m -> m.deviceMedianNs().isPresent())
            .map(m -> (double) m.deviceMedianNs().getAsLong()));
    ResultNodes.number(node, "runs", time.map(m -> (double) m.runs()));
    ArrayNode rounds = node.putArray("rounds");
    time.ifPresent(measured ->
        measured
            .rounds()
            .forEach(round -> {
              ObjectNode counted = rounds.addObject();
              samples(counted.putArray("hostNs"), round.hostNs());
              samples(counted.putArray("deviceNs"), round.deviceNs());
            }));
    node.put("scratchBytes", trial.scratchBytes());
    node.put("uploadedBytes", trial.transfers().uploadedBytes());
    node.put("uploadNs", trial.transfers().uploadNs());
    node.put("downloadedBytes", trial.transfers().downloadedBytes());
    node.put("downloadNs", trial.transfers().downloadNs());
    ArrayNode tensors = node.putArray("tensors");
    trial.verdict().tensors().forEach(judged -> tensors.add(ResultNodes.tensor(judged)));
    ArrayNode steps = node.putArray("provenance");
    trial.provenance().forEach(provenance -> steps.add(ResultNodes.step(provenance)));
    return node;
  }

  /** An attention problem's sizes, storage type and mask, as peers are told them too. */
  static ObjectNode problem(AttentionProblem problem) {
    ObjectNode node = NODES.objectNode();
    AttentionShape shape = problem.shape();
    ArrayNode sizes = node.putArray("shape");
    sizes.add(shape.batch()).add(shape.headsQ()).add(shape.headsKv());
    sizes.add(shape.seqlenQ()).add(shape.seqlenK()).add(shape.headDim()).add(shape.headDimV());
    node.put("dtype", problem.dtype().label());
    node.put("mask", problem.mask().toString());
    return node;
  }

  private static ObjectNode peer(Peer.Result peer) {
    ObjectNode node = NODES.objectNode();
    peer.greeting().forEach(node::put);
    node.put("error", peer.error().orElse(null));
    ArrayNode implementations = node.putArray("implementations");
    for (Peer.Implementation one : peer.implementations()) {
      ObjectNode told = implementations.addObject();
      told.put("name", one.name());
      told.put("error", one.error().orElse(null));
      ResultNodes.number(told, "medianNs", one.medianNs().map(Long::doubleValue));
      ArrayNode rounds = told.putArray("rounds");
      one.rounds().forEach(round -> samples(rounds.addArray(), round));
    }
    return node;
  }

  private static void samples(ArrayNode array, List<Long> samples) {
    samples.forEach(array::add);
  }

  private static Optional<Double> boxed(java.util.OptionalDouble value) {
    return value.isPresent() ? Optional.of(value.getAsDouble()) : Optional.empty();
  }
}
