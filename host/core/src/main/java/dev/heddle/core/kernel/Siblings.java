package dev.heddle.core.kernel;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Blocks;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.kernel.Recipe.Launch;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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
          case CacheAppend cache -> "cache";
          case RotaryEmbedding rotary -> "rotary";
          case LinearAttention linear -> "linear_attention";
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
      case CacheAppend cache -> new TreeMap<>();
      case RotaryEmbedding rotary -> new TreeMap<>();
      case LinearAttention linear ->
          new TreeMap<>(
              Map.of(
                  "HEAD_DIM", linear.shape().headDim(), "NORMALISED", linear.normalised() ? 1 : 0));
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

  /**
   * The recipe of a kernel that knows attention's options: its launches take the options' tensors
   * and struct, and the macro {@code OPTIONS} says whether there are any.
   */
  public static Recipe withOptions(Recipe recipe, Operation operation) {
    AttentionProblem attention =
        switch (operation) {
          case AttentionProblem problem -> problem;
          case AttentionStage stage -> stage.attention();
          default -> throw new IllegalArgumentException(operation.name() + " has no options");
        };
    List<Launch> launches = new ArrayList<>();
    for (Launch launch : recipe.launches()) {
      Map<String, String> tensors = new TreeMap<>(launch.tensors());
      boolean attends = tensors.containsKey("v");
      boolean softmax = tensors.containsKey("scores") && !tensors.containsKey("q");
      if (attends || softmax) {
        tensors.putAll(same("key_lengths", "mask", "bias", "block_mask"));
      }
      if (softmax || (attends && tensors.containsKey("q"))) {
        tensors.putAll(same("alibi_slopes", "sinks"));
      }
      if (softmax) {
        tensors.putAll(same("score_output"));
      }
      launches.add(launch.withTensors(tensors));
    }
    return withOptionArgs(recipe.withLaunches(launches), attention)
        .withOptional(
            "lse",
            "key_lengths",
            "mask",
            "bias",
            "block_mask",
            "alibi_slopes",
            "sinks",
            "score_output");
  }

  /**
   * The recipe of kernels that know no option but key lengths, which each of its launches takes.
   */
  public static Recipe withKeyLengths(Recipe recipe, AttentionProblem attention) {
    List<Launch> launches = new ArrayList<>();
    for (Launch launch : recipe.launches()) {
      Map<String, String> tensors = new TreeMap<>(launch.tensors());
      tensors.putAll(same("key_lengths"));
      launches.add(launch.withTensors(tensors));
    }
    return withOptionArgs(recipe.withLaunches(launches), attention)
        .withOptional("lse", "key_lengths");
  }

  private static Recipe withOptionArgs(Recipe recipe, AttentionProblem attention) {
    Map<String, Number> values = new TreeMap<>(recipe.args());
    values.putAll(optionArgs(attention));
    return recipe.withArgs(values).withMacro("OPTIONS", attention.options().isNone() ? 0 : 1);
  }

  /** What kernels that know attention's options are told of them at run time. */
  private static Map<String, Number> optionArgs(AttentionProblem attention) {
    AttentionOptions options = attention.options();
    Map<String, Number> values = new TreeMap<>();
    strides("mask", options.mask(), attention.shape(), values);
    strides("bias", options.bias(), attention.shape(), values);
    Blocks blocks = options.blocks().orElse(new Blocks(1, 1, false, false));
    long blockElements =
        (long) Math.ceilDiv(attention.shape().seqlenQ(), blocks.rows())
            * Math.ceilDiv(attention.shape().seqlenK(), blocks.keys());
    values.put(
        "block_stride_b",
        blocks.batch() ? blockElements * (blocks.heads() ? attention.shape().headsQ() : 1) : 0);
    values.put("block_stride_h", blocks.heads() ? blockElements : 0);
    values.put("block_rows", blocks.rows());
    values.put("block_keys", blocks.keys());
    values.put("bottom_right", attention.mask().alignment() == Alignment.BOTTOM_RIGHT ? 1 : 0);
    values.put("score_stage", options.scoreOutput().map(Enum::ordinal).orElse(0));
    values.put("softcap", options.softcap());
    values.put("dropout_scale", options.dropout().keptScale());
    values.put("dropout_threshold", options.dropout().threshold());
    values.put("seed_low", (int) options.dropout().seed());
    values.put("seed_high", (int) (options.dropout().seed() >>> 32));
    return values;
  }

  /** Rows of SEQLEN_K elements from one index to the next along each axis. */
  private static void strides(
      String tensor, Optional<Broadcast> layout, AttentionShape shape, Map<String, Number> values) {
    Broadcast axes = layout.orElse(new Broadcast(false, false, false));
    long rows = axes.rows() ? shape.seqlenQ() : 1;
    long heads = axes.heads() ? shape.headsQ() : 1;
    values.put(tensor + "_stride_b", axes.batch() ? rows * heads : 0);
    values.put(tensor + "_stride_h", axes.heads() ? rows : 0);
    values.put(tensor + "_stride_q", axes.rows() ? 1 : 0);
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

  // ---- cache

  /** The append, {@code THREADS * EACH} elements of a head's cache a group. */
  public static Recipe cacheAppend(
      String file, CacheAppend cache, SortedMap<String, Integer> tunables) {
    int threads = value(tunables, "THREADS");
    long elements = (long) cache.capacity() * cache.width();
    Launch launch =
        new Launch(
            "cache_append",
            List.of(
                groups(elements, threads * value(tunables, "EACH")),
                (long) cache.batch() * cache.heads()),
            List.of(threads, 1),
            same("cache", "x", "lengths", "y"));
    return Recipe.of(
        file,
        macros(cache, tunables),
        List.of(launch),
        Map.of(
            "heads", cache.heads(),
            "capacity", cache.capacity(),
            "added", cache.added(),
            "width", cache.width()));
  }

  // ---- rotary

  /** The rotation, {@code THREADS_M} tokens a group, {@code THREADS_N} work-items a token. */
  public static Recipe rotaryEmbedding(
      String file, RotaryEmbedding rotary, SortedMap<String, Integer> tunables) {
    int threadsN = value(tunables, "THREADS_N");
    int threadsM = value(tunables, "THREADS_M");
    Launch launch =
        new Launch(
            "rotary_embedding",
            List.of(1L, groups(rotary.seqlen(), threadsM), (long) rotary.batch() * rotary.heads()),
            List.of(threadsN, threadsM, 1),
            // Named as no function of the languages is.
            Map.of(
                "x",
                "x",
                "cos_table",
                "cos",
                "sin_table",
                "sin",
                "positions",
                "positions",
                "y",
                "y"));
    return Recipe.of(
        file,
        macros(rotary, tunables),
        List.of(launch),
        Map.of(
            "heads", rotary.heads(),
            "seqlen", rotary.seqlen(),
            "head_dim", rotary.headDim(),
            "rotary_dim", rotary.rotaryDim(),
            "interleaved", rotary.pairing() == RotaryEmbedding.Pairing.INTERLEAVED ? 1 : 0,
            "max_positions", rotary.maxPositions()));
  }

  // ---- linear attention

  /** The recurrence, {@code THREADS * COLUMNS} columns of a head's state a group. */
  public static Recipe linearAttention(
      String file, LinearAttention linear, SortedMap<String, Integer> tunables) {
    AttentionShape shape = linear.shape();
    int threads = value(tunables, "THREADS");
    // In CUDA a thread has one.
    int columns = tunables.getOrDefault("COLUMNS", 1);
    Launch launch =
        new Launch(
            "linear_attention_recurrent",
            List.of(
                groups(shape.headDimV(), threads * columns),
                (long) shape.headsKv(),
                (long) shape.batch()),
            List.of(threads, 1, 1),
            same(
                "q",
                "k",
                "v",
                "initial_state",
                "initial_normaliser",
                "decay",
                "beta",
                "out",
                "state",
                "normaliser"));
    return Recipe.of(
            file,
            macros(linear, tunables),
            List.of(launch),
            Map.of(
                "heads_q", shape.headsQ(),
                "heads_kv", shape.headsKv(),
                "seqlen", shape.seqlenK(),
                "head_dim_v", shape.headDimV(),
                "decay_width", linear.decayWidth(),
                "beta_heads", linear.betaHeads(),
                "elu_plus_one",
                    linear.featureMap() == LinearAttention.FeatureMap.ELU_PLUS_ONE ? 1 : 0,
                "scale", linear.scale()))
        .withOptional("initial_state", "initial_normaliser", "decay", "beta", "normaliser")
        .withMemory(0, 4L * shape.headDim() * (columns + (linear.normalised() ? 1 : 0)));
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

  /** What a language says that has no kernel for an operation, and so refuses it before. */
  public static IllegalArgumentException absent(Operation operation) {
    return new IllegalArgumentException("no kernel computes " + operation.name());
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
