package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.Chain;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Probe;
import dev.heddle.core.Provenance;
import dev.heddle.core.Session;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Faults planted in a correct result: each must change it, and each must fail. */
class VerifierTest {
  private static final Verifier VERIFIER = new Verifier(new FlashAttentionPolicy());

  /** Causal from the bottom right with fewer keys than queries: the first 4 rows see nothing. */
  private static final AttentionProblem PROBLEM =
      AttentionProblem.of(new AttentionShape(2, 4, 2, 45, 41, 16, 12))
          .withMask(BandMask.causal(Alignment.BOTTOM_RIGHT));

  private static final int HEAD_DIM_V = 12;
  private static final int ROWS = 2 * 4 * 45;
  private static final int FULL_ROW = 44;
  private static final int EMPTY_ROW = 45 + 1;
  private static final Map<String, HostTensor> INPUTS = ContractCases.gaussian(PROBLEM.inputs());
  private static final Expectation EXPECTATION = Expectation.of(Chain.of(PROBLEM), INPUTS);

  @Test
  void theCorrectResultPasses() {
    assertThat(EXPECTATION.sampled()).isFalse();
    assertThat(judge(correct())).isInstanceOf(Verdict.Pass.class);
    assertThat(correct().get("lse").get(EMPTY_ROW)).isEqualTo(Float.NEGATIVE_INFINITY);
    assertThat(correct().get("lse").get(FULL_ROW)).isFinite();
  }

  @TestFactory
  Stream<DynamicTest> faultsInTheResult() {
    Map<String, Consumer<Map<String, HostTensor>>> faults = new LinkedHashMap<>();
    faults.put("one element off", r -> add(r.get("out"), 1000, 1e-4f));
    faults.put("the first element off", r -> add(r.get("out"), 4 * HEAD_DIM_V, 1e-4f));
    faults.put("the last element off", r -> add(r.get("out"), ROWS * HEAD_DIM_V - 1, -1e-4f));
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
    faults.put("a zeroed row", r -> Arrays.fill(r.get("out").floats(), 528, 540, 0));
    faults.put("two rows swapped", r -> swapRows(r.get("out"), 43, 44));
    faults.put("all zero", r -> r.get("out").fill(0));
    faults.put("lse in base 2", r -> scale(r.get("lse"), (float) (1 / Math.log(2))));
    faults.put("scale off by 1%", r -> r.putAll(plain(PROBLEM.withScale(0.2525f), INPUTS)));
    faults.put("scale forgotten", r -> r.putAll(plain(PROBLEM.withScale(1), INPUTS)));
    faults.put("one key too many", r -> r.putAll(masked(BandMask.UNBOUNDED, 1)));
    faults.put("one key too few", r -> r.putAll(masked(39, 0)));
    faults.put("mask forgotten", r -> r.putAll(plain(PROBLEM.withMask(BandMask.NONE), INPUTS)));
    faults.put(
        "wrong corner",
        r -> r.putAll(plain(PROBLEM.withMask(BandMask.causal(Alignment.TOP_LEFT)), INPUTS)));
    faults.put("heads grouped wrongly", r -> r.putAll(plain(PROBLEM, keyValueHeadsSwapped())));
    faults.put("no rescale by alpha", r -> r.put("out", online(false)));
    return faults.entrySet().stream()
        .map(fault -> dynamicTest(fault.getKey(), () -> assertCaught(fault.getValue())));
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
    ExpectedTensor out = EXPECTATION.tensors().getFirst();
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
    assertThat(VERIFIER.judge(EXPECTATION, correct(), List.of("lse")))
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
      assertThat(VERIFIER.verify(chain, EXPECTATION)).isInstanceOf(Verdict.Pass.class);
      assertThat(VERIFIER.verify(chain, EXPECTATION)).isInstanceOf(Verdict.Fail.class);
    }
  }

  private static void assertCaught(Consumer<Map<String, HostTensor>> fault) {
    Map<String, HostTensor> result = correct();
    fault.accept(result);
    boolean changed = false;
    for (Map.Entry<String, HostTensor> original : correct().entrySet()) {
      changed |=
          !Arrays.equals(original.getValue().floats(), result.get(original.getKey()).floats());
    }
    assertThat(changed).as("the fault changed the result").isTrue();
    assertThat(judge(result)).isInstanceOf(Verdict.Fail.class);
  }

  private static Verdict judge(Map<String, HostTensor> result) {
    return VERIFIER.judge(EXPECTATION, result, List.of());
  }

  /** The oracle's answer, rounded. */
  private static Map<String, HostTensor> correct() {
    return rounded(PROBLEM, new ScalarOperations(Precision.FP64), INPUTS);
  }

  /** What a backend that takes the problem for another one would return. */
  private static Map<String, HostTensor> plain(
      AttentionProblem problem, Map<String, HostTensor> inputs) {
    return rounded(problem, new ScalarOperations(Precision.FP32), inputs);
  }

  private static Map<String, HostTensor> masked(int left, int right) {
    return plain(PROBLEM.withMask(new BandMask(left, right, Alignment.BOTTOM_RIGHT)), INPUTS);
  }

  private static Map<String, HostTensor> rounded(
      AttentionProblem problem, ScalarOperations operations, Map<String, HostTensor> inputs) {
    Map<String, double[]> wide = new HashMap<>();
    inputs.forEach((name, tensor) -> wide.put(name, tensor.toDoubles()));
    Map<String, HostTensor> result = new HashMap<>();
    Map<String, double[]> values = operations.evaluate(problem, wide);
    for (ExpectedTensor expected : EXPECTATION.tensors()) {
      double[] exact = values.get(expected.name());
      float[] narrow = new float[exact.length];
      for (int i = 0; i < exact.length; i++) {
        narrow[i] = (float) exact[i];
      }
      result.put(expected.name(), HostTensor.of(expected.shape(), narrow));
    }
    return result;
  }

  private static Map<String, HostTensor> keyValueHeadsSwapped() {
    Map<String, HostTensor> inputs = new HashMap<>(INPUTS);
    for (String name : List.of("k", "v")) {
      HostTensor given = INPUTS.get(name);
      int head = 41 * given.shape().rowLength();
      float[] swapped = new float[given.size()];
      for (int i = 0; i < swapped.length; i++) {
        int other = i / head % 2 == 0 ? i + head : i - head;
        swapped[i] = given.get(other);
      }
      inputs.put(name, HostTensor.of(given.shape(), swapped));
    }
    return inputs;
  }

  /** Online softmax in fp32, one key after another, with or without rescaling what was summed. */
  private static HostTensor online(boolean rescale) {
    AttentionShape shape = PROBLEM.shape();
    HostTensor out = HostTensor.zeros(shape.out(), PROBLEM.dtype());
    float[] q = INPUTS.get("q").floats();
    float[] k = INPUTS.get("k").floats();
    float[] v = INPUTS.get("v").floats();
    for (int row = 0; row < ROWS; row++) {
      int i = row % 45;
      int head = row / 45;
      int kv = head / 4 * 2 + head % 4 / 2;
      float max = Float.NEGATIVE_INFINITY;
      float sum = 0;
      float[] acc = new float[HEAD_DIM_V];
      for (int j = 0; j < 41; j++) {
        if (!LongHand.visible(PROBLEM.mask(), shape, i, j)) {
          continue;
        }
        float s = 0;
        for (int d = 0; d < 16; d++) {
          s += q[row * 16 + d] * k[(kv * 41 + j) * 16 + d];
        }
        s *= PROBLEM.softmaxScale();
        float newMax = Math.max(max, s);
        float alpha = rescale ? (float) Math.exp(max - newMax) : 1;
        float p = (float) Math.exp(s - newMax);
        sum = alpha * sum + p;
        for (int e = 0; e < HEAD_DIM_V; e++) {
          acc[e] = alpha * acc[e] + p * v[(kv * 41 + j) * HEAD_DIM_V + e];
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

  private static void swapRows(HostTensor tensor, int a, int b) {
    for (int e = 0; e < HEAD_DIM_V; e++) {
      float kept = tensor.get(a * HEAD_DIM_V + e);
      tensor.set(a * HEAD_DIM_V + e, tensor.get(b * HEAD_DIM_V + e));
      tensor.set(b * HEAD_DIM_V + e, kept);
    }
  }

  private static Verdict verified(Consumer<Map<String, HostSession.Span>> kernel) {
    try (Session session = session(kernel);
        PreparedChain chain = prepare(session)) {
      return VERIFIER.verify(chain, EXPECTATION);
    }
  }

  private static PreparedChain prepare(Session session) {
    return PreparedChain.prepare(session, Chain.of(PROBLEM), operation -> Plan.of("naive"), INPUTS);
  }

  /** Writes the correct lse, and as many elements of the correct out. */
  private static void write(Map<String, HostSession.Span> tensors, int elements) {
    Map<String, HostTensor> correct = correct();
    HostSession.Span out = tensors.get("out");
    HostSession.Span lse = tensors.get("lse");
    System.arraycopy(correct.get("out").floats(), 0, out.array(), out.offset(), elements);
    System.arraycopy(correct.get("lse").floats(), 0, lse.array(), lse.offset(), ROWS);
  }

  /** A session whose only kernel is the one given. */
  private static Session session(Consumer<Map<String, HostSession.Span>> kernel) {
    ReferenceBackend backend = new ReferenceBackend();
    Probe.Available available = (Probe.Available) backend.probe();
    return new HostSession(backend, available.devices().getFirst()) {
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
