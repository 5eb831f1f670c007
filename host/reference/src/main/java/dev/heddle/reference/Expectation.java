package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.Chain;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import dev.heddle.core.TensorSpec;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * What the outputs of a chain should be, by the double-precision oracle.
 *
 * <p>A single attention problem that would take more than {@link #FULL_WORK} multiply-adds is
 * computed for a sample of its rows: the first, the last and one at random from each of as many
 * equal strata as the work allows, a stratum at most {@link #LONGEST_STRATUM} rows long. {@link
 * #sampled} says so.
 *
 * @param tensors one for each output of the chain
 */
public record Expectation(List<ExpectedTensor> tensors) {
  /** Multiply-adds up to which every row is computed. */
  public static final double FULL_WORK = 6e9;

  /** Plain evaluations in the results' precision, none more right than another. */
  private static final List<Precision> PLAIN =
      List.of(Precision.FP32, Precision.FP32_REORDERED, Precision.FP32_FUSED);

  /** Rows of which one at least is computed: no block of query rows that a kernel has is missed. */
  static final int LONGEST_STRATUM = 64;

  private static final int FEWEST_ROWS = 64;
  private static final long SAMPLE_SEED = 0x4EDD1E;

  /** Freezes the list. */
  public Expectation {
    tensors = List.copyOf(tensors);
  }

  /** Evaluates the chain on these inputs. */
  public static Expectation of(Chain chain, Map<String, HostTensor> inputs) {
    return of(chain, inputs, FULL_WORK);
  }

  static Expectation of(Chain chain, Map<String, HostTensor> inputs, double fullWork) {
    int[] sample = sample(chain, fullWork);
    Map<String, double[]> widened = new HashMap<>();
    inputs.forEach((name, tensor) -> widened.put(name, tensor.toDoubles()));
    Map<String, double[]> exact = evaluate(chain, widened, sample, Precision.FP64);
    List<Map<String, double[]>> plain =
        PLAIN.stream().map(precision -> evaluate(chain, widened, sample, precision)).toList();
    List<ExpectedTensor> tensors = new ArrayList<>();
    for (String name : chain.outputs()) {
      TensorSpec spec = chain.tensor(name);
      Shape shape = spec.shape();
      double[] values = ScalarOperations.input(exact, name);
      int rowLength = sample.length > 0 ? values.length / sample.length : shape.rowLength();
      double error =
          plain.stream()
              .mapToDouble(tensor -> maxError(values, ScalarOperations.input(tensor, name)))
              .max()
              .orElseThrow();
      tensors.add(
          new ExpectedTensor(
              name,
              shape,
              spec.dtype(),
              rowLength,
              sample.length > 0 ? sample : IntStream.range(0, values.length / rowLength).toArray(),
              values,
              error));
    }
    return new Expectation(tensors);
  }

  /** Whether some tensor was computed for a sample of its rows only. */
  public boolean sampled() {
    return tensors.stream().anyMatch(ExpectedTensor::sampled);
  }

  /**
   * The first tensor whose plain evaluation, in the operands' precision, overflows its type, so
   * that no bound exists; empty where none does.
   */
  public Optional<ExpectedTensor> overflowing() {
    return tensors.stream()
        .filter(tensor -> !Double.isFinite(tensor.samePrecisionError()))
        .findFirst();
  }

  /** Rows of the chain's only operation to compute; empty where all are. */
  private static int[] sample(Chain chain, double fullWork) {
    double work = chain.flops() / 2;
    if (work > fullWork
        && chain.steps().size() == 1
        && chain.steps().getFirst().operation() instanceof AttentionProblem problem) {
      int rows = Math.toIntExact(problem.shape().lse().elements());
      int strata = Math.max(FEWEST_ROWS, Math.ceilDiv(rows, LONGEST_STRATUM));
      return sampleRows(rows, (int) Math.max(strata, rows * (fullWork / work)));
    }
    return new int[0];
  }

  /** Every output of the chain in that arithmetic, for the sampled rows or for all. */
  private static Map<String, double[]> evaluate(
      Chain chain, Map<String, double[]> inputs, int[] sample, Precision precision) {
    ScalarOperations operations = new ScalarOperations(precision);
    Map<String, double[]> tensors = new HashMap<>(inputs);
    for (Chain.Step step : chain.steps()) {
      Map<String, double[]> arguments = new HashMap<>();
      step.reads()
          .forEach((name, from) -> arguments.put(name, ScalarOperations.input(tensors, from)));
      Map<String, double[]> results =
          sample.length > 0 && step.operation() instanceof AttentionProblem problem
              ? operations.attention(problem, arguments, sample)
              : operations.evaluate(step.operation(), arguments);
      step.writes().forEach((name, to) -> tensors.put(to, ScalarOperations.input(results, name)));
    }
    return tensors;
  }

  private static int[] sampleRows(int rows, int wanted) {
    int strata = Math.min(rows, wanted);
    SplittableRandom random = new SplittableRandom(SAMPLE_SEED);
    IntStream picks =
        IntStream.range(0, strata)
            .map(s -> {
              int from = (int) ((long) s * rows / strata);
              int to = (int) ((s + 1L) * rows / strata);
              return random.nextInt(from, to);
            });
    return IntStream.concat(IntStream.of(0, rows - 1), picks).sorted().distinct().toArray();
  }

  private static double maxError(double[] exact, double[] other) {
    double max = 0;
    for (int i = 0; i < exact.length; i++) {
      max = Math.max(max, ErrorMeasures.difference(exact[i], other[i]));
    }
    return max;
  }
}
