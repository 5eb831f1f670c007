package dev.heddle.reference;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Blocks;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import java.util.Map;

/**
 * One query row of an attention problem: which keys it sees, and what the options do to its scores.
 * The formulas are those of {@link AttentionOptions}.
 */
final class AttentionRow {
  private final AttentionProblem problem;
  private final Precision precision;
  private final Map<String, double[]> inputs;
  private final int batch;
  private final int headQ;
  private final int query;
  private final int offset;

  /** Its number among all rows, in the flattened {@code [B, H_Q, SEQLEN_Q]}. */
  final int index;

  /** The key-value head that it reads, in the flattened {@code [B, H_KV]}. */
  final int kvHead;

  /** First key within the band. */
  final int first;

  /** Number of keys within the band; the options may hide some of them. */
  final int visible;

  /**
   * A row.
   *
   * @param inputs what the options' tensors hold, by name
   * @param index into the flattened {@code [B, H_Q, SEQLEN_Q]}
   */
  AttentionRow(
      AttentionProblem problem, Precision precision, Map<String, double[]> inputs, int index) {
    this.problem = problem;
    this.precision = precision;
    this.inputs = inputs;
    this.index = index;
    AttentionShape shape = problem.shape();
    query = index % shape.seqlenQ();
    int head = index / shape.seqlenQ();
    batch = head / shape.headsQ();
    headQ = head % shape.headsQ();
    kvHead = batch * shape.headsKv() + shape.kvHead(headQ);
    int keys =
        problem.options().keyLengths()
            ? (int) ScalarOperations.input(inputs, "key_lengths")[batch]
            : shape.seqlenK();
    offset = problem.mask().offset(shape.seqlenQ(), keys);
    first = problem.mask().firstKey(query, shape.seqlenQ(), keys);
    visible = Math.max(0, problem.mask().endKey(query, shape.seqlenQ(), keys) - first);
  }

  /** Whether a key is hidden; one outside the band always is. */
  boolean hides(int key) {
    return key < first
        || key >= first + visible
        || maskHides(key)
        || bias(key) == Double.NEGATIVE_INFINITY
        || blockHides(key);
  }

  /** Whether some key is seen. */
  boolean seesAny() {
    for (int key = first; key < first + visible; key++) {
      if (!hides(key)) {
        return true;
      }
    }
    return false;
  }

  /** The problem that it is a row of. */
  AttentionProblem problem() {
    return problem;
  }

  /** Whether its scores are needed in natural units before they are exponentiated. */
  boolean staysNatural() {
    AttentionOptions options = problem.options();
    return options.softcap() != 0
        || options.bias().isPresent()
        || options.alibi()
        || options.scoreOutput().isPresent();
  }

  /** A scaled score after the softcap. */
  double softcapped(double score) {
    double cap = problem.options().softcap();
    return cap == 0
        ? score
        : precision.round(cap * precision.round(Math.tanh(precision.round(score / cap))));
  }

  /** A softcapped score after bias and ALiBi. */
  double biased(double score, int key) {
    double sum = score;
    if (problem.options().bias().isPresent()) {
      sum = precision.round(sum + bias(key));
    }
    if (problem.options().alibi()) {
      sum = precision.round(sum - alibi(key));
    }
    return sum;
  }

  /** What the bias adds to a score; 0 without one. */
  double bias(int key) {
    return problem.options().bias().map(layout -> at("bias", layout, key)).orElse(0.0);
  }

  /** What ALiBi subtracts from a score; 0 without it. */
  double alibi(int key) {
    if (!problem.options().alibi()) {
      return 0;
    }
    double slope = ScalarOperations.input(inputs, "alibi_slopes")[headQ];
    return precision.round(slope * Math.abs((double) query + offset - key));
  }

  /** Whether the boolean mask hides a key. */
  boolean maskHides(int key) {
    return problem.options().mask().map(layout -> at("mask", layout, key) == 0).orElse(false);
  }

  /** Whether the block mask hides a key. */
  boolean blockHides(int key) {
    return problem.options().blocks().map(layout -> block(layout, key) == 0).orElse(false);
  }

  /** Whether there is a sink. */
  boolean sinks() {
    return problem.options().sinks();
  }

  /** The head's sink, a natural logit. */
  double sink() {
    return ScalarOperations.input(inputs, "sinks")[headQ];
  }

  /** What dropout multiplies the probabilities of the keys within the band by. */
  float[] dropoutFactors() {
    float[] factors = new float[visible];
    problem
        .options()
        .dropout()
        .factors(factors, first, query, batch * problem.shape().headsQ() + headQ);
    return factors;
  }

  private double at(String tensor, Broadcast layout, int key) {
    AttentionShape shape = problem.shape();
    int row = layout.batch() ? batch : 0;
    row = layout.heads() ? row * shape.headsQ() + headQ : row;
    row = layout.rows() ? row * shape.seqlenQ() + query : row;
    return ScalarOperations.input(inputs, tensor)[row * shape.seqlenK() + key];
  }

  private double block(Blocks layout, int key) {
    AttentionShape shape = problem.shape();
    int row = layout.batch() ? batch : 0;
    row = layout.heads() ? row * shape.headsQ() + headQ : row;
    row = row * Math.ceilDiv(shape.seqlenQ(), layout.rows()) + query / layout.rows();
    return ScalarOperations.input(inputs, "block_mask")[
        row * Math.ceilDiv(shape.seqlenK(), layout.keys()) + key / layout.keys()];
  }
}
