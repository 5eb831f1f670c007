package dev.heddle.lab.onnx;

import static org.assertj.core.api.Assertions.assertThat;

import ai.onnx.proto.OnnxMl.TensorProto;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import dev.heddle.lab.Conformance;
import dev.heddle.lab.Installation;
import dev.heddle.lab.OnnxConformance;
import dev.heddle.lab.Selection;
import dev.heddle.reference.ReferenceBackend;
import dev.heddle.vector.VectorBackend;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.function.DoubleSupplier;
import java.util.function.DoubleUnaryOperator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Nodes drawn over everything that the operators' specifications allow, their outputs computed here
 * by those specifications and by nothing of Heddle's.
 */
class OnnxSpecificationTest {
  private static final double HIDDEN = Double.NEGATIVE_INFINITY;

  @TempDir private Path folder;

  /** Uniform in [0, 1), as ONNX draws its own: nothing is small by cancellation. */
  private static HostTensor uniform(SplittableRandom random, DType dtype, int... dims) {
    return filled(random::nextDouble, dtype, dims);
  }

  private static HostTensor filled(DoubleSupplier values, DType dtype, int... dims) {
    HostTensor tensor = HostTensor.zeros(Shape.of(dims), dtype);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, (float) values.getAsDouble());
    }
    return tensor;
  }

  private static HostTensor rounded(double[] values, DType dtype, int... dims) {
    HostTensor tensor = HostTensor.zeros(Shape.of(dims), dtype);
    for (int i = 0; i < values.length; i++) {
      tensor.set(i, (float) values[i]);
    }
    return tensor;
  }

  private static TensorProto proto(String name, HostTensor tensor) {
    return NodeTest.tensor(
        name, tensor, tensor.shape().dims().stream().mapToInt(dim -> dim).toArray());
  }

  /** {@code [B, H, S, D]} as ONNX's packed {@code [B, S, H * D]}. */
  private static HostTensor packed(HostTensor tensor) {
    int heads = tensor.shape().dim(1);
    int length = tensor.shape().dim(2);
    int width = tensor.shape().dim(3);
    HostTensor packed =
        HostTensor.zeros(Shape.of(tensor.shape().dim(0), length, heads * width), tensor.dtype());
    for (int i = 0; i < tensor.size(); i++) {
      int d = i % width;
      int s = i / width % length;
      int h = i / width / length % heads;
      int b = i / width / length / heads;
      packed.set(((b * length + s) * heads + h) * width + d, tensor.get(i));
    }
    return packed;
  }

  private static TensorProto sequence(String name, HostTensor tensor, boolean packed) {
    return proto(name, packed ? packed(tensor) : tensor);
  }

  /** 16-bit results are off by what their own rounding and that of what they come from allows. */
  private static void writeTolerance(Path test, DType... dtypes) throws IOException {
    double widest =
        Arrays.stream(dtypes)
            .mapToDouble(dtype ->
                switch (dtype) {
                  case FP16 -> 0x1p-8;
                  case BF16 -> 0x1p-5;
                  default -> 0;
                })
            .max()
            .orElse(0);
    if (widest > 0) {
      Files.writeString(
          test.resolve("data.json"), "{\"rtol\": " + widest + ", \"atol\": " + widest + "}");
    }
  }

  private Conformance run() {
    List<Backend> backends = List.of(new ReferenceBackend(), new VectorBackend());
    return OnnxConformance.run(
        Installation.of(backends), folder, Selection.ALL, Optional.empty(), doing -> {});
  }

  private static void assertAllPass(Conformance conformance) {
    assertThat(conformance.unusable()).isEmpty();
    assertThat(
            conformance.failures().stream()
                .map(answer ->
                    answer.question()
                        + " "
                        + answer.kernel()
                        + " "
                        + answer.device().id()
                        + " "
                        + answer.verdict().reason().orElse("")
                        + " "
                        + answer.question().inputs()
                        + answer.question().operations())
                .toList())
        .isEmpty();
    for (Device device : conformance.devices()) {
      assertThat(
              conformance.answers().stream()
                  .filter(answer -> answer.device().equals(device))
                  .map(answer -> answer.verdict().label())
                  .distinct())
          .as("verdicts of %s", device.id())
          .contains("pass");
    }
  }

  /** Attention by the text of the specification, one row at a time. */
  private static final class Attention {
    final SplittableRandom random;
    final int since;
    final boolean packed;
    final int batch;
    final int headsQ;
    final int headsKv;
    final int queries;
    final int added;
    final int width;
    final int widthV;
    final int past;
    final boolean withPast;
    final DType type;
    final DType typeV;
    final boolean causal;
    final int left;
    final int right;
    final double softcap;
    final Optional<Float> scale;
    final int mode;
    final boolean shows;
    final boolean withPresent;
    final Optional<int[]> lengths;
    final Optional<HostTensor> mask;
    final HostTensor q;
    final HostTensor k;
    final HostTensor v;

    Attention(long seed) {
      random = new SplittableRandom(seed);
      since = random.nextInt(23, 26);
      packed = random.nextBoolean();
      batch = random.nextInt(1, 4);
      headsKv = random.nextInt(1, 4);
      headsQ = headsKv * random.nextInt(1, 4);
      queries = random.nextInt(1, 6);
      added = random.nextInt(3) == 0 ? queries : random.nextInt(1, 8);
      width = random.nextInt(1, 10);
      widthV = random.nextBoolean() ? width : random.nextInt(1, 10);
      withPast = random.nextInt(3) == 0;
      past = withPast ? random.nextInt(0, 5) : 0;
      type = DType.FLOATING.get(Math.max(0, random.nextInt(6) - 3));
      typeV = random.nextInt(4) > 0 ? type : DType.FLOATING.get(random.nextInt(3));
      causal = random.nextBoolean();
      left = since >= 25 && random.nextBoolean() ? random.nextInt(-1, 4) : -1;
      right = since >= 25 && random.nextBoolean() ? random.nextInt(-1, 4) : -1;
      softcap = random.nextInt(3) == 0 ? random.nextDouble(0.5, 4) : 0;
      scale =
          random.nextInt(3) == 0 ? Optional.of((float) random.nextDouble(0, 2)) : Optional.empty();
      mode = random.nextInt(4);
      // Flash has no scores to show.
      shows = random.nextInt(3) == 0;
      withPresent = withPast || random.nextInt(4) == 0;
      lengths =
          since >= 24 && !withPast && random.nextInt(3) == 0
              ? Optional.of(
                  IntStream.range(0, batch).map(b -> random.nextInt(0, added + 1)).toArray())
              : Optional.empty();
      mask = random.nextInt(3) > 0 ? Optional.of(drawMask()) : Optional.empty();
      q = uniform(random, type, batch, headsQ, queries, width);
      k = uniform(random, type, batch, headsKv, past + added, width);
      v = uniform(random, typeV, batch, headsKv, past + added, widthV);
    }

    int keys() {
      return past + added;
    }

    private HostTensor drawMask() {
      int keys = keys();
      int last = since >= 24 && random.nextInt(3) == 0 ? random.nextInt(1, keys + 1) : keys;
      if (since == 23 && random.nextInt(4) == 0) {
        last = 1;
      }
      int[] full = {
        random.nextBoolean() ? batch : 1,
        random.nextBoolean() ? headsQ : 1,
        random.nextBoolean() ? queries : 1,
        last
      };
      int rank = random.nextInt(1, 5);
      int[] dims = Arrays.copyOfRange(full, 4 - rank, 4);
      if (random.nextBoolean()) {
        return filled(() -> random.nextInt(4) > 0 ? 1 : 0, DType.BOOL, dims);
      }
      return filled(() -> random.nextInt(5) == 0 ? HIDDEN : random.nextDouble(), type, dims);
    }

    /** What the mask adds to a score, its axes aligned from the right as NumPy does. */
    private double maskBias(int b, int h, int i, int j) {
      if (mask.isEmpty()) {
        return 0;
      }
      List<Integer> dims = mask.get().shape().dims();
      int[] index = {b, h, i, j};
      int at = 0;
      for (int axis = 0; axis < dims.size(); axis++) {
        int dim = dims.get(axis);
        int wanted = index[4 - dims.size() + axis];
        if (axis == dims.size() - 1 && since >= 24 && wanted >= dim) {
          return HIDDEN;
        }
        at = at * dim + (dim == 1 ? 0 : wanted);
      }
      double value = mask.get().get(at);
      return mask.get().dtype() == DType.BOOL ? (value == 0 ? HIDDEN : 0) : value;
    }

    private double bias(int b, int h, int i, int j) {
      int offset = withPast ? past : lengths.isPresent() ? lengths.get()[b] - queries : 0;
      boolean allowed = !causal || j <= i + offset;
      allowed &= left < 0 || j >= i + offset - left;
      allowed &= right < 0 || j <= i + offset + right;
      allowed &= lengths.isEmpty() || j < lengths.get()[b];
      return (allowed ? 0 : HIDDEN) + maskBias(b, h, i, j);
    }

    /** Writes the test, its outputs changed as asked. */
    void write(Path folder, DoubleUnaryOperator change) throws IOException {
      int keys = keys();
      double[] y = new double[batch * headsQ * queries * widthV];
      double[] shown = new double[batch * headsQ * queries * keys];
      double factor = scale.map(Float::doubleValue).orElse(1 / Math.sqrt(width));
      for (int row = 0; row < batch * headsQ * queries; row++) {
        int i = row % queries;
        int h = row / queries % headsQ;
        int b = row / queries / headsQ;
        int head = b * headsKv + h / (headsQ / headsKv);
        double[] biased = new double[keys];
        for (int j = 0; j < keys; j++) {
          double score = 0;
          for (int d = 0; d < width; d++) {
            score += factor * q.get(row * width + d) * k.get((head * keys + j) * width + d);
          }
          double capped = softcap > 0 ? softcap * Math.tanh(score / softcap) : score;
          biased[j] = capped + bias(b, h, i, j);
          shown[row * keys + j] = mode == 0 ? score : mode == 1 ? capped : biased[j];
        }
        double most = Arrays.stream(biased).max().orElseThrow();
        double sum = Arrays.stream(biased).map(s -> Math.exp(s - most)).sum();
        for (int j = 0; j < keys; j++) {
          double p = most == HIDDEN ? 0 : Math.exp(biased[j] - most) / sum;
          if (mode == 3) {
            shown[row * keys + j] = p;
          }
          for (int d = 0; d < widthV; d++) {
            y[row * widthV + d] += p * v.get((head * keys + j) * widthV + d);
          }
        }
      }
      NodeTest test =
          new NodeTest("Attention", since)
              .with("is_causal", causal ? 1 : 0)
              .with("qk_matmul_output_mode", mode)
              .with("softcap", (float) softcap)
              .reads(sequence("q", q, packed))
              .reads(sequence("k", from(k, past), packed))
              .reads(sequence("v", from(v, past), packed));
      scale.ifPresent(value -> test.with("scale", value));
      if (packed) {
        test.with("q_num_heads", headsQ).with("kv_num_heads", headsKv);
      }
      if (since >= 25) {
        test.with("left_window_size", left).with("right_window_size", right);
      }
      mask.ifPresentOrElse(tensor -> test.reads(proto("m", tensor)), test::skipsInput);
      if (withPast) {
        test.reads(until("pk", k)).reads(until("pv", v));
      } else if (lengths.isPresent()) {
        test.skipsInput().skipsInput();
        test.reads(
            NodeTest.longs(
                "n", new int[] {batch}, Arrays.stream(lengths.get()).asLongStream().toArray()));
      }
      for (int o = 0; o < y.length; o++) {
        y[o] = change.applyAsDouble(y[o]);
      }
      test.writes(sequence("y", rounded(y, type, batch, headsQ, queries, widthV), packed));
      if (withPresent) {
        test.writes(proto("presentK", k)).writes(proto("presentV", v));
      } else {
        test.skipsOutput().skipsOutput();
      }
      if (shows) {
        test.writes(proto("s", rounded(shown, type, batch, headsQ, queries, keys)));
      }
      test.write(folder);
      writeTolerance(folder, type, typeV);
    }

    private HostTensor from(HostTensor tensor, int first) {
      return rows(tensor, first, keys());
    }

    private TensorProto until(String name, HostTensor tensor) {
      int width = tensor.shape().rowLength();
      if (past == 0) {
        return NodeTest.tensor(
            name, NodeTest.elementType(tensor.dtype()), new byte[0], batch, headsKv, 0, width);
      }
      return proto(name, rows(tensor, 0, past));
    }

    private HostTensor rows(HostTensor tensor, int first, int end) {
      int width = tensor.shape().rowLength();
      int kept = end - first;
      HostTensor rows = HostTensor.zeros(Shape.of(batch, headsKv, kept, width), tensor.dtype());
      for (int i = 0; i < rows.size(); i++) {
        int head = i / (kept * width);
        rows.set(i, tensor.get(head * keys() * width + first * width + i % (kept * width)));
      }
      return rows;
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {0, 100, 200, 300})
  void attention(long seed) throws IOException {
    for (int n = 0; n < 100; n++) {
      new Attention(seed + n).write(folder.resolve("test_" + (seed + n)), y -> y);
    }
    assertAllPass(run());
  }

  /** A test that could not fail would say nothing. */
  @Test
  void anOutputThatIsOffByMoreThanTheRuleAllowsFails() throws IOException {
    for (int seed = 0; seed < 20; seed++) {
      new Attention(seed).write(folder.resolve("test_" + seed), y -> y * 1.05 + 0.05);
    }
    Conformance conformance = run();
    assertThat(conformance.counts().passed()).isZero();
    assertThat(conformance.counts().failed()).isPositive();
  }

  @Test
  void rotaryEmbedding() throws IOException {
    for (int seed = 0; seed < 60; seed++) {
      writeRotary(new SplittableRandom(seed), folder.resolve("test_" + seed));
    }
    assertAllPass(run());
  }

  private static void writeRotary(SplittableRandom random, Path folder) throws IOException {
    int batch = random.nextInt(1, 4);
    int heads = random.nextInt(1, 4);
    int length = random.nextInt(1, 6);
    int width = 2 * random.nextInt(1, 6);
    int stated = random.nextBoolean() ? 0 : 2 * random.nextInt(1, width / 2 + 1);
    int turned = stated == 0 ? width : stated;
    int pairs = turned / 2;
    boolean interleaved = random.nextBoolean();
    boolean packed = random.nextBoolean();
    boolean byPosition = random.nextBoolean();
    DType type = DType.FLOATING.get(random.nextInt(3));
    int[] table =
        byPosition ? new int[] {random.nextInt(1, 9), pairs} : new int[] {batch, length, pairs};
    HostTensor x = uniform(random, type, batch, heads, length, width);
    HostTensor cos = uniform(random, type, table);
    // Negative sines keep every sum free of cancellation for the first of a pair, positive ones
    // for the second: one of them is judged by an absolute tolerance.
    HostTensor sin = uniform(random, type, table);
    long[] positions = random.longs((long) batch * length, 0, table[0]).toArray();
    double[] y = new double[x.size()];
    for (int i = 0; i < y.length; i++) {
      int d = i % width;
      int token = i / width % length;
      int b = i / width / length / heads;
      int row = b * length + token;
      int angle = (byPosition ? (int) positions[row] : row) * pairs;
      int head = i - d;
      if (d >= turned) {
        y[i] = x.get(i);
      } else if (interleaved ? d % 2 == 0 : d < pairs) {
        int pair = interleaved ? d / 2 : d;
        int other = interleaved ? d + 1 : d + pairs;
        y[i] =
            cos.get(angle + pair) * x.get(i) - sin.get(angle + pair) * (double) x.get(head + other);
      } else {
        int pair = interleaved ? d / 2 : d - pairs;
        int other = interleaved ? d - 1 : d - pairs;
        y[i] =
            sin.get(angle + pair) * x.get(head + other) + cos.get(angle + pair) * (double) x.get(i);
      }
    }
    NodeTest test =
        new NodeTest("RotaryEmbedding", 23)
            .with("interleaved", interleaved ? 1 : 0)
            .with("rotary_embedding_dim", stated)
            .reads(sequence("x", x, packed))
            .reads(proto("c", cos))
            .reads(proto("s", sin));
    if (packed) {
      test.with("num_heads", heads);
    }
    if (byPosition) {
      test.reads(NodeTest.longs("p", new int[] {batch, length}, positions));
    }
    test.writes(sequence("y", rounded(y, type, batch, heads, length, width), packed));
    test.write(folder);
    writeTolerance(folder, type);
    if (type == DType.FP32) {
      Files.writeString(folder.resolve("data.json"), "{\"atol\": 1e-6}");
    }
  }

  @Test
  void linearAttention() throws IOException {
    for (int seed = 0; seed < 80; seed++) {
      writeLinear(new SplittableRandom(seed), folder.resolve("test_" + seed));
    }
    assertAllPass(run());
  }

  private static void writeLinear(SplittableRandom random, Path folder) throws IOException {
    String rule = List.of("linear", "gated", "delta", "gated_delta").get(random.nextInt(4));
    boolean gated = rule.startsWith("gated");
    boolean delta = rule.endsWith("delta");
    int batch = random.nextInt(1, 4);
    int headsKv = random.nextInt(1, 4);
    int headsQ = headsKv * random.nextInt(1, 4);
    int length = random.nextInt(1, 6);
    int dk = random.nextInt(1, 7);
    int dv = random.nextInt(1, 7);
    int decayWidth = random.nextBoolean() ? 1 : dk;
    int betaHeads = random.nextBoolean() ? 1 : headsKv;
    DType type = DType.FLOATING.get(random.nextInt(3));
    DType stateType = random.nextBoolean() ? type : DType.FP32;
    boolean withPast = random.nextBoolean();
    float scale = random.nextBoolean() ? 0 : (float) random.nextDouble(0.1, 1);
    double factor = scale == 0 ? 1 / Math.sqrt(dk) : scale;
    HostTensor q = uniform(random, type, batch, headsQ, length, dk);
    HostTensor k = uniform(random, type, batch, headsKv, length, dk);
    HostTensor v = uniform(random, type, batch, headsKv, length, dv);
    HostTensor decay = filled(() -> -random.nextDouble(), type, batch, headsKv, length, decayWidth);
    // Small, so that what the delta rules take away leaves most of a state.
    HostTensor beta = filled(() -> random.nextDouble(0, 0.25), type, batch, betaHeads, length, 1);
    HostTensor past = uniform(random, stateType, batch, headsKv, dk, dv);
    double[] state = withPast ? past.toDoubles() : new double[past.size()];
    double[] out = new double[batch * headsQ * length * dv];
    for (int kv = 0; kv < batch * headsKv; kv++) {
      int b = kv / headsKv;
      for (int t = 0; t < length; t++) {
        int token = kv * length + t;
        int from = kv * dk * dv;
        if (gated) {
          for (int s = 0; s < dk * dv; s++) {
            int d = decayWidth == 1 ? 0 : s / dv;
            state[from + s] *= Math.exp(decay.get(token * decayWidth + d));
          }
        }
        double[] written = new double[dv];
        for (int m = 0; m < dv; m++) {
          double found = 0;
          for (int d = 0; d < dk; d++) {
            found += state[from + d * dv + m] * k.get(token * dk + d);
          }
          int betaHead = betaHeads == 1 ? b : kv;
          double value = v.get(token * dv + m);
          written[m] = delta ? beta.get(betaHead * length + t) * (value - found) : value;
        }
        for (int s = 0; s < dk * dv; s++) {
          state[from + s] += k.get(token * dk + s / dv) * written[s % dv];
        }
        int group = headsQ / headsKv;
        for (int g = 0; g < group; g++) {
          int row = ((b * headsQ + kv % headsKv * group + g) * length + t);
          for (int s = 0; s < dk * dv; s++) {
            out[row * dv + s % dv] += factor * q.get(row * dk + s / dv) * state[from + s];
          }
        }
      }
    }
    NodeTest test =
        new NodeTest("LinearAttention", 27)
            .with("update_rule", rule)
            .with("scale", scale)
            .with("q_num_heads", headsQ)
            .with("kv_num_heads", headsKv)
            .reads(sequence("q", q, true))
            .reads(sequence("k", k, true))
            .reads(sequence("v", v, true));
    if (withPast) {
      test.reads(proto("past", past));
    } else {
      test.skipsInput();
    }
    if (gated) {
      test.reads(sequence("decay", decay, true));
    } else {
      test.skipsInput();
    }
    if (delta) {
      test.reads(sequence("beta", beta, true));
    }
    test.writes(sequence("out", rounded(out, type, batch, headsQ, length, dv), true));
    test.writes(proto("present", rounded(state, stateType, batch, headsKv, dk, dv)));
    test.write(folder);
    writeTolerance(folder, type);
  }
}
