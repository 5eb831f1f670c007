package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Shape;
import dev.heddle.core.UnsupportedProblemException;
import java.util.ArrayList;
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
 */
public enum Relation {
  /**
   * Without a mask, keys permuted together with their values give the same out and lse. Bound:
   * twice the worst case, in which the order of keys is no matter.
   */
  PERMUTED_KEYS("permuting keys with their values changes nothing") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem problem = testCase.problem().withMask(BandMask.NONE);
      AttentionShape shape = problem.shape();
      Map<String, HostTensor> inputs = testCase.tensors();
      int[] order = permutation(shape.seqlenK(), testCase.seed());
      Map<String, HostTensor> permuted = new HashMap<>(inputs);
      permuted.put("k", keys(input(inputs, "k"), order));
      permuted.put("v", keys(input(inputs, "v"), order));
      return equal(
          problem,
          evaluator.run(problem, inputs),
          evaluator.run(problem, permuted),
          WorstCase.of(problem, inputs));
    }
  },
  /**
   * Without a mask, the keys' two parts merged by their lse give the whole. Bound: the whole's
   * worst case, plus the parts' in the parts' shares, plus what an error of {@code L} in both lse
   * moves the shares by, {@code exp(2 L) - 1} relatively.
   */
  SPLIT_KEYS("two parts of the keys, merged by lse, are the whole") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem whole = testCase.problem().withMask(BandMask.NONE);
      AttentionShape shape = whole.shape();
      if (shape.seqlenK() == 1) {
        return Optional.empty();
      }
      int cut = 1 + Math.floorMod(testCase.seed(), shape.seqlenK() - 1);
      Map<String, HostTensor> inputs = testCase.tensors();
      Map<String, HostTensor> complete = evaluator.run(whole, inputs);
      Part first = Part.of(whole, inputs, range(0, cut), evaluator);
      Part second = Part.of(whole, inputs, range(cut, shape.seqlenK()), evaluator);
      WorstCase bound = WorstCase.of(whole, inputs);
      int width = shape.headDimV();
      Merge merge = new Merge(first, second, width);
      return differs(
              whole.outputs().getFirst().shape(),
              "out",
              merge::out,
              input(complete, "out"),
              at -> bound.out()[at] + merge.outBound(at))
          .or(() ->
              differs(
                  shape.lse(),
                  "lse",
                  merge::lse,
                  input(complete, "lse"),
                  row -> bound.lse()[row] + merge.lseBound(row)));
    }
  },
  /**
   * With 1 everywhere in V, out is 1 in rows that see a key and 0 in the others. Bound: what sums
   * and storage lose; errors of logits cancel.
   */
  ROW_SUMS("a row of probabilities sums to 1") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem problem = testCase.problem();
      AttentionShape shape = problem.shape();
      Map<String, HostTensor> inputs = new HashMap<>(testCase.tensors());
      inputs.put("v", HostTensor.zeros(shape.v(), problem.dtype()).fill(1));
      HostTensor out = input(evaluator.run(problem, inputs), "out");
      double bound = WorstCase.ofOnes(problem);
      return differs(
          shape.out(),
          "out",
          at -> visible(problem, at / shape.headDimV()) ? 1 : 0,
          out,
          at -> visible(problem, at / shape.headDimV()) ? bound : 0);
    }
  },
  /**
   * With the identity as V, out is the probabilities that the softmax stage gives; the identity is
   * given in blocks as wide as {@code HEAD_DIM_V}, of which the first and the last are asked.
   * Bound: the worst case of such an out, plus the same relative error of a probability in fp32.
   */
  PROBABILITIES("the identity as V gives the softmax stage's probabilities") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      AttentionProblem problem = testCase.problem();
      AttentionShape shape = problem.shape();
      Map<String, HostTensor> inputs = new HashMap<>(testCase.tensors());
      HostTensor scores =
          input(
              evaluator.run(new AttentionStage(AttentionStage.Stage.SCORES, problem), inputs),
              "scores");
      HostTensor probabilities =
          input(
              evaluator.run(
                  new AttentionStage(AttentionStage.Stage.SOFTMAX, problem),
                  Map.of("scores", scores)),
              "probabilities");
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
   * Bound: twice the worst case.
   */
  CAUSAL_AS_WINDOW("a causal mask equals a window as wide") {
    @Override
    Optional<String> violation(FuzzCase testCase, Evaluator evaluator) {
      BandMask causal = BandMask.causal(testCase.problem().mask().alignment());
      AttentionProblem problem = testCase.problem().withMask(causal);
      AttentionShape shape = problem.shape();
      BandMask window = new BandMask(shape.seqlenQ() + shape.seqlenK(), 0, causal.alignment());
      Map<String, HostTensor> inputs = testCase.tensors();
      return equal(
          problem,
          evaluator.run(problem, inputs),
          evaluator.run(problem.withMask(window), inputs),
          WorstCase.of(problem, inputs));
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

  /** A part of the keys. */
  private record Part(HostTensor out, HostTensor lse, WorstCase bound) {
    static Part of(
        AttentionProblem whole, Map<String, HostTensor> inputs, int[] keys, Evaluator evaluator) {
      AttentionShape s = whole.shape();
      AttentionProblem problem =
          whole
              .withShape(
                  new AttentionShape(
                      s.batch(),
                      s.headsQ(),
                      s.headsKv(),
                      s.seqlenQ(),
                      keys.length,
                      s.headDim(),
                      s.headDimV()))
              .withLse(true);
      Map<String, HostTensor> part = new HashMap<>(inputs);
      part.put("k", keys(input(inputs, "k"), keys));
      part.put("v", keys(input(inputs, "v"), keys));
      Map<String, HostTensor> results = evaluator.run(problem, part);
      return new Part(input(results, "out"), input(results, "lse"), WorstCase.of(problem, part));
    }
  }

  /** Two parts merged, in double precision. */
  private record Merge(Part first, Part second, int width) {
    double lse(int row) {
      double a = first.lse.get(row);
      double b = second.lse.get(row);
      double max = Math.max(a, b);
      return max + Math.log(Math.exp(a - max) + Math.exp(b - max));
    }

    double lseBound(int row) {
      return Math.max(first.bound.lse()[row], second.bound.lse()[row]);
    }

    private double share(Part part, int row) {
      return Math.exp(part.lse.get(row) - lse(row));
    }

    double out(int at) {
      int row = at / width;
      return share(first, row) * first.out.get(at) + share(second, row) * second.out.get(at);
    }

    double outBound(int at) {
      int row = at / width;
      double a = Math.abs(first.out.get(at));
      double b = Math.abs(second.out.get(at));
      double moved = Math.expm1(2 * lseBound(row));
      return share(first, row) * first.bound.out()[at]
          + share(second, row) * second.bound.out()[at]
          + WorstCase.share(moved, share(first, row) * a + share(second, row) * b, a + b);
    }
  }

  private static Optional<String> equal(
      AttentionProblem problem,
      Map<String, HostTensor> one,
      Map<String, HostTensor> other,
      WorstCase bound) {
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

  private static boolean visible(AttentionProblem problem, int row) {
    AttentionShape shape = problem.shape();
    return problem.mask().visibleKeys(row % shape.seqlenQ(), shape) > 0;
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

  /** {@code tensor [B, H, SEQLEN_K, width]} with these keys only, in this order. */
  private static HostTensor keys(HostTensor tensor, int[] order) {
    Shape from = tensor.shape();
    int width = from.rowLength();
    HostTensor picked =
        HostTensor.zeros(Shape.of(from.dim(0), from.dim(1), order.length, width), tensor.dtype());
    for (int head = 0; head < from.dim(0) * from.dim(1); head++) {
      for (int j = 0; j < order.length; j++) {
        for (int d = 0; d < width; d++) {
          picked.set(
              (head * order.length + j) * width + d,
              tensor.get((head * from.dim(2) + order[j]) * width + d));
        }
      }
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
