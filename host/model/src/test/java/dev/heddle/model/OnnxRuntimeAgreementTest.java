package dev.heddle.model;

import static dev.heddle.model.AttentionLayer.CONTEXT;
import static dev.heddle.model.AttentionLayer.PROJECTED;
import static dev.heddle.model.AttentionLayer.Q;
import static dev.heddle.model.AttentionLayer.V;
import static org.assertj.core.api.Assertions.assertThat;

import ai.onnxruntime.OrtException;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Planner;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Probe;
import dev.heddle.core.Session;
import dev.heddle.core.Shape;
import dev.heddle.reference.ErrorMeasures;
import dev.heddle.reference.ExpectedTensor;
import dev.heddle.reference.ReferenceBackend;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The model made of Heddle's operations against ONNX Runtime running the file that the weights come
 * from: every layer's queries, values, context, projection and output. (The graph holds its keys
 * transposed; the context depends on every one of them.)
 *
 * <p>The bound. Both sides compute in fp32 with unit roundoff u = 2^-24 and differ in the order of
 * their sums. A sum of n terms is then off by about sqrt(n) u relative to the size of its terms
 * (Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, 2019). The longest sum
 * of a layer has INTERMEDIATE = 1536 terms: 2.3e-6. On its way through a layer a value passes six
 * sums (a projection, the scores, the weighted values, the output projection, up, down), and layer
 * normalisation brings its scale back to that of the layer before. So after L layers the relative
 * L2 difference should stay below 6 L sqrt(1536) u = 1.4e-5 L, if no sum cancels badly. It does
 * stay below, by a factor of ten, and {@link #wrongWeightsDisagree} shows that the bound is not too
 * wide to notice a single wrong weight.
 */
class OnnxRuntimeAgreementTest {
  private static final double BOUND_PER_LAYER =
      6 * Math.sqrt(MiniLm.INTERMEDIATE) * Math.scalb(1.0, -24);

  private static final Map<String, String> TEXTS = new LinkedHashMap<>();

  static {
    TEXTS.put("one word", "heddle");
    TEXTS.put("sentence", "A heddle lifts some of the warp threads so that the weft can pass.");
    TEXTS.put(
        "unicode",
        "Na\u00efve caf\u00e9s in \u6771\u4eac and \u041c\u043e\u0441\u043a\u0432\u0430, 12,5 \u20ac \u2026 \ud83d\ude00");
    TEXTS.put(
        "long",
        IntStream.range(0, 30)
            .mapToObj(i -> "Thread " + i + " crosses weft " + (i * 7919 % 101) + ".")
            .reduce("", (a, b) -> a + " " + b));
  }

  private static SentenceTokenizer tokenizer;
  private static MiniLm model;
  private static OnnxRuntimeModel runtime;
  private static final Map<String, Map<String, float[]>> EXPECTED = new HashMap<>();

  @BeforeAll
  static void load() throws IOException, OrtException {
    tokenizer = SentenceTokenizer.open();
    model = MiniLm.load();
    List<String> values = new ArrayList<>(List.of(embeddings()));
    for (int layer = 0; layer < MiniLm.LAYERS; layer++) {
      values.addAll(insideAttention(layer).values());
      values.add(output(layer));
    }
    runtime = new OnnxRuntimeModel(values);
    for (String text : TEXTS.values()) {
      EXPECTED.put(text, runtime.run(tokenizer.tokenize(text)));
    }
  }

  @AfterAll
  static void close() throws OrtException {
    runtime.close();
    tokenizer.close();
  }

  /** The first device of every backend that has one, with every text. */
  static Stream<Arguments> backendsAndTexts() {
    List<Backend> backends =
        ServiceLoader.load(Backend.class).stream()
            .map(ServiceLoader.Provider::get)
            .filter(backend -> backend.probe() instanceof Probe.Available)
            .toList();
    assertThat(backends).extracting(Backend::id).contains("reference", "vector");
    return backends.stream()
        .flatMap(backend ->
            TEXTS.keySet().stream()
                .map(text -> Arguments.of(Named.of(backend.id(), backend), text)));
  }

  @ParameterizedTest(name = "{0}, {1}")
  @MethodSource("backendsAndTexts")
  void everyLayerAgrees(Backend backend, String name) {
    String text = TEXTS.get(name);
    Tokens tokens = tokenizer.tokenize(text);
    Map<String, float[]> expected = EXPECTED.get(text);
    try (Session session = open(backend)) {
      Planner planner = new Planner(backend, session.device());
      Encoder encoder = new Encoder(model, session, planner);
      HostTensor hidden = encoder.hidden(tokens, 0);
      // One rounding of a sum of three, and one of its normalisation.
      assertWithin(BOUND_PER_LAYER, hidden, expected.get(embeddings()), "embeddings");
      for (int layer = 0; layer < MiniLm.LAYERS; layer++) {
        double bound = BOUND_PER_LAYER * (layer + 1);
        AttentionLayer attention =
            new AttentionLayer(layer, hidden, model.layer(layer).attention());
        Map<String, HostTensor> inside = run(attention, session, planner);
        insideAttention(layer)
            .forEach((tensor, value) ->
                assertWithin(bound, inside.get(tensor), expected.get(value), value));
        hidden = encoder.next(layer, hidden);
        assertWithin(bound, hidden, expected.get(output(layer)), output(layer));
      }
      assertThat(session.liveResources()).isZero();
    }
  }

  /** Ways to get a layer's weights wrong that a shape check lets through. */
  static Stream<Arguments> faults() {
    return Stream.of(
        fault(
            "query and key swapped",
            w -> new AttentionWeights(w.key(), w.query(), w.value(), w.output())),
        fault(
            "key and value swapped",
            w -> new AttentionWeights(w.query(), w.value(), w.key(), w.output())),
        fault(
            "output weight transposed",
            w ->
                new AttentionWeights(
                    w.query(),
                    w.key(),
                    w.value(),
                    new Projection(transposed(w.output().weight()), w.output().bias()))),
        fault(
            "query bias left out",
            w ->
                new AttentionWeights(
                    new Projection(
                        w.query().weight(), HostTensor.zeros(w.query().bias().shape(), DType.FP32)),
                    w.key(),
                    w.value(),
                    w.output())),
        fault(
            "one weight of 147456 off by 1",
            w ->
                new AttentionWeights(
                    w.query(),
                    w.key(),
                    new Projection(nudged(w.value().weight()), w.value().bias()),
                    w.output())));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("faults")
  void wrongWeightsDisagree(String name, UnaryOperator<AttentionWeights> fault) {
    int layer = 3;
    String text = TEXTS.get("sentence");
    Map<String, float[]> expected = EXPECTED.get(text);
    Map<String, String> names = insideAttention(layer);
    AttentionWeights right = model.layer(layer).attention();
    AttentionWeights wrong = fault.apply(right);
    assertThat(differs(right, wrong)).isTrue();

    float[] entering = expected.get(output(layer - 1));
    HostTensor hidden =
        HostTensor.of(Shape.of(entering.length / MiniLm.HIDDEN, MiniLm.HIDDEN), entering);
    Backend backend = new ReferenceBackend();
    try (Session session = open(backend)) {
      Planner planner = new Planner(backend, session.device());
      double errorOfRight =
          error(
              run(new AttentionLayer(layer, hidden, right), session, planner).get(PROJECTED),
              expected.get(names.get(PROJECTED)));
      double errorOfWrong =
          error(
              run(new AttentionLayer(layer, hidden, wrong), session, planner).get(PROJECTED),
              expected.get(names.get(PROJECTED)));
      assertThat(errorOfRight).isLessThanOrEqualTo(BOUND_PER_LAYER);
      assertThat(errorOfWrong).isGreaterThan(10 * BOUND_PER_LAYER);
    }
  }

  private static Arguments fault(String name, UnaryOperator<AttentionWeights> fault) {
    return Arguments.of(name, fault);
  }

  private static HostTensor transposed(HostTensor matrix) {
    int n = matrix.shape().rowLength();
    HostTensor transposed = HostTensor.zeros(matrix.shape(), matrix.dtype());
    for (int i = 0; i < matrix.size(); i++) {
      transposed.set(i % n * n + i / n, matrix.get(i));
    }
    return transposed;
  }

  private static HostTensor nudged(HostTensor matrix) {
    HostTensor nudged = HostTensor.of(matrix.shape(), matrix.floats().clone());
    nudged.set(0, nudged.get(0) + 1);
    return nudged;
  }

  private static boolean differs(AttentionWeights a, AttentionWeights b) {
    return differs(a.query(), b.query())
        || differs(a.key(), b.key())
        || differs(a.value(), b.value())
        || differs(a.output(), b.output());
  }

  private static boolean differs(Projection a, Projection b) {
    return !Arrays.equals(a.weight().floats(), b.weight().floats())
        || !Arrays.equals(a.bias().floats(), b.bias().floats());
  }

  private static Session open(Backend backend) {
    Probe.Available found = (Probe.Available) backend.probe();
    return backend.open(found.devices().getFirst());
  }

  private static Map<String, HostTensor> run(
      AttentionLayer attention, Session session, Planner planner) {
    try (PreparedChain chain =
        PreparedChain.prepare(
            session,
            attention.chain(Q, V, CONTEXT, PROJECTED),
            planner::plan,
            attention.inputs())) {
      chain.poison();
      chain.run();
      assertThat(chain.brokenGuards()).isEmpty();
      return chain.outputs();
    }
  }

  private static void assertWithin(double bound, HostTensor got, float[] expected, String name) {
    double error = error(got, expected);
    assertThat(error).as("relative L2 error of %s", name).isLessThanOrEqualTo(bound);
  }

  private static double error(HostTensor got, float[] expected) {
    double[] exact = IntStream.range(0, expected.length).mapToDouble(i -> expected[i]).toArray();
    int[] rows = IntStream.range(0, exact.length / got.shape().rowLength()).toArray();
    ExpectedTensor all =
        new ExpectedTensor("", got.shape(), DType.FP32, got.shape().rowLength(), rows, exact, 0);
    return ErrorMeasures.of(all, got).relL2();
  }

  private static String embeddings() {
    return "/embeddings/LayerNorm/Add_1_output_0";
  }

  /** The graph's names for what the attention chain of a layer computes. */
  private static Map<String, String> insideAttention(int layer) {
    String module = "/encoder/layer." + layer + "/attention/";
    return Map.of(
        Q, module + "self/Transpose_1_output_0",
        V, module + "self/Transpose_output_0",
        CONTEXT, module + "self/Reshape_3_output_0",
        PROJECTED, module + "output/dense/Add_output_0");
  }

  private static String output(int layer) {
    return layer == MiniLm.LAYERS - 1
        ? "last_hidden_state"
        : "/encoder/layer." + layer + "/output/LayerNorm/Add_1_output_0";
  }
}
