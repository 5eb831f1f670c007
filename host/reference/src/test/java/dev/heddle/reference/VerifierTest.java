package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Probe;
import dev.heddle.core.Provenance;
import dev.heddle.core.Session;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

/** Faults planted in a correct result of each type: each must change it, and each must fail. */
@ParameterizedClass
@EnumSource(names = {"FP32", "FP16", "BF16"})
class VerifierTest {
  private static final Verifier VERIFIER = new Verifier(new FlashAttentionPolicy());

  /** Causal from the bottom right with fewer keys than queries: the first 4 rows see nothing. */
  private static final AttentionProblem FP32 =
      AttentionProblem.of(new AttentionShape(2, 4, 2, 45, 41, 16, 12))
          .withMask(BandMask.causal(Alignment.BOTTOM_RIGHT));

  private static final int HEAD_DIM_V = 12;
  private static final int ROWS = 2 * 4 * 45;
  private static final int FULL_ROW = 44;
  private static final int EMPTY_ROW = 45 + 1;

  private static final Map<DType, Expectation> EXPECTATIONS = new EnumMap<>(DType.class);

  private final AttentionProblem problem;
  private final Map<String, HostTensor> inputs;
  private final Expectation expectation;

  /** An error of out that is too large: beyond the bound, below what a reader would see. */
  private final float off;

  VerifierTest(DType dtype) {
    problem = FP32.withDtype(dtype);
    inputs = ContractCases.gaussian(problem.inputs());
    expectation =
        EXPECTATIONS.computeIfAbsent(dtype, d -> Expectation.of(Chain.of(problem), inputs));
    off = dtype == DType.FP32 ? 1e-4f : dtype == DType.FP16 ? 8e-3f : 6e-2f;
  }

  @Test
  void theCorrectResultPasses() {
    assertThat(expectation.sampled()).isFalse();
    assertThat(judge(correct())).isInstanceOf(Verdict.Pass.class);
    assertThat(correct().get("lse").get(EMPTY_ROW)).isEqualTo(Float.NEGATIVE_INFINITY);
    assertThat(correct().get("lse").get(FULL_ROW)).isFinite();
  }

  @TestFactory
  Stream<DynamicTest> faultsInTheResult() {
    Map<String, Consumer<Map<String, HostTensor>>> faults = new LinkedHashMap<>();
    faults.put("one element off", r -> add(r.get("out"), 1000, off));
    faults.put("the first element off", r -> add(r.get("out"), 4 * HEAD_DIM_V, off));
    faults.put("the last element off", r -> add(r.get("out"), ROWS * HEAD_DIM_V - 1, -off));
    faults.put("one lse off", r -> add(r.get("lse"), FULL_ROW, 1e-4f));
    faults.put("NaN", r -> r.get("out").set(777, Float.NaN));
    faults.put("infinity", r -> r.get("out").set(777, Float.POSITIVE_INFINITY));
    faults.put("NaN in an empty row", r -> r.get("out").set(EMPTY_ROW * HEAD_DIM_V, Float.NaN));
    faults.put("1 in an empty row", r -> r.get("out").set(EMPTY_ROW * HEAD_DIM_V, 1));
    faults.put("lse of an empty row NaN", r -> r.get("lse").set(EMPTY_ROW, Float.NaN));
    faults.put("lse of an empty row 0", r -> r.get("lse").set(EMPTY_ROW, 0));
    faults.put("lse of an empty row very low", r -> r.get("lse").set(EMPTY_ROW, -1e30f));
    faults.put(
        "lse of an empty row +inf", r -> r.get("lse").set(EMPTY_ROW, Float.POSITIVE_INFINITY));
    faults.put("lse of a full row -inf", r -> r.get("lse").set(FULL_ROW, Float.NEGATIVE_INFINITY));
    faults.put("a zeroed row", r -> zero(r.get("out"), 44));
    faults.put("two rows swapped", r -> swapRows(r.get("out"), 43, 44));
    faults.put("all zero", r -> r.get("out").fill(0));
    faults.put("lse in base 2", r -> scale(r.get("lse"), (float) (1 / Math.log(2))));
    faults.put("scale off by 1%", r -> r.putAll(plain(problem.withScale(0.2525f), inputs)));
    // In bf16, 1% of the scale is less than rounding costs out; lse tells it.
    faults.put(
        "scale off by 4%, out alone",
        r -> r.put("out", plain(problem.withScale(0.26f), inputs).get("out")));
    faults.put("scale forgotten", r -> r.putAll(plain(problem.withScale(1), inputs)));
    faults.put("one key too many", r -> r.putAll(masked(BandMask.UNBOUNDED, 1)));
    faults.put("one key too few", r -> r.putAll(masked(39, 0)));
    faults.put("mask forgotten", r -> r.putAll(plain(problem.withMask(BandMask.NONE), inputs)));
    faults.put(
        "wrong corner",
        r -> r.putAll(plain(problem.withMask(BandMask.causal(Alignment.TOP_LEFT)), inputs)));
    faults.put("heads grouped wrongly", r -> r.putAll(plain(problem, keyValueHeadsSwapped())));
    faults.put("no rescale by alpha", r -> r.put("out", online(false)));
    return faults.entrySet().stream()
        .map(fault -> dynamicTest(fault.getKey(), () -> assertCaught(fault.getValue())));
  }

  @TestFactory
  Stream<DynamicTest> plainArithmeticOfTheTypePasses() {
    return Stream.of(Precision.FP32, Precision.FP32_REORDERED, Precision.FP32_FUSED)
        .map(precision ->
            dynamicTest(
                precision.name(),
                () -> {
                  ScalarOperations plain = new ScalarOperations(precision);
                  assertThat(judge(rounded(problem, plain, inputs)))
                      .isInstanceOf(Verdict.Pass.class);
                }));
  }

  /** What the largest error can't tell is at least shown. */
  @Test
  void aUnitInTheLastPlaceEverywherePassesButShowsInTheHistogram() {
    Map<String, HostTensor> result = correct();
    HostTensor out = result.get("out");
    for (int i = 0; i < out.size(); i++) {
      out.set(i, out.get(i) + (float) out.dtype().ulp(out.get(i)));
    }
    assertThat(judge(result))
        .isInstanceOfSatisfying(
            Verdict.Pass.class,
            pass -> {
              UlpHistogram ulps = pass.tensors().getFirst().measures().ulps();
              assertThat(ulps.exact()).isZero();
              assertThat(ulps.within(1)).isEqualTo(out.size());
            });
  }

  @Test
  void theOnlineSoftmaxOfTheFaultIsRightWithItsRescale() {
    Map<String, HostTensor> result = correct();
    result.put("out", online(true));
    assertThat(judge(result)).isInstanceOf(Verdict.Pass.class);
  }

  @Test
  void everyElementIsLookedAt() {
    for (String tensor : List.of("out", "lse")) {
      int size = correct().get(tensor).size();
      for (int i = 0; i < size; i += tensor.equals("out") ? 7 : 1) {
        Map<String, HostTensor> result = correct();
        result.get(tensor).set(i, Float.NaN);
        assertThat(judge(result)).isInstanceOf(Verdict.Fail.class);
      }
    }
  }

  @Test
  void whatStaysWithinTheBoundPasses() {
    ExpectedTensor out = expectation.tensors().getFirst();
    double bound = FlashAttentionPolicy.bound(out);
    HostTensor original = correct().get("out");
    Map<String, HostTensor> result = correct();
    HostTensor perturbed = result.get("out");
    int changed = 0;
    for (int i = 0; i < perturbed.size(); i++) {
      add(perturbed, i, (float) ((i % 2 == 0 ? 0.4 : -0.4) * bound));
      changed += perturbed.get(i) != original.get(i) ? 1 : 0;
    }
    assertThat(changed).isGreaterThan(perturbed.size() / 2);
    assertThat(judge(result))
        .isInstanceOfSatisfying(
            Verdict.Pass.class,
            pass -> assertThat(pass.tensors().getFirst().errorRatio()).isBetween(0.3, 1.0));
    add(perturbed, 2000, (float) (2 * bound));
    assertThat(judge(result)).isInstanceOf(Verdict.Fail.class);
  }

  @Test
  void theReasonNamesTheWorstElement() {
    Map<String, HostTensor> result = correct();
    // Batch 1, head 2, query 10, element 5.
    int index = ((4 + 2) * 45 + 10) * HEAD_DIM_V + 5;
    result.get("out").set(index, 99);
    assertThat(judge(result))
        .isInstanceOfSatisfying(
            Verdict.Fail.class,
            fail -> assertThat(fail.message()).startsWith("out[1, 2, 10, 5] is 99.0, expected "));
  }

  @Test
  void aBrokenGuardFailsWhateverTheValues() {
    assertThat(VERIFIER.judge(expectation, correct(), List.of("lse")))
        .isInstanceOfSatisfying(
            Verdict.Fail.class,
            fail -> assertThat(fail.message()).isEqualTo("wrote outside 'lse'"));
  }

  @Test
  void aMissingOrMisshapenOutputIsAnError() {
    Map<String, HostTensor> result = correct();
    result.remove("lse");
    assertThatThrownBy(() -> judge(result))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("no output 'lse'");
    result.put("lse", result.get("out"));
    assertThatThrownBy(() -> judge(result)).isInstanceOf(IllegalArgumentException.class);
  }

  @TestFactory
  Stream<DynamicTest> faultsOfAKernel() {
    Map<String, Consumer<Map<String, HostSession.Span>>> kernels = new LinkedHashMap<>();
    kernels.put("writes nothing", tensors -> {});
    kernels.put("leaves the last element out", tensors -> write(tensors, ROWS * HEAD_DIM_V - 1));
    kernels.put("leaves the last row out", tensors -> write(tensors, (ROWS - 1) * HEAD_DIM_V));
    kernels.put(
        "writes past the end",
        tensors -> {
          write(tensors, ROWS * HEAD_DIM_V);
          HostSession.Span out = tensors.get("out");
          out.array()[out.offset() + out.length()] = 0;
        });
    kernels.put(
        "overwrites the guard of an input",
        tensors -> {
          write(tensors, ROWS * HEAD_DIM_V);
          HostSession.Span k = tensors.get("k");
          k.array()[k.offset() - 1] = 0;
        });
    return kernels.entrySet().stream()
        .map(kernel ->
            dynamicTest(
                kernel.getKey(),
                () -> assertThat(verified(kernel.getValue())).isInstanceOf(Verdict.Fail.class)));
  }

  @Test
  void aKernelThatWritesAllPasses() {
    assertThat(verified(tensors -> write(tensors, ROWS * HEAD_DIM_V)))
        .isInstanceOf(Verdict.Pass.class);
  }

  /** The second run does nothing; what the first wrote must not be judged again. */
  @Test
  void staleResultsDoNotPass() {
    int[] runs = {0};
    Consumer<Map<String, HostSession.Span>> once =
        tensors -> {
          if (runs[0]++ == 0) {
            write(tensors, ROWS * HEAD_DIM_V);
          }
        };
    try (Session session = session(once);
        PreparedChain chain = prepare(session)) {
      assertThat(VERIFIER.verify(chain, expectation)).isInstanceOf(Verdict.Pass.class);
      assertThat(VERIFIER.verify(chain, expectation)).isInstanceOf(Verdict.Fail.class);
    }
  }

  private void assertCaught(Consumer<Map<String, HostTensor>> fault) {
    Map<String, HostTensor> result = correct();
    fault.accept(result);
    boolean changed = false;
    for (Map.Entry<String, HostTensor> original : correct().entrySet()) {
      changed |=
          !Arrays.equals(
              original.getValue().toDoubles(), result.get(original.getKey()).toDoubles());
    }
    assertThat(changed).as("the fault changed the result").isTrue();
    assertThat(judge(result)).isInstanceOf(Verdict.Fail.class);
  }

  private Verdict judge(Map<String, HostTensor> result) {
    return VERIFIER.judge(expectation, result, List.of());
  }

  /** The oracle's answer, rounded. */
  private Map<String, HostTensor> correct() {
    return rounded(problem, new ScalarOperations(Precision.FP64), inputs);
  }

  /** What a backend that takes the problem for another one would return. */
  private Map<String, HostTensor> plain(AttentionProblem problem, Map<String, HostTensor> inputs) {
    return rounded(problem, new ScalarOperations(Precision.FP32), inputs);
  }

  private Map<String, HostTensor> masked(int left, int right) {
    return plain(problem.withMask(new BandMask(left, right, Alignment.BOTTOM_RIGHT)), inputs);
  }

  private Map<String, HostTensor> rounded(
      AttentionProblem problem, ScalarOperations operations, Map<String, HostTensor> inputs) {
    Map<String, double[]> wide = new HashMap<>();
    inputs.forEach((name, tensor) -> wide.put(name, tensor.toDoubles()));
    Map<String, HostTensor> result = new HashMap<>();
    Map<String, double[]> values = operations.evaluate(problem, wide);
    for (ExpectedTensor expected : expectation.tensors()) {
      double[] exact = values.get(expected.name());
      HostTensor narrow = HostTensor.zeros(expected.shape(), expected.dtype());
      for (int i = 0; i < exact.length; i++) {
        narrow.set(i, (float) exact[i]);
      }
      result.put(expected.name(), narrow);
    }
    return result;
  }

  private Map<String, HostTensor> keyValueHeadsSwapped() {
    Map<String, HostTensor> swapped = new HashMap<>(inputs);
    for (String name : List.of("k", "v")) {
      HostTensor given = inputs.get(name);
      int head = 41 * given.shape().rowLength();
      HostTensor exchanged = HostTensor.zeros(given.shape(), given.dtype());
      for (int i = 0; i < exchanged.size(); i++) {
        int other = i / head % 2 == 0 ? i + head : i - head;
        exchanged.set(i, given.get(other));
      }
      swapped.put(name, exchanged);
    }
    return swapped;
  }

  /**
   * Online softmax in fp32, one key after another, weights in the operands' type, with or without
   * rescaling what was summed.
   */
  private HostTensor online(boolean rescale) {
    AttentionShape shape = problem.shape();
    HostTensor out = HostTensor.zeros(shape.out(), problem.dtype());
    HostTensor q = inputs.get("q");
    HostTensor k = inputs.get("k");
    HostTensor v = inputs.get("v");
    for (int row = 0; row < ROWS; row++) {
      int i = row % 45;
      int head = row / 45;
      int kv = head / 4 * 2 + head % 4 / 2;
      float max = Float.NEGATIVE_INFINITY;
      float sum = 0;
      float[] acc = new float[HEAD_DIM_V];
      for (int j = 0; j < 41; j++) {
        if (!LongHand.visible(problem.mask(), shape, i, j)) {
          continue;
        }
        float s = 0;
        for (int d = 0; d < 16; d++) {
          s += q.get(row * 16 + d) * k.get((kv * 41 + j) * 16 + d);
        }
        s *= problem.softmaxScale();
        float newMax = Math.max(max, s);
        float alpha = rescale ? (float) Math.exp(max - newMax) : 1;
        float p = (float) Math.exp(s - newMax);
        sum = alpha * sum + p;
        for (int e = 0; e < HEAD_DIM_V; e++) {
          float value = v.get((kv * 41 + j) * HEAD_DIM_V + e);
          acc[e] = alpha * acc[e] + problem.dtype().round(p) * value;
        }
        max = newMax;
      }
      for (int e = 0; e < HEAD_DIM_V; e++) {
        out.set(row * HEAD_DIM_V + e, sum == 0 ? 0 : acc[e] / sum);
      }
    }
    return out;
  }

  private static void add(HostTensor tensor, int index, float delta) {
    tensor.set(index, tensor.get(index) + delta);
  }

  private static void scale(HostTensor tensor, float factor) {
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, tensor.get(i) * factor);
    }
  }

  private static void zero(HostTensor tensor, int row) {
    for (int e = 0; e < HEAD_DIM_V; e++) {
      tensor.set(row * HEAD_DIM_V + e, 0);
    }
  }

  private static void swapRows(HostTensor tensor, int a, int b) {
    for (int e = 0; e < HEAD_DIM_V; e++) {
      float kept = tensor.get(a * HEAD_DIM_V + e);
      tensor.set(a * HEAD_DIM_V + e, tensor.get(b * HEAD_DIM_V + e));
      tensor.set(b * HEAD_DIM_V + e, kept);
    }
  }

  private Verdict verified(Consumer<Map<String, HostSession.Span>> kernel) {
    try (Session session = session(kernel);
        PreparedChain chain = prepare(session)) {
      return VERIFIER.verify(chain, expectation);
    }
  }

  private PreparedChain prepare(Session session) {
    return PreparedChain.prepare(session, Chain.of(problem), operation -> Plan.of("naive"), inputs);
  }

  /** Writes the correct lse, and as many elements of the correct out. */
  private void write(Map<String, HostSession.Span> tensors, int elements) {
    Map<String, HostTensor> correct = correct();
    HostSession.Span out = tensors.get("out");
    HostSession.Span lse = tensors.get("lse");
    float[] values = correct.get("out").rounded(DType.FP32).floats();
    System.arraycopy(values, 0, out.array(), out.offset(), elements);
    System.arraycopy(correct.get("lse").floats(), 0, lse.array(), lse.offset(), ROWS);
  }

  /** A session whose only kernel is the one given. */
  private Session session(Consumer<Map<String, HostSession.Span>> kernel) {
    ReferenceBackend backend = new ReferenceBackend();
    Probe.Available available = (Probe.Available) backend.probe();
    return new HostSession(backend, available.devices().getFirst(), ReferenceBackend.DTYPES) {
      @Override
      protected Kernel compile(Operation operation, Plan plan, Map<String, Span> tensors) {
        return new Kernel() {
          @Override
          public void run() {
            kernel.accept(tensors);
          }

          @Override
          public long scratchBytes() {
            return 0;
          }
        };
      }

      @Override
      protected Provenance provenance(Operation operation, Plan plan) {
        return Provenance.ofClasses(device(), plan, List.of(VerifierTest.class));
      }
    };
  }
}
