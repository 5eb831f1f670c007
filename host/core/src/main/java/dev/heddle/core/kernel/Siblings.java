package dev.heddle.core.kernel;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.kernel.Recipe.Launch;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Recipes of the kernels that are siblings: the same in every device language, in names, arguments,
 * tunables and launch geometry. What a group or a work-item takes of a device's memory differs from
 * language to language, and so is left to {@link Recipe#withMemory}.
 */
public final class Siblings {
  /** Group of the kernels that compute one number per work-item. */
  private static final List<Integer> ONE_EACH = List.of(16, 4, 1);

  private static final List<Integer> ROW_EACH = List.of(64, 1);

  private Siblings() {}

  /** The kernel of a rung, and the name of its file: {@code attention_flash}. */
  public static String kernel(Operation operation, String algorithm) {
    String family =
        switch (operation) {
          case AttentionProblem attention -> "attention";
          case AttentionStage stage -> "attention";
          case LinearProblem linear -> "linear";
          case HeadsTranspose heads -> "heads";
        };
    return family + "_" + algorithm;
  }

  /** The macros that an operation gives every kernel for it. */
  public static SortedMap<String, Integer> macros(Operation operation) {
    return switch (operation) {
      case AttentionProblem attention -> headDims(attention.shape());
      case AttentionStage stage -> headDims(stage.attention().shape());
      case LinearProblem linear -> new TreeMap<>();
      case HeadsTranspose heads -> new TreeMap<>();
    };
  }

  private static SortedMap<String, Integer> headDims(AttentionShape shape) {
    return new TreeMap<>(Map.of("HEAD_DIM", shape.headDim(), "HEAD_DIM_V", shape.headDimV()));
  }

  /** What the kernels' {@code storage.h} calls a storage type, in the macro {@code DTYPE}. */
  public static int code(DType dtype) {
    return switch (dtype) {
      case FP32 -> 0;
      case FP16 -> 1;
      case BF16 -> 2;
      case INT32, BOOL -> throw new IllegalArgumentException("operands are never " + dtype.label());
    };
  }

  /** An operation's macros and a plan's tunables. */
  public static SortedMap<String, Integer> macros(
      Operation operation, SortedMap<String, Integer> tunables) {
    SortedMap<String, Integer> macros = macros(operation);
    macros.putAll(tunables);
    return macros;
  }

  // ---- attention

  /**
   * Attention in one kernel, {@code BLOCK_M} query rows a group.
   *
   * @param local work-items of a group along each axis
   */
  public static Recipe flash(
      String file,
      String kernel,
      AttentionProblem attention,
      SortedMap<String, Integer> tunables,
      List<Integer> local) {
    AttentionShape shape = attention.shape();
    Launch launch =
        new Launch(
            kernel,
            List.of(
                groups(shape.seqlenQ(), value(tunables, "BLOCK_M")),
                (long) shape.headsQ(),
                (long) shape.batch()),
            local,
            same("q", "k", "v", "out", "lse"));
    return Recipe.of(file, macros(attention, tunables), List.of(launch), args(attention))
        .withOptional("lse");
  }

  /** Attention in its three stages, with the probabilities written over the scores. */
  public static Recipe inStages(
      String file,
      AttentionProblem attention,
      String algorithm,
      SortedMap<String, Integer> tunables) {
    List<Launch> launches =
        List.of(
            stage(AttentionStage.Stage.SCORES, attention, algorithm, tunables, "scores"),
            stage(AttentionStage.Stage.SOFTMAX, attention, algorithm, tunables, "scores"),
            stage(AttentionStage.Stage.VALUES, attention, algorithm, tunables, "scores"));
    return Recipe.of(file, macros(attention, tunables), launches, args(attention))
        .withScratch(Map.of("scores", attention.shape().scores()))
        .withOptional("lse");
  }

  /** One of the stages alone. */
  public static Recipe stage(
      String file, AttentionStage stage, String algorithm, SortedMap<String, Integer> tunables) {
    AttentionProblem attention = stage.attention();
    Launch launch = stage(stage.stage(), attention, algorithm, tunables, "probabilities");
    return Recipe.of(file, macros(stage, tunables), List.of(launch), args(attention))
        .withOptional("lse");
  }

  private static Launch stage(
      AttentionStage.Stage stage,
      AttentionProblem attention,
      String algorithm,
      SortedMap<String, Integer> tunables,
      String probabilities) {
    AttentionShape shape = attention.shape();
    Map<String, String> tensors =
        switch (stage) {
          case SCORES -> same("q", "k", "scores");
          case SOFTMAX -> Map.of("scores", "scores", "probabilities", probabilities, "lse", "lse");
          case VALUES -> Map.of("probabilities", probabilities, "v", "v", "out", "out");
        };
    int columns = stage == AttentionStage.Stage.SCORES ? shape.seqlenK() : shape.headDimV();
    long heads = (long) shape.batch() * shape.headsQ();
    String kernel = new AttentionStage(stage, attention).name() + "_" + algorithm;
    boolean naive = algorithm.equals("naive");
    if (stage == AttentionStage.Stage.SOFTMAX) {
      return naive
          ? new Launch(
              kernel,
              List.of(groups(shape.seqlenQ(), ROW_EACH.getFirst()), heads),
              ROW_EACH,
              tensors)
          : new Launch(
              kernel,
              List.of((long) shape.seqlenQ(), heads),
              List.of(value(tunables, "SOFTMAX_THREADS"), 1),
              tensors);
    }
    return naive
        ? new Launch(kernel, oneEach(columns, shape.seqlenQ(), heads), ONE_EACH, tensors)
        : new Launch(
            kernel,
            List.of(
                groups(columns, value(tunables, "BLOCK_N")),
                groups(shape.seqlenQ(), value(tunables, "BLOCK_M")),
                heads),
            threads(tunables),
            tensors);
  }

  /** What every attention kernel is told at run time. */
  public static Map<String, Number> args(AttentionProblem attention) {
    AttentionShape shape = attention.shape();
    return Map.of(
        "batch", shape.batch(),
        "heads_q", shape.headsQ(),
        "heads_kv", shape.headsKv(),
        "seqlen_q", shape.seqlenQ(),
        "seqlen_k", shape.seqlenK(),
        "mask_left", attention.mask().clampedLeft(shape),
        "mask_right", attention.mask().clampedRight(shape),
        "mask_offset", attention.mask().offset(shape),
        "softmax_scale", attention.softmaxScale());
  }

  // ---- linear

  /**
   * A linear layer, {@code BLOCK_M} rows by {@code BLOCK_N} columns of the result a group.
   *
   * @param local work-items of a group along each axis
   */
  public static Recipe linear(
      String file,
      String kernel,
      LinearProblem linear,
      SortedMap<String, Integer> tunables,
      List<Integer> local) {
    return linear(
        file,
        macros(linear, tunables),
        linear,
        new Launch(
            kernel,
            List.of(
                groups(linear.outFeatures(), value(tunables, "BLOCK_N")),
                groups(linear.rows(), value(tunables, "BLOCK_M")),
                1L),
            local,
            same("x", "weight", "bias", "y")));
  }

  /** A linear layer, one element of the result per work-item. */
  public static Recipe linearNaive(String file, LinearProblem linear) {
    return linear(
        file,
        macros(linear),
        linear,
        new Launch(
            "linear_naive",
            oneEach(linear.outFeatures(), linear.rows(), 1),
            ONE_EACH,
            same("x", "weight", "bias", "y")));
  }

  private static Recipe linear(
      String file, SortedMap<String, Integer> macros, LinearProblem linear, Launch launch) {
    return Recipe.of(
            file,
            macros,
            List.of(launch),
            Map.of(
                "rows", linear.rows(),
                "in_features", linear.inFeatures(),
                "out_features", linear.outFeatures()))
        .withOptional("bias");
  }

  // ---- heads

  /** The exchange of two axes, one element per work-item. */
  public static Recipe heads(
      String file, HeadsTranspose heads, SortedMap<String, Integer> tunables) {
    long rows = (long) heads.outer() * heads.inner();
    Launch launch =
        new Launch(
            "heads_transpose",
            oneEach(heads.width(), rows, heads.batch()),
            ONE_EACH,
            same("x", "y"));
    return Recipe.of(
        file,
        macros(heads, tunables),
        List.of(launch),
        Map.of(
            "batch", heads.batch(),
            "outer", heads.outer(),
            "inner", heads.inner(),
            "width", heads.width()));
  }

  // ---- peak

  /** Multiply-adds and nothing else, in groups of {@code local} work-items; one sum from each. */
  public static Recipe fmaPeak(
      String file, SortedMap<String, Integer> macros, long groups, int local, int iterations) {
    Launch launch = new Launch("fma_peak", List.of(groups), List.of(local), Map.of("sums", "y"));
    return Recipe.of(
        file,
        macros,
        List.of(launch),
        Map.of("iterations", iterations, "factor", 1f, "addend", 0f));
  }

  // ---- geometry

  /** The group of the tiled kernels. */
  public static List<Integer> threads(SortedMap<String, Integer> tunables) {
    return List.of(value(tunables, "THREADS_N"), value(tunables, "THREADS_M"), 1);
  }

  private static List<Long> oneEach(long x, long y, long z) {
    return List.of(groups(x, ONE_EACH.get(0)), groups(y, ONE_EACH.get(1)), z);
  }

  /** Blocks that cover a size. */
  public static long groups(long size, int block) {
    return (size + block - 1) / block;
  }

  /** Arguments that are named as the tensors behind them. */
  public static Map<String, String> same(String... names) {
    Map<String, String> tensors = new TreeMap<>();
    for (String name : names) {
      tensors.put(name, name);
    }
    return tensors;
  }

  /**
   * A tunable's value.
   *
   * @throws IllegalStateException when the kernel file declares no such tunable
   */
  public static int value(SortedMap<String, Integer> tunables, String name) {
    Integer value = tunables.get(name);
    if (value == null) {
      throw new IllegalStateException("no tunable " + name + " among " + tunables.keySet());
    }
    return value;
  }
}
