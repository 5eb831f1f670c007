package dev.heddle.opencl;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.opencl.Recipe.Launch;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/** The rungs that the OpenCL kernels offer for each operation, and the recipe of each. */
final class Ladder {
  /** Work-group of the kernels that compute one number per work-item. */
  private static final List<Integer> ONE_EACH = List.of(16, 4, 1);

  private static final List<Integer> ROW_EACH = List.of(64, 1);
  private static final List<Integer> ALONE = List.of(1, 1, 1);
  private static final Set<String> LSE = Set.of("lse");

  private Ladder() {}

  /** Rungs for an operation on a device, slowest first. */
  static List<String> algorithms(ClDevice device, Operation operation) {
    boolean processor = device.runsProcessorKernels();
    return switch (operation) {
      case AttentionProblem attention ->
          processor
              ? List.of("naive", "staged", "flash", "flash_cpu")
              : List.of("naive", "staged", "flash");
      case AttentionStage stage -> List.of("naive", "staged");
      case LinearProblem linear -> processor ? List.of("tiled", "cpu") : List.of("tiled");
      case HeadsTranspose heads -> List.of("transpose");
    };
  }

  /** The kernel file of a rung. */
  static String file(Operation operation, String algorithm) {
    String family =
        switch (operation) {
          case AttentionProblem attention -> "attention";
          case AttentionStage stage -> "attention";
          case LinearProblem linear -> "linear";
          case HeadsTranspose heads -> "heads";
        };
    return family + "_" + algorithm + ".cl";
  }

  /**
   * What a rung launches.
   *
   * @param tunables a value for every tunable of the rung's file
   */
  static Recipe recipe(Operation operation, String algorithm, SortedMap<String, Integer> tunables) {
    String file = file(operation, algorithm);
    return switch (operation) {
      case AttentionProblem attention ->
          switch (algorithm) {
            case "flash" -> flash(file, attention, tunables);
            case "flash_cpu" -> flashCpu(file, attention, tunables);
            default -> inStages(file, attention, algorithm, tunables);
          };
      case AttentionStage stage -> stage(file, stage, algorithm, tunables);
      case LinearProblem linear -> linear(file, linear, algorithm, tunables);
      case HeadsTranspose heads -> heads(file, heads, tunables);
    };
  }

  // ---- attention

  private static Recipe flash(
      String file, AttentionProblem attention, SortedMap<String, Integer> tunables) {
    AttentionShape shape = attention.shape();
    int blockM = value(tunables, "BLOCK_M");
    int blockN = value(tunables, "BLOCK_N");
    int threadsN = value(tunables, "THREADS_N");
    long vStride = groups(shape.headDimV(), threadsN) * threadsN;
    // The sums that the kernel's header states.
    long localFloats =
        blockM * (shape.headDim() + 1L)
            + Math.max(shape.headDim() * (blockN + 1L), blockN * vStride)
            + blockM * (blockN + 1L)
            + (long) blockM * threadsN;
    long rowsEach = blockM / value(tunables, "THREADS_M");
    long privateFloats = rowsEach * (vStride / threadsN + blockN / threadsN + 5);
    Launch launch =
        new Launch(
            "attention_flash",
            List.of(groups(shape.seqlenQ(), blockM), (long) shape.headsQ(), (long) shape.batch()),
            List.of(threadsN, value(tunables, "THREADS_M"), 1),
            same("q", "k", "v", "out", "lse"));
    return new Recipe(
        file,
        headDims(shape, tunables),
        List.of(launch),
        Map.of(),
        args(attention),
        LSE,
        4 * localFloats,
        4 * privateFloats);
  }

  private static Recipe flashCpu(
      String file, AttentionProblem attention, SortedMap<String, Integer> tunables) {
    AttentionShape shape = attention.shape();
    int blockM = value(tunables, "BLOCK_M");
    // The sum that the kernel's header states.
    long privateFloats =
        blockM * ((long) shape.headDim() + shape.headDimV() + value(tunables, "BLOCK_N"));
    Launch launch =
        new Launch(
            "attention_flash_cpu",
            List.of(groups(shape.seqlenQ(), blockM), (long) shape.headsQ(), (long) shape.batch()),
            ALONE,
            same("q", "k", "v", "out", "lse"));
    return new Recipe(
        file,
        headDims(shape, tunables),
        List.of(launch),
        Map.of(),
        args(attention),
        LSE,
        0,
        4 * privateFloats);
  }

  /** The three stages, with the probabilities written over the scores. */
  private static Recipe inStages(
      String file,
      AttentionProblem attention,
      String algorithm,
      SortedMap<String, Integer> tunables) {
    List<Launch> launches =
        List.of(
            launch(AttentionStage.Stage.SCORES, attention, algorithm, tunables, "scores"),
            launch(AttentionStage.Stage.SOFTMAX, attention, algorithm, tunables, "scores"),
            launch(AttentionStage.Stage.VALUES, attention, algorithm, tunables, "scores"));
    return new Recipe(
        file,
        headDims(attention.shape(), tunables),
        launches,
        Map.of("scores", attention.shape().scores()),
        args(attention),
        LSE,
        stageLocalBytes(algorithm, tunables),
        stagePrivateBytes(algorithm, tunables));
  }

  private static Recipe stage(
      String file, AttentionStage stage, String algorithm, SortedMap<String, Integer> tunables) {
    AttentionProblem attention = stage.attention();
    return new Recipe(
        file,
        headDims(attention.shape(), tunables),
        List.of(launch(stage.stage(), attention, algorithm, tunables, "probabilities")),
        Map.of(),
        args(attention),
        LSE,
        stageLocalBytes(algorithm, tunables),
        stagePrivateBytes(algorithm, tunables));
  }

  private static Launch launch(
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
            List.of(value(tunables, "THREADS_N"), value(tunables, "THREADS_M"), 1),
            tensors);
  }

  private static long stageLocalBytes(String algorithm, SortedMap<String, Integer> tunables) {
    return algorithm.equals("naive")
        ? 0
        : Math.max(productLocalBytes(tunables), 4L * value(tunables, "SOFTMAX_THREADS"));
  }

  private static long stagePrivateBytes(String algorithm, SortedMap<String, Integer> tunables) {
    return algorithm.equals("naive") ? 0 : productPrivateBytes(tunables);
  }

  private static SortedMap<String, Integer> headDims(
      AttentionShape shape, SortedMap<String, Integer> tunables) {
    SortedMap<String, Integer> macros = new TreeMap<>(tunables);
    macros.put("HEAD_DIM", shape.headDim());
    macros.put("HEAD_DIM_V", shape.headDimV());
    return macros;
  }

  private static Map<String, Number> args(AttentionProblem attention) {
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

  private static Recipe linear(
      String file, LinearProblem linear, String algorithm, SortedMap<String, Integer> tunables) {
    boolean tiled = algorithm.equals("tiled");
    Launch launch =
        new Launch(
            "linear_" + algorithm,
            List.of(
                groups(linear.outFeatures(), value(tunables, "BLOCK_N")),
                groups(linear.rows(), value(tunables, "BLOCK_M")),
                1L),
            tiled ? List.of(value(tunables, "THREADS_N"), value(tunables, "THREADS_M"), 1) : ALONE,
            same("x", "weight", "bias", "y"));
    return new Recipe(
        file,
        tunables,
        List.of(launch),
        Map.of(),
        Map.of(
            "rows", linear.rows(),
            "in_features", linear.inFeatures(),
            "out_features", linear.outFeatures()),
        Set.of("bias"),
        tiled ? productLocalBytes(tunables) : 0,
        tiled ? productPrivateBytes(tunables) : panelPrivateBytes(tunables));
  }

  // ---- heads

  private static Recipe heads(
      String file, HeadsTranspose heads, SortedMap<String, Integer> tunables) {
    long rows = (long) heads.outer() * heads.inner();
    Launch launch =
        new Launch(
            "heads_transpose",
            oneEach(heads.width(), rows, heads.batch()),
            ONE_EACH,
            same("x", "y"));
    return new Recipe(
        file,
        tunables,
        List.of(launch),
        Map.of(),
        Map.of(
            "batch", heads.batch(),
            "outer", heads.outer(),
            "inner", heads.inner(),
            "width", heads.width()),
        Set.of(),
        0,
        0);
  }

  // ---- geometry

  /** Local memory of a pair of tiles, as the tiled kernels' headers state it. */
  private static long productLocalBytes(SortedMap<String, Integer> tunables) {
    long blockK = value(tunables, "BLOCK_K");
    return 4
        * (value(tunables, "BLOCK_M") * (blockK + 1) + blockK * (value(tunables, "BLOCK_N") + 1L));
  }

  /** Private memory of a work-item's share of a product, as the tiled kernels' headers state it. */
  private static long productPrivateBytes(SortedMap<String, Integer> tunables) {
    long rowsEach = value(tunables, "BLOCK_M") / value(tunables, "THREADS_M");
    long columnsEach = value(tunables, "BLOCK_N") / value(tunables, "THREADS_N");
    return 4 * rowsEach * (columnsEach + 2);
  }

  /** Private memory of a panel and the rows that it is multiplied into, as linear_cpu states it. */
  private static long panelPrivateBytes(SortedMap<String, Integer> tunables) {
    return 4L
        * value(tunables, "BLOCK_N")
        * (value(tunables, "BLOCK_K") + value(tunables, "BLOCK_M"));
  }

  private static List<Long> oneEach(long x, long y, long z) {
    return List.of(groups(x, ONE_EACH.get(0)), groups(y, ONE_EACH.get(1)), z);
  }

  private static long groups(long size, int block) {
    return (size + block - 1) / block;
  }

  private static Map<String, String> same(String... names) {
    Map<String, String> tensors = new TreeMap<>();
    for (String name : names) {
      tensors.put(name, name);
    }
    return tensors;
  }

  private static int value(SortedMap<String, Integer> tunables, String name) {
    Integer value = tunables.get(name);
    if (value == null) {
      throw new IllegalStateException("no tunable " + name + " among " + tunables.keySet());
    }
    return value;
  }
}
