package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * How far attention that is computed in fp32 can be off at most, element by element, in any order
 * of its sums. What a policy calls too much but is below this can be bad luck on a problem of few
 * elements; what is above it is wrong.
 *
 * <p>With {@code u = 2^-23}, an fp32 rounding that may also truncate, as tensor cores do, and
 * {@code A} the largest {@code |scale| sum |q_d| |k_d|} of the row's visible keys, the forward
 * error bounds are, to first order:
 *
 * <ul>
 *   <li>a logit: {@code delta = (HEAD_DIM + 16) u A}. A sum of products loses at most {@code
 *       HEAD_DIM u A}; scale, log2 e, the maximum that is subtracted, and the rescaling by each new
 *       maximum, whose differences add up to at most 2 A, lose a few {@code u A} more.
 *   <li>a weight, relative to the sum of all: {@code rho = exp(2 delta + (8 SEQLEN_K + 32) u + 2
 *       u_t) - 1}: numerator and denominator have {@code delta} each; the exponentials of a weight
 *       and of at most as many rescalings as there are keys, and both sums, lose at most {@code 8
 *       SEQLEN_K u}; a weight that meets V in the storage type loses its {@code u_t}.
 *   <li>out: {@code rho} times the sum of {@code p |v|}, but never more than twice the largest
 *       {@code |v|}, of which both results are averages; and one rounding to the storage type.
 *   <li>lse: {@code delta + (8 SEQLEN_K + 32) u + 4 u (A + ln SEQLEN_K)}.
 * </ul>
 *
 * <p>Options change what {@code A} and the error of a logit are, key by key, before the largest is
 * taken:
 *
 * <ul>
 *   <li>Hidden keys count nowhere, whatever hides them.
 *   <li>Softcap has a slope of at most 1, so that it carries an error on at most as large as it is;
 *       its division, hyperbolic tangent (which may be made of exponentials, whose errors are
 *       relative to 1) and product lose at most {@code 16 u softcap} more. Both results are within
 *       the softcap, which bounds {@code A} from there on and the error by twice as much.
 *   <li>Bias and ALiBi add their magnitudes to {@code A}, and their product and sums lose {@code 4
 *       u A} more.
 *   <li>A sink is one more logit, without an error of its own, whose magnitude counts in {@code A}:
 *       it may be the maximum.
 *   <li>Dropout multiplies what is kept, and with it the bounds of out; what the factor loses is
 *       within the {@code 32 u} of a weight.
 * </ul>
 *
 * <p>A score output loses what has been lost until its stage; {@code rho} of the probabilities.
 *
 * <p>Devices may flush subnormal numbers to zero, {@code 2^-126} each at most; fp16 weights are
 * spaced by {@code 2^-24} near 0.
 *
 * <p>Source: Higham, Accuracy and Stability of Numerical Algorithms, section 3.1 (sums of
 * products).
 *
 * @param problem what is computed
 * @param out bound of each element of out
 * @param lse bound of each element of lse
 * @param probabilities bound of a probability relative to itself, of each row
 * @param scoreOutput bound of each element of score_output; empty where that is no output
 */
public record WorstCase(
    AttentionProblem problem,
    double[] out,
    double[] lse,
    double[] probabilities,
    double[] scoreOutput) {
  private static final double U = 0x1p-23;
  private static final double SOFTCAP_ROUNDINGS = 16;
  private static final double SHIFT_ROUNDINGS = 4;
  private static final double SMALLEST_NORMAL = 0x1p-126;

  /** The bounds for these inputs. */
  public static WorstCase of(AttentionProblem problem, Map<String, HostTensor> inputs) {
    AttentionShape shape = problem.shape();
    Map<String, double[]> magnitudes = new HashMap<>();
    inputs.forEach((name, tensor) -> magnitudes.put(name, magnitudes(tensor)));
    ScalarOperations exact = new ScalarOperations(Precision.FP64);
    double[] products =
        ScalarOperations.input(
            exact.evaluate(new AttentionStage(AttentionStage.Stage.SCORES, problem), magnitudes),
            "scores");
    Map<String, double[]> original = new HashMap<>();
    inputs.forEach((name, tensor) -> original.put(name, tensor.toDoubles()));
    original.put("v", ScalarOperations.input(magnitudes, "v"));
    Map<String, double[]> results = exact.evaluate(problem, original);
    double[] averages = ScalarOperations.input(results, "out");
    double largestV =
        max(ScalarOperations.input(magnitudes, "v")) * problem.options().dropout().keptScale();
    double flushed =
        Math.abs(problem.softmaxScale())
            * SMALLEST_NORMAL
            * shape.headDim()
            * (1
                + max(ScalarOperations.input(magnitudes, "q"))
                + max(ScalarOperations.input(magnitudes, "k")));
    int rows = averages.length / shape.headDimV();
    double[] out = new double[averages.length];
    double[] lse = new double[rows];
    double[] relative = new double[rows];
    double[] scores = results.getOrDefault("score_output", new double[0]).clone();
    for (int r = 0; r < rows; r++) {
      Logits logits =
          new Logits(
              problem, new AttentionRow(problem, Precision.FP64, original, r), products, flushed);
      double delta = logits.delta();
      lse[r] = delta + sums(shape) + 4 * U * (logits.largest + Math.log(shape.seqlenK()));
      relative[r] = Math.expm1(2 * delta + sums(shape));
      double rho = Math.expm1(2 * delta + sums(shape) + weight(problem.dtype()));
      for (int c = 0; c < shape.headDimV(); c++) {
        int at = r * shape.headDimV() + c;
        out[at] =
            share(rho, averages[at], 2 * largestV)
                + underflow(problem, largestV)
                + stored(problem.dtype(), averages[at]);
      }
      for (int j = 0; j < scores.length / rows; j++) {
        int at = r * shape.seqlenK() + j;
        scores[at] = logits.scoreOutput(j, relative[r], scores[at]);
      }
    }
    return new WorstCase(problem, out, lse, relative, scores);
  }

  /** What the logits of one row lose. */
  private static final class Logits {
    private final AttentionProblem problem;
    private final AttentionRow row;
    private final double[] products;
    private final double flushed;

    /** Magnitude of the largest visible one, the sink among them. */
    private final double largest;

    /** Error of the worst visible one, before it is exponentiated. */
    private final double worst;

    Logits(AttentionProblem problem, AttentionRow row, double[] products, double flushed) {
      this.problem = problem;
      this.row = row;
      this.products = products;
      this.flushed = flushed;
      double most = row.sinks() ? Math.abs(row.sink()) : 0;
      double error = flushed;
      for (int j = row.first; j < row.first + row.visible; j++) {
        if (!row.hides(j)) {
          most = Math.max(most, magnitude(j));
          error = Math.max(error, error(j));
        }
      }
      largest = most;
      worst = error;
    }

    /** Error of what is exponentiated: the maximum subtracted, rescaled at every new maximum. */
    double delta() {
      return worst + 16 * U * largest;
    }

    private double raw(int key) {
      AttentionShape shape = problem.shape();
      return Math.abs(problem.softmaxScale()) * products[row.index * shape.seqlenK() + key];
    }

    private double rawError(int key) {
      return problem.shape().headDim() * U * raw(key) + flushed;
    }

    private double softcapped(int key) {
      double cap = problem.options().softcap();
      return cap == 0 ? raw(key) : Math.min(raw(key), cap);
    }

    private double softcappedError(int key) {
      double cap = problem.options().softcap();
      return cap == 0
          ? rawError(key)
          : Math.min(rawError(key) + SOFTCAP_ROUNDINGS * U * cap, 2 * cap);
    }

    private double magnitude(int key) {
      return softcapped(key) + Math.abs(row.bias(key)) + Math.abs(row.alibi(key));
    }

    private double error(int key) {
      boolean shifted = problem.options().bias().isPresent() || problem.options().alibi();
      return softcappedError(key) + (shifted ? SHIFT_ROUNDINGS * U * magnitude(key) : 0);
    }

    /** Bound of one element of score_output; the factor that scales a score is a rounding more. */
    double scoreOutput(int key, double relative, double probability) {
      return switch (problem.options().scoreOutput().orElseThrow()) {
        case RAW -> rawError(key) + 2 * U * raw(key);
        case SOFTCAPPED -> softcappedError(key) + 2 * U * raw(key);
        case BIASED -> row.hides(key) ? 0 : error(key) + 2 * U * raw(key);
        case PROBABILITIES ->
            row.hides(key) ? 0 : share(relative, probability, 1) + 2 * SMALLEST_NORMAL;
      };
    }
  }

  /**
   * Bound of {@code out} where V is 1 everywhere: what a logit loses, numerator and denominator
   * lose alike.
   */
  static double ofOnes(AttentionProblem problem) {
    return Math.expm1(sums(problem.shape()) + weight(problem.dtype()))
        + underflow(problem, 1)
        + stored(problem.dtype(), 1);
  }

  /** Bound of an fp32 probability of row {@code r} as the softmax stage gives it, dropout done. */
  double probability(int r, double value) {
    return share(probabilities[r], value, problem.options().dropout().keptScale())
        + 2 * SMALLEST_NORMAL;
  }

  /**
   * A relative error of an average, but at most {@code most}; where the error is 1 or more, the
   * average may be of other rows altogether, so that its own size bounds nothing.
   */
  static double share(double relative, double average, double most) {
    return relative < 1 ? Math.min(relative * average, most) : most;
  }

  /**
   * Why a failed verdict is more than bad luck: the first output that is off by more than its
   * bound; empty where none is.
   */
  public static Optional<String> exceeded(
      AttentionProblem problem,
      Map<String, HostTensor> inputs,
      Expectation expectation,
      Map<String, HostTensor> outputs) {
    WorstCase bounds = of(problem, inputs);
    for (ExpectedTensor expected : expectation.tensors()) {
      double[] bound =
          switch (expected.name()) {
            case "out" -> bounds.out;
            case "lse" -> bounds.lse;
            case "score_output" -> bounds.scoreOutput;
            default -> throw new IllegalArgumentException("attention has no " + expected.name());
          };
      HostTensor got = outputs.get(expected.name());
      for (int i = 0; got != null && i < bound.length; i++) {
        double error = ErrorMeasures.difference(expected.exact()[i], got.get(i));
        if (!(error <= bound[i])) {
          return Optional.of(
              String.format(
                  Locale.ROOT,
                  "%s%s is off by %.3g; fp32 in any order loses at most %.3g",
                  expected.name(),
                  expected.shape().position(i),
                  error,
                  bound[i]));
        }
      }
    }
    return Optional.empty();
  }

  private static double sums(AttentionShape shape) {
    return (8.0 * shape.seqlenK() + 32) * U;
  }

  private static double weight(DType dtype) {
    return 2 * dtype.ulp(1);
  }

  private static double underflow(AttentionProblem problem, double largestV) {
    double spacing = problem.dtype() == DType.FP16 ? 0x1p-24 : SMALLEST_NORMAL;
    return problem.shape().seqlenK() * spacing * largestV + 2 * SMALLEST_NORMAL;
  }

  private static double stored(DType dtype, double value) {
    return dtype.ulp((float) value);
  }

  private static double[] magnitudes(HostTensor tensor) {
    double[] values = tensor.toDoubles();
    for (int i = 0; i < values.length; i++) {
      values[i] = Math.abs(values[i]);
    }
    return values;
  }

  private static double max(double[] values) {
    double max = 0;
    for (double value : values) {
      max = Math.max(max, value);
    }
    return max;
  }
}
