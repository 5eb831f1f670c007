package dev.heddle.reference;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Blocks;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionOptions.Dropout;
import dev.heddle.core.AttentionOptions.ScoreStage;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.FeatureMap;
import dev.heddle.core.LinearAttention.UpdateRule;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.RotaryEmbedding.Pairing;
import dev.heddle.core.TensorSpec;
import dev.heddle.reference.CaseInputs.Angles;
import dev.heddle.reference.CaseInputs.Integers;
import dev.heddle.reference.CaseInputs.Put;
import dev.heddle.reference.CaseInputs.Scale;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The cases that every backend has to get right or refuse: what {@code conform} asks of a device,
 * and what the contract tests ask of a backend.
 */
public enum ConformanceSuite {
  /**
   * Every kernel on problems of at most {@link #TINY_FLOPS}, for devices that are simulated and
   * take a microsecond and more for an operation.
   */
  TINY {
    @Override
    public List<ConformanceCase> cases(DType dtype) {
      return everySmallCase(dtype).stream().filter(ConformanceSuite::isTiny).toList();
    }
  },
  /**
   * Every feature and every mask in every type: small shapes, difficult values, empty rows, the
   * other operations, a chain. A driver may take a second to compile a kernel for one more head
   * dim, and another one with options, so there are few: {@link #isQuick}.
   */
  QUICK {
    @Override
    public List<ConformanceCase> cases(DType dtype) {
      return everySmallCase(dtype).stream().filter(ConformanceSuite::isQuick).toList();
    }
  },
  /**
   * All of {@link #QUICK}, all other small shapes, and larger ones under every mask, up to a
   * thousand queries and keys.
   */
  FULL {
    @Override
    public List<ConformanceCase> cases(DType dtype) {
      Map<String, ConformanceCase> cases = new LinkedHashMap<>();
      Stream.of(everySmallCase(dtype), largeShapes(dtype))
          .flatMap(List::stream)
          .forEach(testCase -> cases.putIfAbsent(testCase.name(), testCase));
      return List.copyOf(cases.values());
    }
  };

  private static final int[][] LARGE_SHAPES = {
    {1, 1, 1, 1, 1, 1, 1},
    {1, 1, 1, 7, 13, 13, 7},
    {3, 2, 2, 63, 65, 64, 64},
    {1, 2, 2, 64, 64, 64, 64},
    {2, 2, 1, 65, 63, 32, 96},
    {1, 6, 2, 113, 203, 40, 24},
    {1, 6, 2, 113, 203, 96, 96},
    {1, 1, 1, 203, 113, 128, 128},
    {1, 4, 1, 1, 513, 64, 64},
    {2, 4, 2, 3, 131, 32, 32},
    {1, 1, 1, 17, 19, 256, 200},
    {1, 1, 1, 17, 70, 256, 256},
  };

  /** Of the same kinds, none above 2^21 multiply-adds. */
  private static final int[][] SMALL_SHAPES = {
    {1, 1, 1, 1, 1, 1, 1},
    {1, 1, 1, 7, 13, 13, 7},
    {2, 2, 2, 63, 65, 64, 64},
    {1, 1, 1, 64, 64, 64, 64},
    {1, 2, 1, 65, 63, 32, 96},
    {1, 3, 1, 33, 70, 40, 24},
    {1, 1, 1, 70, 81, 128, 128},
    {2, 4, 2, 1, 257, 64, 64},
    {2, 4, 2, 3, 131, 32, 32},
    {1, 1, 1, 17, 19, 256, 200},
    {1, 2, 1, 71, 33, 96, 96},
    {1, 1, 1, 17, 35, 256, 256},
  };

  private static final int MASKS_PER_SHAPE = 3;

  /** Under every option of linear attention; others only under its rules. */
  private static final int LINEAR_ATTENTION_HEAD_DIM = 24;

  private static final List<BandMask> MASKS =
      List.of(
          BandMask.NONE,
          BandMask.causal(Alignment.TOP_LEFT),
          BandMask.causal(Alignment.BOTTOM_RIGHT),
          new BandMask(5, 3, Alignment.TOP_LEFT),
          new BandMask(16, 0, Alignment.BOTTOM_RIGHT),
          new BandMask(0, 0, Alignment.TOP_LEFT),
          new BandMask(BandMask.UNBOUNDED, 9, Alignment.BOTTOM_RIGHT),
          new BandMask(70, BandMask.UNBOUNDED, Alignment.TOP_LEFT));

  private static List<ConformanceCase> everySmallCase(DType dtype) {
    List<ConformanceCase> cases = new ArrayList<>(smallShapes(dtype));
    cases.addAll(attentionValues(dtype));
    cases.addAll(emptyRows(dtype));
    cases.addAll(options(dtype));
    cases.addAll(stages(dtype));
    cases.addAll(linear(dtype));
    cases.addAll(heads(dtype));
    cases.addAll(cacheAppends(dtype));
    cases.addAll(rotaryEmbeddings(dtype));
    cases.addAll(linearAttention(dtype));
    cases.add(layer(dtype));
    cases.add(decoding(dtype));
    return cases;
  }

  /** At most so many operations has a case of {@link #TINY}. */
  private static final int TINY_FLOPS = 1 << 14;

  /** Whether the case is small, and of a head dim that others have, too. */
  private static boolean isTiny(ConformanceCase testCase) {
    return testCase.chain().flops() <= TINY_FLOPS
        && switch (testCase.focus()) {
          case AttentionProblem problem -> problem.shape().headDim() == 13;
          case AttentionStage stage -> stage.attention().shape().headDim() == 13;
          case LinearAttention linear -> linear.shape().headDim() <= 13;
          case LinearProblem linear -> true;
          case HeadsTranspose heads -> true;
          case CacheAppend append -> true;
          case RotaryEmbedding rotary -> true;
        };
  }

  /**
   * Whether the case costs no kernels of its own. Attention has an odd head dim or 64, in fp32 also
   * 128; with options it has 64 in fp32 and the odd one in the other types; linear attention has
   * one of its own. Other operations compile once for all sizes, and some of those are enough.
   */
  private static boolean isQuick(ConformanceCase testCase) {
    return switch (testCase.focus()) {
      case AttentionProblem problem -> isQuick(problem);
      case AttentionStage stage -> isQuick(stage.attention());
      case LinearProblem linear -> true;
      case HeadsTranspose heads -> true;
      case CacheAppend append -> true;
      case RotaryEmbedding rotary -> rotary.headDim() == 33 || rotary.headDim() == 64;
      case LinearAttention linear -> linear.shape().headDim() == LINEAR_ATTENTION_HEAD_DIM;
    };
  }

  private static boolean isQuick(AttentionProblem problem) {
    int headDim = problem.shape().headDim();
    boolean fp32 = problem.dtype() == DType.FP32;
    if (!problem.options().isNone()) {
      // For few queries a processor has other kernels: those of fp32 are enough.
      return fp32 ? headDim == 64 : headDim == 13 && problem.shape().seqlenQ() > 16;
    }
    return headDim == 13
        || (headDim == 64 && problem.shape().headDimV() == 64)
        || (headDim == 128 && fp32);
  }

  /** Every case of the suite in that storage type, each under a name of its own. */
  public abstract List<ConformanceCase> cases(DType dtype);

  /** Name as users write it. */
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** The case of that name, in that storage type, of any suite. */
  public static Optional<ConformanceCase> named(String name, DType dtype) {
    return FULL.cases(dtype).stream().filter(testCase -> testCase.name().equals(name)).findFirst();
  }

  /**
   * Sizes around every tile edge, grouped heads, unequal head dims, none above 2^21 multiply-adds,
   * each under three of the eight masks.
   */
  public static List<ConformanceCase> smallShapes(DType dtype) {
    List<ConformanceCase> cases = new ArrayList<>();
    for (int s = 0; s < SMALL_SHAPES.length; s++) {
      // 3 has no divisor in common with 8, so that neighbouring shapes meet different masks and
      // each mask meets four shapes or five.
      for (int m = 0; m < MASKS_PER_SHAPE; m++) {
        BandMask mask = MASKS.get((MASKS_PER_SHAPE * s + m) % MASKS.size());
        cases.add(masked(attention(dtype, SMALL_SHAPES[s]), mask));
      }
    }
    return cases;
  }

  /** Sizes of the same kinds, up to a thousand queries and keys, under all masks. */
  public static List<ConformanceCase> largeShapes(DType dtype) {
    List<ConformanceCase> cases = new ArrayList<>();
    for (int[] sizes : LARGE_SHAPES) {
      for (BandMask mask : MASKS) {
        cases.add(masked(attention(dtype, sizes), mask));
      }
    }
    AttentionProblem large = attention(dtype, 1, 1, 1, 1023, 1024, 64, 64);
    cases.add(masked(large, BandMask.NONE));
    cases.add(masked(large, BandMask.causal(Alignment.BOTTOM_RIGHT)));
    cases.add(masked(large, new BandMask(200, 31, Alignment.TOP_LEFT)));
    return cases;
  }

  /** Values that break careless arithmetic, within the type's range, and options. */
  public static List<ConformanceCase> attentionValues(DType dtype) {
    AttentionProblem problem = attention(dtype, 1, 2, 1, 37, 71, 64, 64);
    AttentionProblem causal = problem.withMask(BandMask.causal(Alignment.BOTTOM_RIGHT));
    CaseInputs normal = CaseInputs.NORMAL;
    // fp16 has its subnormals below 6.1e-5 and ends at 65504; bf16 has the range of fp32.
    float subnormal = dtype == DType.FP16 ? 1e-6f : 1e-40f;
    float large = dtype == DType.FP16 ? 1e4f : 1e30f;
    return List.of(
        values("logits-of-1e4", problem.withScale(1e4f / 64), normal),
        values("logits-of-1e4-causal", causal.withScale(1e4f / 64), normal),
        values("one-key-with-a-logit-of-1e4", problem, spike(problem.shape(), 1e4f)),
        values("one-key-with-a-logit-of-minus-1e4", problem, spike(problem.shape(), -1e4f)),
        values(
            "logits-of-1e5", problem, normal.then(new Scale("q", 300)).then(new Scale("k", 300))),
        // Beyond 2^31 half a unit in the last place is more than the exponents of fp32 hold.
        values("logits-of-1e10", problem.withScale(1e10f / 8), normal),
        values("logits-of-1e10-scale-below-0-causal", causal.withScale(-1e10f / 8), normal),
        values("equal-logits", problem, normal.then(Put.everywhere("q", 0))),
        values("subnormal-values", problem, normal.then(new Scale("v", subnormal))),
        values(
            "subnormal-queries-and-keys",
            problem,
            normal.then(new Scale("q", subnormal)).then(new Scale("k", subnormal))),
        values("large-values-causal", causal, normal.then(new Scale("v", large))),
        // Under this mask the queries see as many keys as there are queries, and none of the
        // others.
        values(
            "nan-in-keys-that-no-query-sees",
            problem.withMask(BandMask.causal(Alignment.TOP_LEFT)),
            normal
                .then(new Put("k", 37 * 64, 1, Float.NaN))
                .then(new Put("v", 37 * 64, 1, Float.NaN))),
        values("scale-0", problem.withScale(0), normal),
        values("scale-below-0-causal", causal.withScale(-0.3f), normal),
        values("without-lse-causal", causal.withLse(false), normal));
  }

  /** Problems in which some or all rows see no key. */
  public static List<ConformanceCase> emptyRows(DType dtype) {
    return List.of(
        masked(attention(dtype, 1, 2, 2, 71, 5, 64, 64), BandMask.causal(Alignment.BOTTOM_RIGHT)),
        masked(attention(dtype, 2, 1, 1, 90, 17, 64, 64), new BandMask(3, 0, Alignment.TOP_LEFT)),
        masked(attention(dtype, 1, 1, 1, 200, 1, 64, 64), new BandMask(2, 0, Alignment.TOP_LEFT)));
  }

  /** What attention does to its scores beyond scale and band: each option alone, then together. */
  public static List<ConformanceCase> options(DType dtype) {
    AttentionProblem problem = attention(dtype, 2, 4, 2, 37, 71, 64, 64);
    AttentionProblem causal = problem.withMask(BandMask.causal(Alignment.BOTTOM_RIGHT));
    AttentionProblem odd = attention(dtype, 3, 2, 1, 37, 33, 13, 7);
    AttentionProblem tiny = attention(dtype, 2, 2, 1, 5, 9, 13, 7);
    AttentionProblem decode = attention(dtype, 4, 4, 2, 1, 257, 64, 64);
    AttentionProblem window = odd.withMask(new BandMask(5, 3, Alignment.TOP_LEFT));
    AttentionOptions none = AttentionOptions.NONE;
    AttentionOptions masked = none.withMask(Broadcast.MATRIX);
    AttentionOptions biased = none.withBias(new Broadcast(false, true, true));
    AttentionOptions every =
        none.withKeyLengths(true)
            .withMask(Broadcast.FULL)
            .withBias(Broadcast.MATRIX)
            .withBlocks(new Blocks(8, 16, true, true))
            .withAlibi(true)
            .withSoftcap(2)
            .withSinks(true);
    List<ConformanceCase> cases = new ArrayList<>();
    for (AttentionProblem each : List.of(problem, causal, odd, window, decode)) {
      cases.add(optional(each, none.withKeyLengths(true)));
      cases.add(optional(each, every));
      cases.add(optional(each, none.withSinks(true)));
    }
    for (Broadcast layout :
        List.of(
            Broadcast.MATRIX,
            Broadcast.FULL,
            new Broadcast(true, false, false),
            new Broadcast(false, true, false))) {
      cases.add(optional(causal, none.withMask(layout)));
      cases.add(optional(problem, none.withBias(layout)));
    }
    // Heads of 63 queries: where two of them share a tile of 64 rows, its last row has the mask of
    // its
    // first.
    AttentionProblem sharing = attention(dtype, 1, 2, 1, 63, 33, 13, 7);
    cases.add(optional(sharing, masked));
    cases.add(optional(sharing, none.withBias(new Broadcast(true, false, true))));
    cases.add(optional(odd, masked));
    cases.add(optional(tiny, every));
    cases.add(optional(tiny, none.withSinks(true).withDropout(new Dropout(0.5f, 8))));
    cases.add(optional(window, biased));
    cases.add(optional(problem, none.withAlibi(true)));
    cases.add(optional(causal, none.withAlibi(true)));
    cases.add(optional(odd, none.withAlibi(true).withKeyLengths(true)));
    cases.add(optional(problem, none.withSoftcap(0.5f)));
    cases.add(optional(causal, none.withSoftcap(30)));
    cases.add(optional(causal.withScale(3), none.withSoftcap(5).withSinks(true)));
    cases.add(optional(problem, none.withBlocks(new Blocks(16, 16, false, false))));
    cases.add(optional(causal, none.withBlocks(new Blocks(64, 32, true, true))));
    cases.add(optional(odd, none.withBlocks(new Blocks(5, 7, false, true))));
    cases.add(optional(problem, none.withDropout(new Dropout(0.1f, 42))));
    cases.add(optional(window, none.withDropout(new Dropout(0.5f, -1L << 40 | 7))));
    cases.add(optional(odd, every.withDropout(new Dropout(0.25f, 3))));
    cases.add(optional(tiny, none.withScoreOutput(ScoreStage.PROBABILITIES)));
    for (ScoreStage stage : ScoreStage.values()) {
      cases.add(optional(causal, none.withScoreOutput(stage)));
      cases.add(optional(odd, every.withScoreOutput(stage)));
    }
    cases.add(optional(causal.withLse(false), every));
    return cases;
  }

  private static ConformanceCase optional(AttentionProblem plain, AttentionOptions options) {
    AttentionProblem problem = plain.withOptions(options);
    return ConformanceCase.of(
        path(problem) + "/" + options + (problem.lse() ? "" : "/without-lse"),
        problem,
        optionalInputs(problem));
  }

  /** Lengths from none to all of the keys, a bias that hides some, slopes of ALiBi's size. */
  private static CaseInputs optionalInputs(AttentionProblem problem) {
    AttentionOptions options = problem.options();
    AttentionShape shape = problem.shape();
    CaseInputs inputs = CaseInputs.NORMAL;
    if (options.keyLengths()) {
      inputs = inputs.then(new Integers("key_lengths", 0, shape.seqlenK()));
    }
    if (options.bias().isPresent()) {
      inputs = inputs.then(new Put("bias", 3, 7, Float.NEGATIVE_INFINITY));
    }
    if (options.alibi()) {
      inputs = inputs.then(new Scale("alibi_slopes", 0.1f));
    }
    return inputs;
  }

  /** The kernels of staged attention, each alone. */
  public static List<ConformanceCase> stages(DType dtype) {
    List<ConformanceCase> cases = new ArrayList<>();
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      for (AttentionProblem problem :
          List.of(
              attention(dtype, 1, 1, 1, 1, 1, 1, 1),
              attention(dtype, 2, 4, 2, 33, 65, 24, 40),
              attention(dtype, 1, 2, 1, 65, 31, 64, 64)
                  .withMask(new BandMask(4, 2, Alignment.TOP_LEFT)),
              attention(dtype, 1, 1, 1, 70, 130, 64, 33)
                  .withMask(BandMask.causal(Alignment.BOTTOM_RIGHT)))) {
        cases.add(stage(stage, problem));
      }
    }
    // Scores know no options.
    AttentionProblem optional =
        attention(dtype, 2, 4, 2, 33, 65, 24, 40)
            .withMask(BandMask.causal(Alignment.BOTTOM_RIGHT))
            .withOptions(
                AttentionOptions.NONE
                    .withKeyLengths(true)
                    .withMask(Broadcast.MATRIX)
                    .withBias(Broadcast.FULL)
                    .withSoftcap(4)
                    .withDropout(new Dropout(0.3f, 5)));
    cases.add(stage(AttentionStage.Stage.SOFTMAX, optional));
    cases.add(stage(AttentionStage.Stage.VALUES, optional));
    return cases;
  }

  private static ConformanceCase stage(AttentionStage.Stage stage, AttentionProblem problem) {
    AttentionStage operation = new AttentionStage(stage, problem);
    String options = problem.options().isNone() ? "" : "/" + problem.options();
    return ConformanceCase.of(
        "stage/" + stage.name().toLowerCase(Locale.ROOT) + "/" + path(problem) + options,
        operation,
        optionalInputs(problem).forTensors(operation.inputs()));
  }

  /** Linear layers with and without bias. */
  public static List<ConformanceCase> linear(DType dtype) {
    int[][] sizes = {
      {1, 1, 1}, {7, 13, 5}, {3, 140, 5}, {63, 65, 64}, {113, 203, 97}, {17, 384, 384}
    };
    List<ConformanceCase> cases = new ArrayList<>();
    for (int[] size : sizes) {
      for (boolean bias : new boolean[] {false, true}) {
        cases.add(
            ConformanceCase.of(
                "linear/" + size[0] + "," + size[1] + "," + size[2] + (bias ? "/bias" : ""),
                new LinearProblem(size[0], size[1], size[2], bias, dtype),
                CaseInputs.NORMAL));
      }
    }
    return cases;
  }

  /** Swaps of the two middle axes. */
  public static List<ConformanceCase> heads(DType dtype) {
    int[][] sizes = {{1, 1, 1, 1}, {2, 13, 12, 32}, {3, 5, 7, 33}};
    List<ConformanceCase> cases = new ArrayList<>();
    for (int[] size : sizes) {
      cases.add(
          ConformanceCase.of(
              "heads/" + size[0] + "," + size[1] + "," + size[2] + "," + size[3],
              new HeadsTranspose(size[0], size[1], size[2], size[3], dtype),
              CaseInputs.NORMAL));
    }
    return cases;
  }

  /** Appends to caches: full, empty, of a row and of many. */
  public static List<ConformanceCase> cacheAppends(DType dtype) {
    int[][] sizes = {
      {1, 1, 1, 1, 1}, {2, 3, 17, 5, 33}, {3, 2, 65, 1, 64}, {2, 1, 9, 9, 7}, {4, 2, 130, 64, 40}
    };
    List<ConformanceCase> cases = new ArrayList<>();
    for (int[] size : sizes) {
      cases.add(
          fitting(
              "cache/" + joined(size),
              new CacheAppend(size[0], size[1], size[2], size[3], size[4], dtype)));
    }
    return cases;
  }

  /** Rotary embeddings of whole heads and of parts of them, with both kinds of pairs. */
  public static List<ConformanceCase> rotaryEmbeddings(DType dtype) {
    int[][] sizes = {
      {1, 1, 1, 2, 2, 1},
      {2, 3, 7, 33, 20, 12},
      {2, 2, 5, 13, 2, 50},
      {1, 4, 37, 64, 64, 100},
      {3, 1, 19, 128, 96, 40}
    };
    List<ConformanceCase> cases = new ArrayList<>();
    for (int[] size : sizes) {
      for (Pairing pairing : Pairing.values()) {
        cases.add(
            fitting(
                "rotary/" + joined(size) + "/" + pairing.label(),
                new RotaryEmbedding(
                    size[0], size[1], size[2], size[3], size[4], pairing, size[5], dtype)));
      }
    }
    return cases;
  }

  /** Linear attention by every rule, under every option, and over many tokens. */
  public static List<ConformanceCase> linearAttention(DType dtype) {
    int headDim = LINEAR_ATTENTION_HEAD_DIM;
    AttentionShape grouped = new AttentionShape(2, 4, 2, 21, 21, headDim, 40);
    AttentionShape one = new AttentionShape(1, 1, 1, 1, 1, 1, 1);
    AttentionShape step = new AttentionShape(3, 2, 1, 1, 1, headDim, 17);
    AttentionShape many = new AttentionShape(1, 2, 2, 300, 300, 64, 80);
    List<LinearAttention> problems = new ArrayList<>();
    for (UpdateRule rule : UpdateRule.values()) {
      LinearAttention plain = LinearAttention.of(grouped, rule);
      problems.add(plain.withInitialState(true));
      problems.add(LinearAttention.of(one, rule));
      problems.add(LinearAttention.of(step, rule).withInitialState(true).withScale(-2));
      problems.add(LinearAttention.of(many, rule));
      problems.add(plain.withDecayPerDim(rule.isGated()));
      if (rule.isDelta()) {
        problems.add(plain.withBetaShared(true).withInitialState(true));
      } else {
        problems.add(plain.kernelised());
        problems.add(plain.kernelised().withInitialState(true).withScale(0.5f));
      }
    }
    problems.add(
        LinearAttention.of(grouped, UpdateRule.GATED_DELTA)
            .withDecayPerDim(true)
            .withBetaShared(true)
            .withFeatureMap(FeatureMap.ELU_PLUS_ONE));
    return problems.stream()
        .map(problem -> fitting("linear-attention/" + path(problem), problem.withDtype(dtype)))
        .toList();
  }

  /** Shape, rule and options without blanks. */
  private static String path(LinearAttention problem) {
    StringBuilder path = new StringBuilder();
    path.append(problem.shape()).append('/').append(problem.rule().label());
    if (problem.decayPerDim()) {
      path.append("/decay-per-dim");
    }
    if (problem.betaShared()) {
      path.append("/beta-shared");
    }
    if (problem.featureMap() != FeatureMap.IDENTITY) {
      path.append("/elu-plus-one");
    }
    if (problem.normalised()) {
      path.append("/normalised");
    }
    if (problem.initialState()) {
      path.append("/initial-state");
    }
    if (problem.scale() != AttentionProblem.defaultScale(problem.shape().headDim())) {
      path.append("/scale").append(problem.scale());
    }
    return path.toString();
  }

  /**
   * Rotary embedding of new queries and keys, keys and values appended to their caches, and causal
   * attention over those: what a layer does with each token that it decodes.
   */
  public static ConformanceCase decoding(DType dtype) {
    int batch = 2;
    int capacity = 33;
    int headDim = 64;
    RotaryEmbedding query =
        new RotaryEmbedding(batch, 4, 3, headDim, headDim, Pairing.HALF_SPLIT, capacity, dtype);
    RotaryEmbedding key =
        new RotaryEmbedding(batch, 2, 3, headDim, headDim, Pairing.HALF_SPLIT, capacity, dtype);
    CacheAppend append = new CacheAppend(batch, 2, capacity, 3, headDim, dtype);
    AttentionProblem attention =
        attention(dtype, batch, 4, 2, 3, capacity, headDim, headDim)
            .withMask(BandMask.causal(Alignment.BOTTOM_RIGHT));
    List<TensorSpec> inputs = new ArrayList<>();
    inputs.add(new TensorSpec("q", attention.shape().q(), dtype));
    inputs.add(new TensorSpec("k", key.inputs().getFirst().shape(), dtype));
    inputs.add(new TensorSpec("v", key.inputs().getFirst().shape(), dtype));
    inputs.addAll(query.inputs().subList(1, 4));
    inputs.add(new TensorSpec("k_cache", attention.shape().k(), dtype));
    inputs.add(new TensorSpec("v_cache", attention.shape().v(), dtype));
    inputs.add(append.inputs().getLast());
    List<Chain.Step> steps =
        List.of(
            step(query, turned("q"), "q_turned"),
            step(key, turned("k"), "k_turned"),
            step(append, appended("k_cache", "k_turned"), "k_present"),
            step(append, appended("v_cache", "v"), "v_present"),
            new Chain.Step(
                attention,
                Map.of("q", "q_turned", "k", "k_present", "v", "v_present"),
                Map.of("out", "out", "lse", "lse")));
    CaseInputs values =
        CaseInputs.NORMAL
            .then(Put.everywhere("lengths", capacity - 3))
            .then(new Put("positions", 0, 3, capacity - 3))
            .then(new Put("positions", 1, 3, capacity - 2))
            .then(new Put("positions", 2, 3, capacity - 1))
            .then(new Angles("cos", RotaryEmbedding.DEFAULT_BASE, false))
            .then(new Angles("sin", RotaryEmbedding.DEFAULT_BASE, true));
    return new ConformanceCase(
        "chain/decoding",
        attention,
        new Chain("decoding", inputs, steps, List.of("k_present", "out", "lse")),
        values);
  }

  private static Map<String, String> turned(String x) {
    return Map.of("x", x, "cos", "cos", "sin", "sin", "positions", "positions");
  }

  private static Map<String, String> appended(String cache, String x) {
    return Map.of("cache", cache, "x", x, "lengths", "lengths");
  }

  private static ConformanceCase fitting(String name, Operation operation) {
    return ConformanceCase.of(name, operation, CaseInputs.fitting(operation));
  }

  private static String joined(int... sizes) {
    return Arrays.stream(sizes).mapToObj(String::valueOf).collect(Collectors.joining(","));
  }

  /** Projections, heads, attention, merge and output projection: what a transformer layer does. */
  public static ConformanceCase layer(DType dtype) {
    // More than 32 queries: the kernels of the other cases serve this one, too.
    int seqlen = 37;
    int heads = 3;
    int headDim = 64;
    int hidden = heads * headDim;
    LinearProblem project = new LinearProblem(seqlen, hidden, hidden, true, dtype);
    HeadsTranspose split = new HeadsTranspose(1, seqlen, heads, headDim, dtype);
    HeadsTranspose merge = new HeadsTranspose(1, heads, seqlen, headDim, dtype);
    List<TensorSpec> inputs = new ArrayList<>(project.inputs().subList(0, 1));
    List<Chain.Step> steps = new ArrayList<>();
    CaseInputs values = CaseInputs.NORMAL;
    for (String name : List.of("q", "k", "v", "o")) {
      inputs.add(new TensorSpec("w_" + name, project.inputs().get(1).shape(), dtype));
      inputs.add(new TensorSpec("b_" + name, project.inputs().get(2).shape(), dtype));
      // As trained weights are, so that what is projected has the size of x.
      values = values.then(new Scale("w_" + name, (float) (1 / Math.sqrt(hidden))));
    }
    for (String name : List.of("q", "k", "v")) {
      steps.add(step(project, Map.of("x", "x", "weight", "w_" + name, "bias", "b_" + name), name));
      steps.add(step(split, Map.of("x", name), name + "_heads"));
    }
    AttentionProblem attention =
        attention(dtype, 1, heads, heads, seqlen, seqlen, headDim, headDim).withLse(false);
    steps.add(
        new Chain.Step(
            attention,
            Map.of("q", "q_heads", "k", "k_heads", "v", "v_heads"),
            Map.of("out", "context")));
    steps.add(step(merge, Map.of("x", "context"), "merged"));
    steps.add(step(project, Map.of("x", "merged", "weight", "w_o", "bias", "b_o"), "y"));
    return new ConformanceCase(
        "chain/layer",
        attention,
        new Chain("layer", inputs, steps, List.of("context", "y")),
        values);
  }

  private static Chain.Step step(Operation operation, Map<String, String> reads, String writes) {
    return new Chain.Step(operation, reads, Map.of("y", writes));
  }

  private static AttentionProblem attention(DType dtype, int... sizes) {
    AttentionShape shape =
        new AttentionShape(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]);
    return AttentionProblem.of(shape).withDtype(dtype);
  }

  private static ConformanceCase masked(AttentionProblem problem, BandMask mask) {
    AttentionProblem masked = problem.withMask(mask);
    return ConformanceCase.of("attention/" + path(masked), masked, CaseInputs.NORMAL);
  }

  private static ConformanceCase values(String label, AttentionProblem problem, CaseInputs inputs) {
    return ConformanceCase.of("values/" + label, problem, inputs);
  }

  /** Shape and mask without blanks. */
  private static String path(AttentionProblem problem) {
    return problem.shape() + "/" + problem.mask().toString().replace(' ', '-');
  }

  /** Makes query element 0 be 4 everywhere, and key element 0 so large for one key only. */
  private static CaseInputs spike(AttentionShape shape, float logit) {
    int key = shape.seqlenK() / 2;
    return CaseInputs.NORMAL
        .then(new Put("q", 0, shape.headDim(), 4))
        .then(Put.one("k", key * shape.headDim(), logit / 4 * (float) Math.sqrt(shape.headDim())));
  }
}
