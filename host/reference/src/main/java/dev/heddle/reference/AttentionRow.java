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
    AttentionOptions options = problem.options();
    return key < first
        || key >= first + visible
        || (options.mask().isPresent() && at("mask", options.mask().get(), key) == 0)
        || (options.bias().isPresent()
            && at("bias", options.bias().get(), key) == Double.NEGATIVE_INFINITY)
        || (options.blocks().isPresent() && block(options.blocks().get(), key) == 0);
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
    AttentionOptions options = problem.options();
    double sum = score;
    if (options.bias().isPresent()) {
      sum = precision.round(sum + at("bias", options.bias().get(), key));
    }
    if (options.alibi()) {
      double slope = ScalarOperations.input(inputs, "alibi_slopes")[headQ];
      double distance = Math.abs((double) query + offset - key);
      sum = precision.round(sum - precision.round(slope * distance));
    }
    return sum;
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
