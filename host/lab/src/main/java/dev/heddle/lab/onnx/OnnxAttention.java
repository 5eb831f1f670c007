package dev.heddle.lab.onnx;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionOptions.ScoreStage;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;

/**
 * ONNX's Attention. Scores and softmax are computed in fp32 whatever {@code softmax_precision}
 * says: that is more than fp16 and bf16 ask for, and against double it is within what ONNX's tests
 * allow. Where the values are of another type than queries and keys, all are widened to fp32, which
 * changes none of them.
 *
 * <p>Source: ONNX, docs/Changelog.md, Attention-23, Attention-24 and Attention-25.
 *
 * @param since version that defined the operator
 * @param causal whether a query sees no key after its own position
 * @param headsQ heads of packed queries
 * @param headsKv heads of packed keys and values
 * @param scale factor on the scores; empty for the default
 * @param softcap bound of the scores' magnitude; 0 for none
 * @param stage the stage at which scores are an output
 * @param left keys visible before a query's position; unbounded where empty
 * @param right keys visible after it; unbounded where empty
 */
record OnnxAttention(
    int since,
    boolean causal,
    Optional<Integer> headsQ,
    Optional<Integer> headsKv,
    Optional<Float> scale,
    float softcap,
    ScoreStage stage,
    OptionalInt left,
    OptionalInt right)
    implements OnnxOperator {
  /** Version that added {@code nonpad_kv_seqlen}, and masks shorter than the keys. */
  private static final int WITH_LENGTHS = 24;

  /** Version that added windows. */
  private static final int WITH_WINDOWS = 25;

  /** ONNX's numbers of float, float16, double and bfloat16. */
  private static final Set<Integer> PRECISIONS = Set.of(1, 10, 11, 16);

  /**
   * Reads a node's attributes.
   *
   * @throws dev.heddle.lab.files.TensorFileException naming one that is wrong
   */
  static OnnxAttention of(OnnxModel model) {
    int since = OnnxOperator.since(model, 23, WITH_LENGTHS, WITH_WINDOWS);
    OnnxAttributes attributes = model.attributes(since);
    List<String> known =
        new ArrayList<>(
            List.of(
                "is_causal",
                "kv_num_heads",
                "q_num_heads",
                "qk_matmul_output_mode",
                "scale",
                "softcap",
                "softmax_precision"));
    if (since >= WITH_WINDOWS) {
      known.addAll(List.of("left_window_size", "right_window_size"));
    }
    attributes.requireAmong(Set.copyOf(known));
    attributes
        .integer("softmax_precision", 0, Integer.MAX_VALUE)
        .filter(precision -> !PRECISIONS.contains(precision))
        .ifPresent(precision -> {
          throw attributes.failure("softmax_precision", precision + "; it must be 1, 10, 11 or 16");
        });
    Optional<Float> scale = attributes.number("scale");
    scale
        .filter(factor -> factor < 0)
        .ifPresent(factor -> {
          throw attributes.failure(
              "scale",
              factor + "; Q and K are each multiplied by its root, so it must be at least 0");
        });
    return new OnnxAttention(
        since,
        attributes.flag("is_causal"),
        attributes.integer("q_num_heads", 1, Integer.MAX_VALUE),
        attributes.integer("kv_num_heads", 1, Integer.MAX_VALUE),
        scale,
        // Only a positive one is applied.
        Math.max(0, attributes.number("softcap").orElse(0f)),
        ScoreStage.values()[attributes.integer("qk_matmul_output_mode", 0, 3).orElse(0)],
        window(attributes, "left_window_size"),
        window(attributes, "right_window_size"));
  }

  private static OptionalInt window(OnnxAttributes attributes, String name) {
    int size = attributes.integer(name, -1, Integer.MAX_VALUE).orElse(-1);
    return size < 0 ? OptionalInt.empty() : OptionalInt.of(size);
  }

  @Override
  public String title() {
    return "Attention-" + since;
  }

  @Override
  public List<String> inputs() {
    List<String> names =
        new ArrayList<>(List.of("Q", "K", "V", "attn_mask", "past_key", "past_value"));
    if (since >= WITH_LENGTHS) {
      names.add("nonpad_kv_seqlen");
    }
    return names;
  }

  @Override
  public List<String> outputs() {
    return List.of("Y", "present_key", "present_value", "qk_matmul_output");
  }

  @Override
  public OnnxTask task(OnnxOperands operands, Map<String, Optional<ElementType>> wanted) {
    return new Mapping(operands).task(wanted.keySet());
  }

  /** One node with its operands on the way to a chain. */
  private final class Mapping {
    private final OnnxOperands operands;
    private final OnnxSequence q;
    private final OnnxSequence k;
    private final OnnxSequence v;
    private final Optional<OnnxTensor> pastKey;
    private final Optional<OnnxTensor> pastValue;
    private final Optional<OnnxTensor> lengths;
    private final int past;
    private final AttentionShape shape;
    private final DType dtype;
    private final OnnxTask.Builder chain = new OnnxTask.Builder(title());

    Mapping(OnnxOperands operands) {
      this.operands = operands;
      q = OnnxSequence.of(operands, "Q", headsQ, "q_num_heads");
      k = OnnxSequence.of(operands, "K", headsKv, "kv_num_heads");
      v = OnnxSequence.of(operands, "V", headsKv, "kv_num_heads");
      operands.requireSameType(q.tensor(), k.tensor());
      if (q.packed() != k.packed() || q.packed() != v.packed()) {
        throw operands.failure(
            "needs as many dimensions for each of "
                + q.tensor()
                + ", "
                + k.tensor()
                + " and "
                + v.tensor());
      }
      if (q.batch() != k.batch()
          || q.width() != k.width()
          || !k.headed().subList(0, 3).equals(v.headed().subList(0, 3))) {
        throw operands.failure(
            "needs batch and head size of Q and K, and batch, heads and length of K and V to agree: "
                + q.tensor()
                + ", "
                + k.tensor()
                + ", "
                + v.tensor());
      }
      if (q.heads() % k.heads() != 0) {
        throw operands.failure(
            "has "
                + q.heads()
                + " query heads, no multiple of the "
                + k.heads()
                + " key-value heads");
      }
      pastKey = past("past_key", k);
      pastValue = past("past_value", v);
      if (pastKey.isPresent() != pastValue.isPresent()) {
        throw operands.failure("needs past_key and past_value together or neither");
      }
      past = pastKey.map(tensor -> tensor.dim(2)).orElse(0);
      if (past != pastValue.map(tensor -> tensor.dim(2)).orElse(0)) {
        throw operands.failure(
            "needs pasts of one length: " + pastKey.get() + ", " + pastValue.get());
      }
      shape =
          new AttentionShape(
              q.batch(),
              q.heads(),
              k.heads(),
              q.length(),
              Math.addExact(past, k.length()),
              q.width(),
              v.width());
      dtype = OnnxOperands.common(q.dtype(), v.dtype());
      lengths = operands.find("nonpad_kv_seqlen");
      lengths.ifPresent(this::requireLengths);
    }

    private Optional<OnnxTensor> past(String name, OnnxSequence added) {
      Optional<OnnxTensor> found = operands.find(name);
      found.ifPresent(tensor -> {
        operands.requireSameType(tensor, added.tensor());
        int length = tensor.rank() == 4 ? tensor.dim(2) : 0;
        operands.requireShape(
            tensor,
            List.of(added.batch(), added.heads(), length, added.width()),
            name + " [batch, heads, past, width]");
      });
      return found;
    }

    private void requireLengths(OnnxTensor tensor) {
      if (pastKey.isPresent()) {
        throw operands.failure("can't have both past_key and nonpad_kv_seqlen");
      }
      tensor.requireType(ElementType.INT64);
      operands.requireShape(tensor, List.of(shape.batch()), "nonpad_kv_seqlen [batch]");
    }

    OnnxTask task(Set<String> wanted) {
      Map<String, String> reads = new HashMap<>();
      reads.put("q", chain.heads(q, dtype));
      reads.put("k", extended(k, pastKey, "present_key"));
      reads.put("v", extended(v, pastValue, "present_value"));
      Visibility visibility = visibility();
      AttentionOptions options =
          AttentionOptions.NONE.withSoftcap(softcap).withKeyLengths(lengths.isPresent());
      if (lengths.isPresent()) {
        OnnxTensor given = lengths.get();
        int[] counts = new int[given.count()];
        Arrays.setAll(counts, b -> given.integer(b, 0, shape.seqlenK(), "the number of keys"));
        reads.put("key_lengths", chain.input("key_lengths", HostTensor.of(given.shape(), counts)));
      }
      if (visibility.mask.isPresent()) {
        HostTensor mask = visibility.mask.get();
        options = options.withMask(layout(mask));
        reads.put("mask", chain.input("mask", mask));
      }
      if (visibility.bias.isPresent()) {
        HostTensor bias = visibility.bias.get();
        options = options.withBias(layout(bias));
        reads.put("bias", chain.input("bias", bias));
      }
      Map<String, String> writes = new HashMap<>(Map.of("out", "out"));
      if (wanted.contains("qk_matmul_output")) {
        options = options.withScoreOutput(stage);
        writes.put("score_output", "score_output");
        chain.output("qk_matmul_output", "score_output", shape.scores(), q.dtype());
      }
      AttentionProblem problem =
          new AttentionProblem(
              shape,
              dtype,
              scale.orElse(AttentionProblem.defaultScale(shape.headDim())),
              visibility.band,
              options,
              false);
      chain.step(problem, reads, writes);
      if (wanted.contains("Y")) {
        chain.output(
            "Y",
            chain.merged("out", q, shape.headsQ(), shape.headDimV(), dtype),
            OnnxSequence.shape(
                q.packed(), shape.batch(), shape.headsQ(), shape.seqlenQ(), shape.headDimV()),
            q.dtype());
      }
      if (wanted.contains("present_key")) {
        chain.output("present_key", reads.get("k"), shape.k(), k.dtype());
      }
      if (wanted.contains("present_value")) {
        chain.output("present_value", reads.get("v"), shape.v(), v.dtype());
      }
      return chain.build(problem);
    }

    /** The chain's name of keys or values as {@code [B, H, S, D]}, the past before them. */
    private String extended(OnnxSequence sequence, Optional<OnnxTensor> before, String present) {
      String added = chain.heads(sequence, dtype);
      if (past == 0) {
        return added;
      }
      OnnxTensor cache = before.orElseThrow();
      CacheAppend append =
          new CacheAppend(
              shape.batch(),
              shape.headsKv(),
              shape.seqlenK(),
              sequence.length(),
              sequence.width(),
              dtype);
      int[] taken = new int[shape.batch()];
      Arrays.fill(taken, past);
      String lengths =
          chain.input(cache.name() + "_lengths", HostTensor.of(Shape.of(taken.length), taken));
      chain.step(
          append,
          Map.of(
              "cache", chain.input(cache.name(), withRoom(cache)), "x", added, "lengths", lengths),
          Map.of("y", present));
      return present;
    }

    /** A past with room for what is appended to it. */
    private HostTensor withRoom(OnnxTensor before) {
      int width = before.dim(3);
      HostTensor cache =
          HostTensor.zeros(Shape.of(shape.batch(), shape.headsKv(), shape.seqlenK(), width), dtype);
      int length = past * width;
      int capacity = shape.seqlenK() * width;
      for (int i = 0; i < before.count(); i++) {
        cache.set(i / length * capacity + i % length, before.number(i));
      }
      return cache;
    }

    /** What hides keys beside their number. */
    private record Visibility(
        BandMask band, Optional<HostTensor> mask, Optional<HostTensor> bias) {}

    private Visibility visibility() {
      Optional<HostTensor> mask = Optional.empty();
      Optional<HostTensor> bias = Optional.empty();
      Optional<OnnxTensor> given = operands.find("attn_mask");
      if (given.isPresent()) {
        OnnxTensor tensor = given.get();
        if (tensor.type() == ElementType.BOOL) {
          mask = Optional.of(broadcast(tensor, DType.BOOL, 0));
        } else {
          bias = Optional.of(broadcast(floating(tensor), DType.FP32, Float.NEGATIVE_INFINITY));
        }
      }
      BandMask band = band();
      if (past > 0 && k.length() != q.length() && !band.isNone()) {
        // Neither corner: query 0 is aligned with the first key that is new.
        HostTensor positions = positions(band);
        mask = Optional.of(mask.map(other -> and(other, positions)).orElse(positions));
        band = BandMask.NONE;
      }
      return new Visibility(band, mask, bias);
    }

    private OnnxTensor floating(OnnxTensor tensor) {
      if (tensor.type() == ElementType.DOUBLE || tensor.type().operand().isPresent()) {
        return operands.operand(tensor);
      }
      throw tensor.failure("is " + tensor.type().label() + "; a mask is boolean or of Q's type");
    }

    /** Causality and window as one band. */
    private BandMask band() {
      int after = right.orElse(BandMask.UNBOUNDED);
      return new BandMask(
          left.orElse(BandMask.UNBOUNDED),
          causal ? 0 : after,
          past > 0 || lengths.isPresent()
              ? BandMask.Alignment.BOTTOM_RIGHT
              : BandMask.Alignment.TOP_LEFT);
    }

    /** The band as a mask, query 0 aligned with the key behind the past. */
    private HostTensor positions(BandMask band) {
      BandMask corner = new BandMask(band.left(), band.right(), BandMask.Alignment.TOP_LEFT);
      HostTensor mask =
          HostTensor.zeros(Shape.of(1, 1, shape.seqlenQ(), shape.seqlenK()), DType.BOOL);
      for (int i = 0; i < shape.seqlenQ(); i++) {
        // A query that is as many rows further down sees the same keys from the corner.
        int end = corner.endKey(past + i, shape);
        for (int j = corner.firstKey(past + i, shape); j < end; j++) {
          mask.set(i * shape.seqlenK() + j, 1);
        }
      }
      return mask;
    }

    /** As NumPy broadcasts, to {@code [B|1, H_Q|1, SEQLEN_Q|1, SEQLEN_K]}. */
    private HostTensor broadcast(OnnxTensor mask, DType type, float padding) {
      List<Integer> full = shape.scores().dims();
      int missing = full.size() - mask.rank();
      boolean fits = mask.rank() >= 1 && missing >= 0;
      int[] dims = {1, 1, 1, shape.seqlenK()};
      for (int axis = Math.max(0, missing); fits && axis < full.size() - 1; axis++) {
        dims[axis] = mask.dim(axis - missing);
        fits = dims[axis] == 1 || dims[axis] == full.get(axis);
      }
      int width = fits ? mask.dims().getLast() : 0;
      boolean padded = since >= WITH_LENGTHS && width < shape.seqlenK();
      if (!fits || width < 1 || !(width == shape.seqlenK() || padded || width == 1)) {
        throw operands.failure("can't broadcast " + mask + " to " + full);
      }
      HostTensor spread = HostTensor.zeros(Shape.of(dims), type);
      for (int i = 0; i < spread.size(); i++) {
        int row = i / shape.seqlenK();
        int key = i % shape.seqlenK();
        spread.set(
            i,
            padded
                ? key < width ? mask.number(row * width + key) : padding
                : mask.number(row * width + (width == 1 ? 0 : key)));
      }
      return spread;
    }

    /** What both masks let through. */
    private HostTensor and(HostTensor mask, HostTensor positions) {
      Shape wide =
          Shape.of(mask.shape().dim(0), mask.shape().dim(1), shape.seqlenQ(), shape.seqlenK());
      HostTensor both = HostTensor.zeros(wide, DType.BOOL);
      int matrix = positions.size();
      int rows = mask.shape().dim(2) * shape.seqlenK();
      for (int i = 0; i < both.size(); i++) {
        int within = i % matrix;
        float one = mask.get(i / matrix * rows + within % rows);
        both.set(i, one * positions.get(within));
      }
      return both;
    }

    private Broadcast layout(HostTensor mask) {
      Shape dims = mask.shape();
      return new Broadcast(dims.dim(0) > 1, dims.dim(1) > 1, dims.dim(2) > 1);
    }
  }
}
