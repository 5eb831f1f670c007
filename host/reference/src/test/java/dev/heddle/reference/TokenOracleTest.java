package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.heddle.core.AttentionShape;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.FeatureMap;
import dev.heddle.core.Operation;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.RotaryEmbedding.Pairing;
import dev.heddle.core.TensorSpec;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Cache append, rotary embedding and linear attention against formulas of another kind. */
class TokenOracleTest {
  private static final ScalarOperations EXACT = new ScalarOperations(Precision.FP64);

  static List<ConformanceCase> appends() {
    return ConformanceSuite.cacheAppends(DType.FP32);
  }

  @ParameterizedTest
  @MethodSource("appends")
  void everyRowOfTheCacheHasOneSource(ConformanceCase testCase) {
    CacheAppend append = (CacheAppend) testCase.focus();
    Map<String, HostTensor> inputs = testCase.tensors();
    Elements cache = new Elements(append.inputs().get(0), inputs);
    Elements x = new Elements(append.inputs().get(1), inputs);
    Elements y = output(append, inputs, "y");
    int[] lengths = tensor(inputs, "lengths").ints();
    int added = 0;
    for (int b = 0; b < append.batch(); b++) {
      for (int h = 0; h < append.heads(); h++) {
        for (int j = 0; j < append.capacity(); j++) {
          boolean isNew = j >= lengths[b] && j < lengths[b] + append.added();
          added += isNew ? 1 : 0;
          for (int e = 0; e < append.width(); e++) {
            assertThat(y.at(b, h, j, e))
                .isEqualTo(isNew ? x.at(b, h, j - lengths[b], e) : cache.at(b, h, j, e));
          }
        }
      }
    }
    assertThat(added).isEqualTo(append.batch() * append.heads() * append.added());
  }

  static List<ConformanceCase> rotations() {
    return ConformanceSuite.rotaryEmbeddings(DType.FP32);
  }

  @ParameterizedTest
  @MethodSource("rotations")
  void pairsAreTurnedAndTheRestIsKept(ConformanceCase testCase) {
    RotaryEmbedding rotary = (RotaryEmbedding) testCase.focus();
    Map<String, HostTensor> inputs = testCase.tensors();
    Elements x = new Elements(rotary.inputs().get(0), inputs);
    Elements cos = new Elements(rotary.inputs().get(1), inputs);
    Elements sin = new Elements(rotary.inputs().get(2), inputs);
    Elements y = output(rotary, inputs, "y");
    int[] positions = tensor(inputs, "positions").ints();
    int half = rotary.rotaryDim() / 2;
    for (int b = 0; b < rotary.batch(); b++) {
      for (int h = 0; h < rotary.heads(); h++) {
        for (int s = 0; s < rotary.seqlen(); s++) {
          int p = positions[b * rotary.seqlen() + s];
          for (int e = 0; e < rotary.headDim(); e++) {
            double expected = x.at(b, h, s, e);
            if (e < rotary.rotaryDim()) {
              boolean interleaved = rotary.pairing() == Pairing.INTERLEAVED;
              int pair = interleaved ? e / 2 : e % half;
              boolean second = interleaved ? e % 2 == 1 : e >= half;
              double other =
                  interleaved
                      ? x.at(b, h, s, second ? e - 1 : e + 1)
                      : x.at(b, h, s, second ? e - half : e + half);
              double sign = second ? 1 : -1;
              expected = cos.at(p, pair) * expected + sign * sin.at(p, pair) * other;
            }
            assertThat(y.at(b, h, s, e)).isCloseTo(expected, within(1e-13));
          }
        }
      }
    }
  }

  /** What the embedding is for: a product of two turned vectors knows their distance only. */
  @ParameterizedTest
  @EnumSource
  void productsDependOnDistances(Pairing pairing) {
    int seqlen = 40;
    RotaryEmbedding rotary = new RotaryEmbedding(1, 1, seqlen, 16, 16, pairing, seqlen, DType.FP32);
    Map<String, HostTensor> inputs = CaseInputs.fitting(rotary).draw(rotary.inputs());
    inputs.put("cos", RotaryEmbedding.cosTable(seqlen, 16, RotaryEmbedding.DEFAULT_BASE));
    inputs.put("sin", RotaryEmbedding.sinTable(seqlen, 16, RotaryEmbedding.DEFAULT_BASE));
    HostTensor x = tensor(inputs, "x");
    for (int s = 0; s < seqlen; s++) {
      tensor(inputs, "positions").ints()[s] = s;
      // Every token is one of two vectors, by turns.
      for (int e = 0; e < 16; e++) {
        x.set(s * 16 + e, x.get(s % 2 * 16 + e));
      }
    }
    Elements y = output(rotary, inputs, "y");
    for (int distance = 1; distance < 12; distance += 2) {
      double first = dot(y, 0, distance);
      for (int s = 2; s + distance < seqlen; s += 2) {
        assertThat(dot(y, s, s + distance)).isCloseTo(first, within(1e-5));
      }
    }
    assertThat(dot(y, 0, 1)).isNotCloseTo(dot(y, 0, 11), within(1e-2));
  }

  private static double dot(Elements y, int i, int j) {
    double sum = 0;
    for (int e = 0; e < 16; e++) {
      sum += y.at(0, 0, i, e) * y.at(0, 0, j, e);
    }
    return sum;
  }

  static List<ConformanceCase> recurrences() {
    return ConformanceSuite.linearAttention(DType.FP32).stream()
        .filter(testCase -> ((LinearAttention) testCase.focus()).shape().seqlenK() < 100)
        .toList();
  }

  /**
   * Not by steps: the state is the product of all tokens' transition matrices, {@code (I - b k^T k)
   * diag(exp(g))}, applied to what was written before each, summed up over the writers.
   */
  @ParameterizedTest
  @MethodSource("recurrences")
  void theStateIsASumOverWritersEachCarriedThroughTheTokensAfterIt(ConformanceCase testCase) {
    LinearAttention problem = (LinearAttention) testCase.focus();
    AttentionShape s = problem.shape();
    Map<String, HostTensor> inputs = testCase.tensors();
    Map<String, Elements> given = new HashMap<>();
    problem.inputs().forEach(spec -> given.put(spec.name(), new Elements(spec, inputs)));
    Elements out = output(problem, inputs, "out");
    Elements last = output(problem, inputs, "state");
    for (int b = 0; b < s.batch(); b++) {
      for (int h = 0; h < s.headsQ(); h++) {
        int kv = h / (s.headsQ() / s.headsKv());
        for (int t = 0; t < s.seqlenK(); t++) {
          double[][] state = new double[s.headDim()][s.headDimV()];
          double[] z = new double[s.headDim()];
          for (int writer = problem.initialState() ? -1 : 0; writer <= t; writer++) {
            double[][] part = written(problem, given, b, kv, writer);
            double[] share = new double[s.headDim()];
            for (int d = 0; problem.normalised() && d < s.headDim(); d++) {
              share[d] =
                  writer < 0
                      ? get(given, "initial_normaliser").at(b, kv, d)
                      : feature(problem, get(given, "k").at(b, kv, writer, d));
            }
            for (int after = writer + 1; after <= t; after++) {
              part = carried(problem, given, b, kv, after, part);
              for (int d = 0; problem.normalised() && d < s.headDim(); d++) {
                share[d] *= gate(problem, given, b, kv, after, d);
              }
            }
            for (int d = 0; d < s.headDim(); d++) {
              z[d] += share[d];
              for (int e = 0; e < s.headDimV(); e++) {
                state[d][e] += part[d][e];
              }
            }
          }
          for (int e = 0; e < s.headDimV(); e++) {
            double sum = 0;
            double divisor = 0;
            for (int d = 0; d < s.headDim(); d++) {
              double feature = feature(problem, get(given, "q").at(b, h, t, d));
              sum += feature * state[d][e];
              divisor += feature * z[d];
            }
            double expected = problem.scale() * (problem.normalised() ? sum / divisor : sum);
            assertThat(out.at(b, h, t, e)).isCloseTo(expected, within(1e-11));
          }
          if (t == s.seqlenK() - 1) {
            for (int d = 0; d < s.headDim(); d++) {
              for (int e = 0; e < s.headDimV(); e++) {
                assertThat(last.at(b, kv, d, e)).isCloseTo(state[d][e], within(1e-11));
              }
              if (problem.normalised()) {
                assertThat(output(problem, inputs, "normaliser").at(b, kv, d))
                    .isCloseTo(z[d], within(1e-11));
              }
            }
          }
        }
      }
    }
  }

  /** {@code b f(k)^T v} of a token, or the initial state for token -1. */
  private static double[][] written(
      LinearAttention problem, Map<String, Elements> given, int b, int kv, int token) {
    AttentionShape s = problem.shape();
    double[][] part = new double[s.headDim()][s.headDimV()];
    for (int d = 0; d < s.headDim(); d++) {
      for (int e = 0; e < s.headDimV(); e++) {
        part[d][e] =
            token < 0
                ? get(given, "initial_state").at(b, kv, d, e)
                : rate(problem, given, b, kv, token)
                    * feature(problem, get(given, "k").at(b, kv, token, d))
                    * get(given, "v").at(b, kv, token, e);
      }
    }
    return part;
  }

  /** {@code (I - b f(k)^T f(k)) diag(exp(g)) part}, without the second term but by a delta rule. */
  private static double[][] carried(
      LinearAttention problem,
      Map<String, Elements> given,
      int b,
      int kv,
      int token,
      double[][] part) {
    int headDim = problem.shape().headDim();
    double[][] carried = new double[headDim][part[0].length];
    for (int d = 0; d < headDim; d++) {
      for (int inner = 0; inner < headDim; inner++) {
        double element = d == inner ? 1 : 0;
        if (problem.rule().isDelta()) {
          element -=
              rate(problem, given, b, kv, token)
                  * feature(problem, get(given, "k").at(b, kv, token, d))
                  * feature(problem, get(given, "k").at(b, kv, token, inner));
        }
        element *= gate(problem, given, b, kv, token, inner);
        for (int e = 0; e < part[0].length; e++) {
          carried[d][e] += element * part[inner][e];
        }
      }
    }
    return carried;
  }

  private static double gate(
      LinearAttention problem, Map<String, Elements> given, int b, int kv, int token, int d) {
    return problem.rule().isGated()
        ? Math.exp(get(given, "decay").at(b, kv, token, problem.decayPerDim() ? d : 0))
        : 1;
  }

  private static double rate(
      LinearAttention problem, Map<String, Elements> given, int b, int kv, int token) {
    return problem.rule().isDelta()
        ? get(given, "beta").at(b, problem.betaShared() ? 0 : kv, token)
        : 1;
  }

  private static double feature(LinearAttention problem, double x) {
    if (problem.featureMap() == FeatureMap.IDENTITY) {
      return x;
    }
    double elu = x > 0 ? x : Math.expm1(x);
    return elu + 1;
  }

  /** Some tokens and then the others, from the state that the first left, are all of them. */
  @Test
  void theStateCarriesOn() {
    LinearAttention whole =
        LinearAttention.of(
                new AttentionShape(1, 2, 1, 9, 9, 6, 5), LinearAttention.UpdateRule.GATED)
            .kernelised();
    LinearAttention head =
        LinearAttention.of(
                new AttentionShape(1, 2, 1, 4, 4, 6, 5), LinearAttention.UpdateRule.GATED)
            .kernelised();
    LinearAttention tail =
        LinearAttention.of(
                new AttentionShape(1, 2, 1, 5, 5, 6, 5), LinearAttention.UpdateRule.GATED)
            .kernelised()
            .withInitialState(true);
    Map<String, double[]> all = widened(CaseInputs.fitting(whole).draw(whole.inputs()));
    Map<String, double[]> first = new HashMap<>();
    Map<String, double[]> rest = new HashMap<>();
    all.forEach((name, values) -> {
      int heads = name.equals("q") ? 2 : 1;
      int width = values.length / heads / 9;
      double[] early = new double[heads * 4 * width];
      double[] late = new double[heads * 5 * width];
      for (int h = 0; h < heads; h++) {
        System.arraycopy(values, h * 9 * width, early, h * 4 * width, 4 * width);
        System.arraycopy(values, (h * 9 + 4) * width, late, h * 5 * width, 5 * width);
      }
      first.put(name, early);
      rest.put(name, late);
    });
    Map<String, double[]> before = EXACT.evaluate(head, first);
    rest.put("initial_state", values(before, "state"));
    rest.put("initial_normaliser", values(before, "normaliser"));
    Map<String, double[]> after = EXACT.evaluate(tail, rest);
    Map<String, double[]> atOnce = EXACT.evaluate(whole, all);
    assertThat(values(after, "state")).containsExactly(values(atOnce, "state"), within(1e-14));
    assertThat(values(after, "normaliser"))
        .containsExactly(values(atOnce, "normaliser"), within(1e-14));
    for (int h = 0; h < 2; h++) {
      for (int e = 0; e < 5 * 5; e++) {
        assertThat(values(after, "out")[h * 25 + e])
            .isCloseTo(values(atOnce, "out")[h * 45 + 20 + e], within(1e-14));
      }
    }
  }

  /** Plain arithmetic differs from the oracle, and by its mode, but not by much. */
  @Test
  void plainArithmeticIsClose() {
    for (ConformanceCase testCase : recurrences()) {
      Map<String, double[]> inputs = widened(testCase.tensors());
      Map<String, double[]> exact = EXACT.evaluate(testCase.focus(), inputs);
      for (Precision precision :
          List.of(Precision.FP32, Precision.FP32_REORDERED, Precision.FP32_FUSED)) {
        Map<String, double[]> plain =
            new ScalarOperations(precision).evaluate(testCase.focus(), inputs);
        exact.forEach((name, expected) -> {
          double[] got = values(plain, name);
          for (int i = 0; i < got.length; i++) {
            assertThat(got[i]).isCloseTo(expected[i], within(2e-6 * (1 + Math.abs(expected[i]))));
          }
          if (got.length > 100) {
            assertThat(got).isNotEqualTo(expected);
          }
        });
      }
    }
  }

  private static Map<String, double[]> widened(Map<String, HostTensor> inputs) {
    Map<String, double[]> wide = new HashMap<>();
    inputs.forEach((name, tensor) -> wide.put(name, tensor.toDoubles()));
    return wide;
  }

  /** Row-major elements by their indices. */
  private record Elements(TensorSpec spec, double[] values) {
    Elements(TensorSpec spec, Map<String, HostTensor> inputs) {
      this(spec, tensor(inputs, spec.name()).toDoubles());
    }

    double at(int... index) {
      int flat = 0;
      for (int axis = 0; axis < index.length; axis++) {
        flat = flat * spec.shape().dim(axis) + index[axis];
      }
      return values[flat];
    }
  }

  private static Elements output(Operation operation, Map<String, HostTensor> inputs, String name) {
    TensorSpec spec =
        operation.outputs().stream().filter(o -> o.name().equals(name)).findFirst().orElseThrow();
    return new Elements(spec, values(EXACT.evaluate(operation, widened(inputs)), name));
  }

  private static double[] values(Map<String, double[]> tensors, String name) {
    return ScalarOperations.input(tensors, name);
  }

  private static Elements get(Map<String, Elements> tensors, String name) {
    Elements elements = tensors.get(name);
    assertThat(elements).as(name).isNotNull();
    return elements;
  }

  private static HostTensor tensor(Map<String, HostTensor> tensors, String name) {
    HostTensor tensor = tensors.get(name);
    assertThat(tensor).as(name).isNotNull();
    return tensor;
  }
}
