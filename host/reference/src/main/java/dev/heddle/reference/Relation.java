package dev.heddle.reference;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Shape;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.UnsupportedProblemException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;

/**
 * What holds of attention whatever computes it, and needs no reference to be seen. Every bound is
 * the sum of what {@link WorstCase} allows each of the results that are compared.
 *
 * <p>A relation is tried with the case's options, but for those with which it does not hold, and
 * for the score output, which none of them looks at. Those about one option are tried on cases that
 * have it: the others have no kernels for it to be compared with.
 */
public enum Relation {
  /**
   * Without a band, keys permuted together with their values give the same out and lse; so do they
   * together with their columns of mask and bias, under softcap and sinks. What tells keys by their
   * number is left out: key lengths, blocks, ALiBi, dropout. Bound: twice the worst case, in which
   * the order of keys is no matter.
   */
  PERMUTED_KEYS("permuting keys with their values changes nothing") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem problem =
          without(
              testCase.problem().withMask(BandMask.NONE),
              AttentionOption.KEY_LENGTHS,
              AttentionOption.BLOCK_MASK,
              AttentionOption.ALIBI,
              AttentionOption.DROPOUT);
      AttentionShape shape = problem.shape();
      Map<String, HostTensor> inputs = testCase.tensors();
      int[] order = permutation(shape.seqlenK(), testCase.seed());
      Map<String, HostTensor> permuted = withKeysOf(problem, inputs, order);
      return equal(problem, inputs, problem, permuted, evaluator);
    }
  },
  /**
   * Without a band, the keys' two parts merged by their lse give the whole; each part has its share
   * of the key lengths and its columns of mask and bias. Left out are sinks, which would count
   * twice, and what tells keys by their number: blocks, ALiBi, dropout. Bound: the whole's worst
   * case, plus the parts' in the parts' shares, plus what an error of {@code L} in both lse moves
   * the shares by, {@code exp(2 L) - 1} relatively.
   */
  SPLIT_KEYS("two parts of the keys, merged by lse, are the whole") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem whole =
          without(
              testCase.problem().withMask(BandMask.NONE),
              AttentionOption.BLOCK_MASK,
              AttentionOption.ALIBI,
              AttentionOption.SINKS,
              AttentionOption.DROPOUT);
      AttentionShape shape = whole.shape();
      if (shape.seqlenK() == 1) {
        return Optional.empty();
      }
      int cut = 1 + Math.floorMod(testCase.seed(), shape.seqlenK() - 1);
      Map<String, HostTensor> inputs = testCase.tensors();
      Map<String, HostTensor> complete = evaluator.run(whole, inputs);
      Part first = Part.of(whole, inputs, range(0, cut), evaluator);
      Part second = Part.of(whole, inputs, range(cut, shape.seqlenK()), evaluator);
      return merged(whole, complete, WorstCase.of(whole, inputs), new Merge(whole, first, second));
    }
  },
  /**
   * With 1 everywhere in V, out is 1 in rows that see a key and 0 in the others; with a sink it is
   * 1 less the sink's probability, {@code exp(sink - lse)}. With all options but dropout. Bound:
   * what sums and storage lose, for errors of logits cancel; and of the sink's probability what lse
   * loses.
   */
  ROW_SUMS("a row of probabilities sums to 1, less the sink's") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem problem = without(testCase.problem(), AttentionOption.DROPOUT);
      AttentionShape shape = problem.shape();
      Map<String, HostTensor> inputs = new HashMap<>(testCase.tensors());
      inputs.put("v", HostTensor.zeros(shape.v(), problem.dtype()).fill(1));
      Map<String, HostTensor> outputs = evaluator.run(problem, inputs);
      Rows rows = new Rows(problem, inputs);
      double[] ofLse =
          problem.options().sinks() ? WorstCase.of(problem, inputs).lse() : new double[0];
      double[] sums = new double[Math.toIntExact(shape.lse().elements())];
      double[] bounds = new double[sums.length];
      for (int row = 0; row < sums.length; row++) {
        if (rows.of(row).seesAny()) {
          double sink =
              problem.options().sinks()
                  ? Math.exp(rows.of(row).sink() - input(outputs, "lse").get(row))
                  : 0;
          sums[row] = 1 - sink;
          bounds[row] =
              WorstCase.ofOnes(problem)
                  + (sink == 0 ? 0 : WorstCase.share(Math.expm1(ofLse[row]), sink, 1));
        }
      }
      int width = shape.headDimV();
      return differs(
          shape.out(),
          "out",
          at -> sums[at / width],
          input(outputs, "out"),
          at -> bounds[at / width]);
    }
  },
  /**
   * With the identity as V, out is the probabilities that the softmax stage gives; the identity is
   * given in blocks as wide as {@code HEAD_DIM_V}, of which the first and the last are asked. With
   * all options. Bound: the worst case of such an out, plus the same relative error of a
   * probability in fp32.
   */
  PROBABILITIES("the identity as V gives the softmax stage's probabilities") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem problem = without(testCase.problem());
      AttentionShape shape = problem.shape();
      Map<String, HostTensor> inputs = new HashMap<>(testCase.tensors());
      AttentionStage products = new AttentionStage(AttentionStage.Stage.SCORES, problem);
      inputs.put("scores", input(evaluator.run(products, inputs), "scores"));
      AttentionStage softmax = new AttentionStage(AttentionStage.Stage.SOFTMAX, problem);
      HostTensor probabilities = input(evaluator.run(softmax, inputs), "probabilities");
      int width = shape.headDimV();
      for (int block : new int[] {0, (shape.seqlenK() - 1) / width}) {
        int from = block * width;
        inputs.put("v", identity(problem, from));
        HostTensor out = input(evaluator.run(problem, inputs), "out");
        WorstCase bound = WorstCase.of(problem, inputs);
        IntToDoubleFunction staged =
            at -> {
              int key = from + at % width;
              return key < shape.seqlenK()
                  ? probabilities.get(at / width * shape.seqlenK() + key)
                  : 0;
            };
        Optional<String> wrong =
            differs(
                shape.out(),
                "keys from " + from + ": out",
                staged,
                out,
                at -> bound.out()[at] + bound.probability(at / width, staged.applyAsDouble(at)));
        if (wrong.isPresent()) {
          return wrong;
        }
      }
      return Optional.empty();
    }
  },
  /**
   * A causal mask equals a window that bounds the keys before the diagonal, too, but hides none.
   * With all options. Bound: twice the worst case.
   */
  CAUSAL_AS_WINDOW("a causal mask equals a window as wide") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      BandMask causal = BandMask.causal(testCase.problem().mask().alignment());
      AttentionProblem problem = without(testCase.problem().withMask(causal));
      AttentionShape shape = problem.shape();
      BandMask window = new BandMask(shape.seqlenQ() + shape.seqlenK(), 0, causal.alignment());
      Map<String, HostTensor> inputs = testCase.tensors();
      return equal(problem, inputs, problem.withMask(window), inputs, evaluator);
    }
  },
  /**
   * A causal mask equals a boolean mask that hides the same keys and those that the case's own mask
   * hides. With all options; on cases that have one. Bound: twice the worst case.
   */
  CAUSAL_AS_MASK("a causal mask equals the boolean mask that it stands for") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      if (testCase.problem().options().isNone()) {
        return Optional.empty();
      }
      Alignment alignment = testCase.problem().mask().alignment();
      AttentionProblem problem = without(testCase.problem().withMask(BandMask.causal(alignment)));
      Map<String, HostTensor> inputs = testCase.tensors();
      // Without a limit, the band still says where ALiBi's diagonal lies.
      BandMask open = new BandMask(BandMask.UNBOUNDED, BandMask.UNBOUNDED, alignment);
      Rows rows = new Rows(problem, inputs);
      return equal(
          problem,
          inputs,
          problem.withMask(open).withOptions(problem.options().withMask(Broadcast.FULL)),
          with(inputs, "mask", rows.expanded(DType.BOOL, (row, key) -> row.hides(key) ? 0 : 1)),
          evaluator);
    }
  },
  /**
   * A boolean mask equals a bias that is {@code -inf} where the mask is 0, and the case's own bias
   * or 0 elsewhere. With all options. Bound: twice the worst case.
   */
  MASK_AS_BIAS("a boolean mask equals a bias of 0 and -inf") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem problem = without(testCase.problem());
      AttentionOptions options = problem.options();
      if (options.mask().isEmpty()) {
        return Optional.empty();
      }
      Map<String, HostTensor> inputs = testCase.tensors();
      Rows rows = new Rows(problem, inputs);
      return equal(
          problem,
          inputs,
          problem.withOptions(options.without(AttentionOption.MASK).withBias(Broadcast.FULL)),
          with(
              inputs,
              "bias",
              rows.expanded(
                  DType.FP32,
                  (row, key) -> row.maskHides(key) ? Double.NEGATIVE_INFINITY : row.bias(key))),
          evaluator);
    }
  },
  /**
   * A sequence with key lengths equals a problem of its own with so many keys. With all options but
   * dropout, which numbers the heads of all sequences. Bound: both worst cases.
   */
  KEY_LENGTHS_AS_FEWER_KEYS("a key length equals a problem with so many keys") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem problem = without(testCase.problem(), AttentionOption.DROPOUT);
      if (!problem.options().keyLengths()) {
        return Optional.empty();
      }
      Map<String, HostTensor> inputs = testCase.tensors();
      Map<String, HostTensor> padded = evaluator.run(problem, inputs);
      WorstCase bound = WorstCase.of(problem, inputs);
      for (int b = 0; b < problem.shape().batch(); b++) {
        Sequence sequence = Sequence.of(problem, inputs, b);
        Optional<String> wrong =
            sequence
                .differs("out", padded, bound.out(), evaluator)
                .or(() -> sequence.differs("lse", padded, bound.lse(), evaluator));
        if (wrong.isPresent()) {
          return wrong;
        }
      }
      return Optional.empty();
    }
  },
  /**
   * A block mask equals a boolean mask that hides the same keys and those that the case's own mask
   * hides. With all options. Bound: twice the worst case.
   */
  BLOCKS_AS_MASK("a block mask equals the boolean mask that it stands for") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem problem = without(testCase.problem());
      AttentionOptions options = problem.options();
      if (options.blocks().isEmpty()) {
        return Optional.empty();
      }
      Map<String, HostTensor> inputs = testCase.tensors();
      Rows rows = new Rows(problem, inputs);
      return equal(
          problem,
          inputs,
          problem.withOptions(options.without(AttentionOption.BLOCK_MASK).withMask(Broadcast.FULL)),
          with(
              inputs,
              "mask",
              rows.expanded(
                  DType.BOOL, (row, key) -> row.maskHides(key) || row.blockHides(key) ? 0 : 1)),
          evaluator);
    }
  },
  /**
   * ALiBi equals a bias of what it subtracts, added to the case's own bias. With all options.
   * Bound: twice the worst case, of which the bias's rounding to fp32 is a part.
   */
  ALIBI_AS_BIAS("ALiBi equals the bias that it stands for") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem problem = without(testCase.problem());
      AttentionOptions options = problem.options();
      if (!options.alibi()) {
        return Optional.empty();
      }
      Map<String, HostTensor> inputs = testCase.tensors();
      Rows rows = new Rows(problem, inputs);
      return equal(
          problem,
          inputs,
          problem.withOptions(options.withAlibi(false).withBias(Broadcast.FULL)),
          with(
              inputs,
              "bias",
              rows.expanded(DType.FP32, (row, key) -> row.bias(key) - row.alibi(key))),
          evaluator);
    }
  },
  /**
   * A sink is one more key, whose logit is the sink and whose value is 0: merged by lse with the
   * problem without sinks, it gives the problem with sinks. With all options. Bound: as {@link
   * #SPLIT_KEYS}; the key's own results are exact.
   */
  SINK_AS_KEY("a sink is one more key, without a value") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem problem = without(testCase.problem());
      if (!problem.options().sinks()) {
        return Optional.empty();
      }
      Map<String, HostTensor> inputs = testCase.tensors();
      AttentionProblem keysOnly = problem.withOptions(problem.options().withSinks(false));
      return merged(
          problem,
          evaluator.run(problem, inputs),
          WorstCase.of(problem, inputs),
          new Merge(
              problem,
              Part.of(keysOnly, inputs, evaluator),
              Part.ofSinks(problem, input(inputs, "sinks"))));
    }
  };

  /** Where a relation's operations are computed. */
  @FunctionalInterface
  public interface Evaluator {
    /**
     * Runs one operation.
     *
     * @return its outputs by name
     * @throws UnsupportedProblemException when the device does not support it
     */
    Map<String, HostTensor> run(Operation operation, Map<String, HostTensor> inputs);
  }

  private final String label;

  Relation(String label) {
    this.label = label;
  }

  /** What holds, for people. */
  public String label() {
    return label;
  }

  /** What is wrong where the relation does not hold, one sentence; empty where it does. */
  abstract Optional<String> violation(FuzzCase testCase, Evaluator evaluator);

  /**
   * What is wrong where the relation does not hold, one sentence; empty where it does, and where
   * the device refuses one of the operations that it takes.
   */
  public Optional<String> check(FuzzCase testCase, Evaluator evaluator) {
    try {
      return violation(testCase, evaluator).map(wrong -> label + ": " + wrong);
    } catch (UnsupportedProblemException e) {
      return Optional.empty();
    }
  }

  /** A part of the keys, or a sink. */
  private record Part(HostTensor out, HostTensor lse, double[] outBound, double[] lseBound) {
    /** These keys of a problem. */
    static Part of(
        AttentionProblem whole, Map<String, HostTensor> inputs, int[] keys, Evaluator evaluator) {
      return of(withKeys(whole, keys.length), withKeysOf(whole, inputs, keys), evaluator);
    }

    static Part of(AttentionProblem problem, Map<String, HostTensor> inputs, Evaluator evaluator) {
      Map<String, HostTensor> results = evaluator.run(problem, inputs);
      WorstCase bound = WorstCase.of(problem, inputs);
      return new Part(input(results, "out"), input(results, "lse"), bound.out(), bound.lse());
    }

    /** A head's sink as the only key of all its rows. */
    static Part ofSinks(AttentionProblem problem, HostTensor sinks) {
      AttentionShape shape = problem.shape();
      HostTensor out = HostTensor.zeros(shape.out(), problem.dtype());
      HostTensor lse = HostTensor.zeros(shape.lse(), DType.FP32);
      for (int row = 0; row < lse.size(); row++) {
        lse.set(row, sinks.get(row / shape.seqlenQ() % shape.headsQ()));
      }
      return new Part(out, lse, new double[out.size()], new double[lse.size()]);
    }
  }

  /** Two parts merged, in double precision. */
  private record Merge(AttentionProblem whole, Part first, Part second) {
    double lse(int row) {
      double a = first.lse.get(row);
      double b = second.lse.get(row);
      double max = Math.max(a, b);
      return max == Double.NEGATIVE_INFINITY
          ? max
          : max + Math.log(Math.exp(a - max) + Math.exp(b - max));
    }

    double lseBound(int row) {
      return Math.max(first.lseBound[row], second.lseBound[row]);
    }

    private double share(Part part, int row) {
      double lse = lse(row);
      return lse == Double.NEGATIVE_INFINITY ? 0 : Math.exp(part.lse.get(row) - lse);
    }

    private int row(int at) {
      return at / whole.shape().headDimV();
    }

    double out(int at) {
      int row = row(at);
      return share(first, row) * first.out.get(at) + share(second, row) * second.out.get(at);
    }

    double outBound(int at) {
      int row = row(at);
      double a = Math.abs(first.out.get(at));
      double b = Math.abs(second.out.get(at));
      double moved = Math.expm1(2 * lseBound(row));
      return share(first, row) * first.outBound[at]
          + share(second, row) * second.outBound[at]
          + WorstCase.share(moved, share(first, row) * a + share(second, row) * b, a + b);
    }
  }

  /** Whether two parts merged are not the whole. */
  private static Optional<String> merged(
      AttentionProblem problem, Map<String, HostTensor> whole, WorstCase bound, Merge merge) {
    return differs(
            problem.shape().out(),
            "out",
            merge::out,
            input(whole, "out"),
            at -> bound.out()[at] + merge.outBound(at))
        .or(() ->
            differs(
                problem.shape().lse(),
                "lse",
                merge::lse,
                input(whole, "lse"),
                row -> bound.lse()[row] + merge.lseBound(row)));
  }

  /**
   * One sequence of a batch as a problem of its own, with as many keys as its key length says.
   *
   * @param number which sequence
   * @param keys its key length
   * @param problem of one sequence; where there is no key, its results are known without it
   */
  private record Sequence(
      int number, int keys, AttentionProblem problem, Map<String, HostTensor> inputs) {

    static Sequence of(AttentionProblem batch, Map<String, HostTensor> inputs, int number) {
      AttentionShape s = batch.shape();
      int keys = input(inputs, "key_lengths").ints()[number];
      AttentionProblem problem =
          withKeys(batch.withOptions(batch.options().withKeyLengths(false)), Math.max(1, keys));
      AttentionShape one =
          new AttentionShape(
              1,
              s.headsQ(),
              s.headsKv(),
              s.seqlenQ(),
              Math.max(1, keys),
              s.headDim(),
              s.headDimV());
      Map<String, HostTensor> all = withKeysOf(batch, inputs, range(0, Math.max(1, keys)));
      Map<String, HostTensor> own = new HashMap<>();
      for (TensorSpec spec : problem.withShape(one).inputs()) {
        HostTensor tensor = input(all, spec.name());
        HostTensor slice = HostTensor.zeros(spec.shape(), spec.dtype());
        int from = tensor.size() == slice.size() ? 0 : number * slice.size();
        for (int i = 0; i < slice.size(); i++) {
          slice.set(i, tensor.get(from + i));
        }
        own.put(spec.name(), slice);
      }
      return new Sequence(number, keys, problem.withShape(one), own);
    }

    /** Whether an output of the batch is not the one of this problem. */
    Optional<String> differs(
        String name, Map<String, HostTensor> batch, double[] bound, Evaluator evaluator) {
      Map<String, HostTensor> outputs = keys == 0 ? ofNoKey() : evaluator.run(problem, inputs);
      HostTensor own = input(outputs, name);
      HostTensor slice = HostTensor.zeros(own.shape(), own.dtype());
      int from = number * own.size();
      for (int i = 0; i < own.size(); i++) {
        slice.set(i, input(batch, name).get(from + i));
      }
      return Relation.differs(
          own.shape(),
          "sequence " + number + ": " + name,
          own::get,
          slice,
          at -> 2 * bound[from + at]);
    }

    private Map<String, HostTensor> ofNoKey() {
      AttentionShape shape = problem.shape();
      return Map.of(
          "out",
          HostTensor.zeros(shape.out(), problem.dtype()),
          "lse",
          problem.options().sinks()
              ? Part.ofSinks(problem, input(inputs, "sinks")).lse
              : HostTensor.zeros(shape.lse(), DType.FP32).fill(Float.NEGATIVE_INFINITY));
    }
  }

  /** A problem's rows, as the reference sees them. */
  private static final class Rows {
    private final AttentionProblem problem;
    private final Map<String, double[]> values = new HashMap<>();

    Rows(AttentionProblem problem, Map<String, HostTensor> inputs) {
      this.problem = problem;
      for (TensorSpec spec : problem.inputs()) {
        values.put(spec.name(), input(inputs, spec.name()).toDoubles());
      }
    }

    AttentionRow of(int index) {
      return new AttentionRow(problem, Precision.FP64, values, index);
    }

    /** A tensor of every score. */
    HostTensor expanded(DType dtype, ToScore value) {
      AttentionShape shape = problem.shape();
      HostTensor tensor = HostTensor.zeros(shape.scores(), dtype);
      for (int i = 0; i < tensor.size(); i += shape.seqlenK()) {
        AttentionRow row = of(i / shape.seqlenK());
        for (int key = 0; key < shape.seqlenK(); key++) {
          tensor.set(i + key, (float) value.of(row, key));
        }
      }
      return tensor;
    }
  }

  /** Something of a score. */
  @FunctionalInterface
  private interface ToScore {
    double of(AttentionRow row, int key);
  }

  /** Without the score output and some kinds of options. */
  private static AttentionProblem without(AttentionProblem problem, AttentionOption... kinds) {
    AttentionOptions options = problem.options().withoutScoreOutput();
    for (AttentionOption kind : kinds) {
      options = options.without(kind);
    }
    return problem.withOptions(options);
  }

  private static Map<String, HostTensor> with(
      Map<String, HostTensor> inputs, String name, HostTensor tensor) {
    Map<String, HostTensor> others = new HashMap<>(inputs);
    others.put(name, tensor);
    return others;
  }

  /** Whether two problems that are the same in other words have different results. */
  private static Optional<String> equal(
      AttentionProblem problem,
      Map<String, HostTensor> inputs,
      AttentionProblem otherProblem,
      Map<String, HostTensor> otherInputs,
      Evaluator evaluator) {
    WorstCase bound = WorstCase.of(problem, inputs);
    Map<String, HostTensor> one = evaluator.run(problem, inputs);
    Map<String, HostTensor> other = evaluator.run(otherProblem, otherInputs);
    return differs(
            problem.shape().out(),
            "out",
            input(one, "out")::get,
            input(other, "out"),
            at -> 2 * bound.out()[at])
        .or(() ->
            differs(
                problem.shape().lse(),
                "lse",
                input(one, "lse")::get,
                input(other, "lse"),
                row -> 2 * bound.lse()[row]));
  }

  /** The element that is furthest beyond its bound, a NaN before all others. */
  private static Optional<String> differs(
      Shape shape,
      String name,
      IntToDoubleFunction wanted,
      HostTensor got,
      IntToDoubleFunction bound) {
    double worst = 1;
    int where = -1;
    for (int i = 0; i < got.size(); i++) {
      double error = ErrorMeasures.difference(wanted.applyAsDouble(i), got.get(i));
      double allowed = bound.applyAsDouble(i);
      if (!(error <= allowed)) {
        double ratio = error / allowed;
        if (where < 0 || !(ratio <= worst)) {
          worst = ratio;
          where = i;
        }
        if (Double.isNaN(error)) {
          break;
        }
      }
    }
    return where < 0
        ? Optional.empty()
        : Optional.of(
            String.format(
                Locale.ROOT,
                "%s%s is %s, not %s (bound %.3g)",
                name,
                shape.position(where),
                got.get(where),
                (float) wanted.applyAsDouble(where),
                bound.applyAsDouble(where)));
  }

  private static HostTensor input(Map<String, HostTensor> tensors, String name) {
    HostTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new IllegalArgumentException("no tensor '" + name + "'");
    }
    return tensor;
  }

  private static HostTensor identity(AttentionProblem problem, int from) {
    AttentionShape shape = problem.shape();
    HostTensor v = HostTensor.zeros(shape.v(), problem.dtype());
    int width = shape.headDimV();
    for (int row = 0; row < v.size() / width; row++) {
      int column = row % shape.seqlenK() - from;
      if (column >= 0 && column < width) {
        v.set(row * width + column, 1);
      }
    }
    return v;
  }

  private static AttentionProblem withKeys(AttentionProblem problem, int keys) {
    AttentionShape s = problem.shape();
    return problem.withShape(
        new AttentionShape(
            s.batch(), s.headsQ(), s.headsKv(), s.seqlenQ(), keys, s.headDim(), s.headDimV()));
  }

  /**
   * The inputs with these keys only, in this order: with their values, their columns of mask and
   * bias, so many of the key lengths as are among them if the order is theirs, and the blocks of
   * the first keys.
   */
  private static Map<String, HostTensor> withKeysOf(
      AttentionProblem problem, Map<String, HostTensor> inputs, int[] keys) {
    Map<String, HostTensor> picked = new HashMap<>(inputs);
    for (TensorSpec spec : problem.inputs()) {
      HostTensor tensor = input(inputs, spec.name());
      switch (spec.name()) {
        case "k", "v" -> picked.put(spec.name(), picked(tensor, 2, keys));
        case "mask", "bias" -> picked.put(spec.name(), picked(tensor, 3, keys));
        case "block_mask" -> {
          int width = problem.options().blocks().orElseThrow().keys();
          int[] blocks = range(0, Math.ceilDiv(keys.length, width));
          picked.put(spec.name(), picked(tensor, 3, blocks));
        }
        case "key_lengths" -> {
          int[] lengths = tensor.ints().clone();
          Arrays.setAll(lengths, b -> Math.clamp(lengths[b] - keys[0], 0, keys.length));
          picked.put(spec.name(), HostTensor.of(tensor.shape(), lengths));
        }
        default -> {}
      }
    }
    return picked;
  }

  /** A tensor of four axes with these indices of one of them only, in this order. */
  private static HostTensor picked(HostTensor tensor, int axis, int[] indices) {
    int[] dims = tensor.shape().dims().stream().mapToInt(Integer::intValue).toArray();
    int inner = axis == 2 ? dims[3] : 1;
    int count = dims[axis];
    dims[axis] = indices.length;
    HostTensor picked = HostTensor.zeros(Shape.of(dims), tensor.dtype());
    for (int i = 0; i < picked.size(); i++) {
      int outer = i / inner / indices.length;
      int index = indices[i / inner % indices.length];
      picked.set(i, tensor.get((outer * count + index) * inner + i % inner));
    }
    return picked;
  }

  private static int[] range(int from, int end) {
    return IntStream.range(from, end).toArray();
  }

  private static int[] permutation(int count, long seed) {
    List<Integer> left = new ArrayList<>(IntStream.range(0, count).boxed().toList());
    SplittableRandom random = new SplittableRandom(seed);
    int[] order = new int[count];
    for (int i = 0; i < count; i++) {
      order[i] = left.remove(random.nextInt(left.size()));
    }
    return order;
  }
}
