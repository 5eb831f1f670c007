package dev.heddle.core;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What attention does to its scores beyond scale and band. For query {@code i} and key {@code j} of
 * head {@code h} of sequence {@code b}, in this order:
 *
 * <pre>
 * n = key_lengths[b], or SEQLEN_K      offset = 0 (top-left) or n - SEQLEN_Q (bottom-right)
 * s = softmax_scale * q . k                                               raw
 * s = softcap * tanh(s / softcap)                                         softcapped
 * s = s + bias[b, h, i, j] - alibi_slopes[h] * |i + offset - j|           biased
 * hidden where j is outside the band, j >= n, mask[b, h, i, j] = 0, bias[b, h, i, j] = -inf or
 *   block_mask[b, h, i / rows, j / keys] = 0
 * m = max(s, sinks[h])    l = sum exp(s - m) + exp(sinks[h] - m)    lse = m + ln l
 * p = exp(s - m) / l                                                      probabilities
 * out = sum p' v,  p' = p with dropout
 * </pre>
 *
 * <p>What is hidden counts nowhere: its value is not read, be it NaN. A row with no visible key
 * gives {@code out = 0} and {@code lse = sinks[h]}, or {@code -inf} without sinks.
 *
 * <p>Source: the order of softcap, bias and softmax is that of ONNX's Attention operator and of
 * FlashAttention; sinks are those of Xiao et al. 2023 as gpt-oss learns them, one logit per head
 * without a value; ALiBi is Press et al. 2021.
 *
 * @param keyLengths whether each sequence has a number of keys of its own, {@code key_lengths [B]}
 * @param mask how a boolean mask {@code mask} is laid out, 1 for visible; empty without one
 * @param bias how an fp32 bias {@code bias} is laid out; empty without one
 * @param alibi whether scores fall with the distance from the diagonal, by {@code alibi_slopes
 *     [H_Q]}
 * @param softcap bound of the scores' magnitude; 0 for none
 * @param sinks whether each head has a sink, {@code sinks [H_Q]}
 * @param blocks how a block mask {@code block_mask} is laid out; empty without one
 * @param dropout which probabilities are dropped
 * @param scoreOutput the stage at which the scores are an output, {@code score_output [B, H_Q,
 *     SEQLEN_Q, SEQLEN_K]}; empty where they are none
 */
public record AttentionOptions(
    boolean keyLengths,
    Optional<Broadcast> mask,
    Optional<Broadcast> bias,
    boolean alibi,
    float softcap,
    boolean sinks,
    Optional<Blocks> blocks,
    Dropout dropout,
    Optional<ScoreStage> scoreOutput) {

  private static final Pattern MASK = Pattern.compile("mask_(b?h?q?k)");
  private static final Pattern BIAS = Pattern.compile("bias_(b?h?q?k)");
  private static final Pattern BLOCKS =
      Pattern.compile("blocks_([0-9]{1,9})x([0-9]{1,9})(_b)?(_h)?");
  private static final Pattern SOFTCAP = Pattern.compile("softcap_([0-9.E-]+)");
  private static final Pattern DROPOUT = Pattern.compile("dropout_([0-9.E-]+)_(-?[0-9]+)");
  private static final Pattern SCORES = Pattern.compile("scores_([a-z]+)");

  /** None of them. */
  public static final AttentionOptions NONE =
      new AttentionOptions(
          false,
          Optional.empty(),
          Optional.empty(),
          false,
          0,
          false,
          Optional.empty(),
          Dropout.NONE,
          Optional.empty());

  /**
   * Which axes a tensor {@code [B, H_Q, SEQLEN_Q, SEQLEN_K]} has; along the others it has one
   * element for all.
   *
   * @param batch whether sequences differ
   * @param heads whether query heads differ
   * @param rows whether queries differ
   */
  public record Broadcast(boolean batch, boolean heads, boolean rows) {
    /** One matrix {@code [SEQLEN_Q, SEQLEN_K]} for all. */
    public static final Broadcast MATRIX = new Broadcast(false, false, true);

    /** A tensor with every axis. */
    public static final Broadcast FULL = new Broadcast(true, true, true);

    Shape shape(AttentionShape attention) {
      return Shape.of(
          batch ? attention.batch() : 1,
          heads ? attention.headsQ() : 1,
          rows ? attention.seqlenQ() : 1,
          attention.seqlenK());
    }

    private String path() {
      return (batch ? "b" : "") + (heads ? "h" : "") + (rows ? "q" : "") + "k";
    }

    private static Broadcast parse(Matcher part) {
      String path = part.group(1);
      return new Broadcast(path.contains("b"), path.contains("h"), path.contains("q"));
    }
  }

  /**
   * A block mask: visibility by blocks of {@code rows x keys} scores. Blocks that are 0 cost
   * nothing where the algorithm works in tiles.
   *
   * @param rows queries of a block
   * @param keys keys of a block
   * @param batch whether sequences differ
   * @param heads whether query heads differ
   */
  public record Blocks(int rows, int keys, boolean batch, boolean heads) {

    /**
     * Checks the sizes.
     *
     * @throws IllegalArgumentException when a block has no row or no key
     */
    public Blocks {
      if (rows < 1 || keys < 1) {
        throw new IllegalArgumentException(
            "blocks of " + rows + " x " + keys + " scores; both must be at least 1");
      }
    }

    Shape shape(AttentionShape attention) {
      return Shape.of(
          batch ? attention.batch() : 1,
          heads ? attention.headsQ() : 1,
          Math.ceilDiv(attention.seqlenQ(), rows),
          Math.ceilDiv(attention.seqlenK(), keys));
    }
  }

  /**
   * Dropout of probabilities. The generator is stated so that every backend drops the same ones:
   * the probability of key {@code j} for query {@code i} of head {@code h} of sequence {@code b}
   * stays, times {@code 1 / (1 - probability)}, where word {@code j % 4} of
   *
   * <pre>philox4x32_10(counter = {j / 4, i, b * H_Q + h, 0}, key = {seed's low 32 bits, high})
   * </pre>
   *
   * <p>is at least {@link #threshold}, and is 0 otherwise. lse and the score output know nothing of
   * it.
   *
   * <p>Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
   *
   * @param probability of being dropped, at least 0 and below 1
   * @param seed of the generator
   */
  public record Dropout(float probability, long seed) {
    /** Nothing is dropped. */
    public static final Dropout NONE = new Dropout(0, 0);

    /**
     * Checks the probability.
     *
     * @throws IllegalArgumentException when it is not at least 0 and below 1
     */
    public Dropout {
      if (!(probability >= 0 && probability < 1)) {
        throw new IllegalArgumentException(
            "dropout = " + probability + "; it must be at least 0 and below 1");
      }
    }

    /** Whether nothing is dropped. */
    public boolean isNone() {
      return probability == 0;
    }

    /**
     * What the probabilities of one row of scores are multiplied by: {@link #keptScale} or 0 for
     * each key.
     *
     * @param factors for the keys from {@code firstKey} on; filled
     * @param head {@code b * H_Q + h}
     */
    public void factors(float[] factors, int firstKey, int query, int head) {
      int[] words = new int[4];
      int block = -1;
      for (int at = 0; at < factors.length; at++) {
        int key = firstKey + at;
        if (key / 4 != block) {
          block = key / 4;
          Philox.words(block, query, head, 0, seed, words);
        }
        boolean kept = Integer.compareUnsigned(words[key % 4], threshold()) >= 0;
        factors[at] = kept ? keptScale() : 0;
      }
    }

    /** Words below this, as unsigned numbers, drop: {@code round(probability * 2^32)}. */
    public int threshold() {
      return (int) Math.round(probability * 0x1p32);
    }

    /** What the others are multiplied by. */
    public float keptScale() {
      return 1 / (1 - probability);
    }
  }

  /** Stages at which scores can be an output. */
  public enum ScoreStage {
    /** {@code softmax_scale * q . k}, whether hidden or not. */
    RAW,
    /** After the softcap, whether hidden or not. */
    SOFTCAPPED,
    /** After bias and ALiBi; -inf where hidden. */
    BIASED,
    /** After the softmax, before dropout; 0 where hidden. */
    PROBABILITIES;

    /** Name as users write it. */
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /**
   * Checks the softcap.
   *
   * @throws IllegalArgumentException when it is negative or not finite
   */
  public AttentionOptions {
    if (!(softcap >= 0 && softcap < Float.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException(
          "softcap = " + softcap + "; it must be a finite number above 0, or 0 for none");
    }
  }

  /** The kinds of options that there are. */
  public Set<AttentionOption> kinds() {
    Set<AttentionOption> kinds = EnumSet.noneOf(AttentionOption.class);
    Map<AttentionOption, Boolean> used =
        Map.of(
            AttentionOption.KEY_LENGTHS, keyLengths,
            AttentionOption.MASK, mask.isPresent(),
            AttentionOption.BIAS, bias.isPresent(),
            AttentionOption.ALIBI, alibi,
            AttentionOption.SOFTCAP, softcap != 0,
            AttentionOption.SINKS, sinks,
            AttentionOption.BLOCK_MASK, blocks.isPresent(),
            AttentionOption.DROPOUT, !dropout.isNone(),
            AttentionOption.SCORE_OUTPUT, scoreOutput.isPresent());
    used.forEach((kind, present) -> {
      if (present) {
        kinds.add(kind);
      }
    });
    return kinds;
  }

  /** Those of attention or of a stage of it; none of any other operation. */
  public static AttentionOptions of(Operation operation) {
    return switch (operation) {
      case AttentionProblem attention -> attention.options();
      case AttentionStage stage -> stage.attention().options();
      default -> NONE;
    };
  }

  /** Whether there are none. */
  public boolean isNone() {
    return equals(NONE);
  }

  /** The same with or without key lengths. */
  public AttentionOptions withKeyLengths(boolean wanted) {
    return new AttentionOptions(
        wanted, mask, bias, alibi, softcap, sinks, blocks, dropout, scoreOutput);
  }

  /** The same with a boolean mask. */
  public AttentionOptions withMask(Broadcast layout) {
    return new AttentionOptions(
        keyLengths, Optional.of(layout), bias, alibi, softcap, sinks, blocks, dropout, scoreOutput);
  }

  /** The same with a bias. */
  public AttentionOptions withBias(Broadcast layout) {
    return new AttentionOptions(
        keyLengths, mask, Optional.of(layout), alibi, softcap, sinks, blocks, dropout, scoreOutput);
  }

  /** The same with or without ALiBi. */
  public AttentionOptions withAlibi(boolean wanted) {
    return new AttentionOptions(
        keyLengths, mask, bias, wanted, softcap, sinks, blocks, dropout, scoreOutput);
  }

  /** The same with another softcap; 0 for none. */
  public AttentionOptions withSoftcap(float bound) {
    return new AttentionOptions(
        keyLengths, mask, bias, alibi, bound, sinks, blocks, dropout, scoreOutput);
  }

  /** The same with or without sinks. */
  public AttentionOptions withSinks(boolean wanted) {
    return new AttentionOptions(
        keyLengths, mask, bias, alibi, softcap, wanted, blocks, dropout, scoreOutput);
  }

  /** The same with a block mask. */
  public AttentionOptions withBlocks(Blocks layout) {
    return new AttentionOptions(
        keyLengths, mask, bias, alibi, softcap, sinks, Optional.of(layout), dropout, scoreOutput);
  }

  /** The same with dropout. */
  public AttentionOptions withDropout(Dropout other) {
    return new AttentionOptions(
        keyLengths, mask, bias, alibi, softcap, sinks, blocks, other, scoreOutput);
  }

  /** The same with the scores of a stage as an output. */
  public AttentionOptions withScoreOutput(ScoreStage stage) {
    return new AttentionOptions(
        keyLengths, mask, bias, alibi, softcap, sinks, blocks, dropout, Optional.of(stage));
  }

  /** The same without the scores as an output. */
  public AttentionOptions withoutScoreOutput() {
    return new AttentionOptions(
        keyLengths, mask, bias, alibi, softcap, sinks, blocks, dropout, Optional.empty());
  }

  /** The same without the options of one kind. */
  public AttentionOptions without(AttentionOption kind) {
    return new AttentionOptions(
        keyLengths && kind != AttentionOption.KEY_LENGTHS,
        mask.filter(layout -> kind != AttentionOption.MASK),
        bias.filter(layout -> kind != AttentionOption.BIAS),
        alibi && kind != AttentionOption.ALIBI,
        kind == AttentionOption.SOFTCAP ? 0 : softcap,
        sinks && kind != AttentionOption.SINKS,
        blocks.filter(layout -> kind != AttentionOption.BLOCK_MASK),
        kind == AttentionOption.DROPOUT ? Dropout.NONE : dropout,
        scoreOutput.filter(stage -> kind != AttentionOption.SCORE_OUTPUT));
  }

  /** Whether keys may be hidden that the band lets through. */
  public boolean hidesKeys() {
    return keyLengths || mask.isPresent() || bias.isPresent() || blocks.isPresent();
  }

  /** The tensors that hide keys, in the kernels' argument order. */
  List<TensorSpec> hidingTensors(AttentionShape shape) {
    List<TensorSpec> specs = new ArrayList<>();
    if (keyLengths) {
      specs.add(new TensorSpec("key_lengths", Shape.of(shape.batch()), DType.INT32));
    }
    mask.ifPresent(layout -> specs.add(new TensorSpec("mask", layout.shape(shape), DType.BOOL)));
    bias.ifPresent(layout -> specs.add(new TensorSpec("bias", layout.shape(shape), DType.FP32)));
    blocks.ifPresent(
        layout -> specs.add(new TensorSpec("block_mask", layout.shape(shape), DType.BOOL)));
    return specs;
  }

  /** All tensors that the options read, in the kernels' argument order. */
  List<TensorSpec> tensors(AttentionShape shape) {
    List<TensorSpec> specs = hidingTensors(shape);
    Shape perHead = Shape.of(shape.headsQ());
    if (alibi) {
      specs.add(new TensorSpec("alibi_slopes", perHead, DType.FP32));
    }
    if (sinks) {
      specs.add(new TensorSpec("sinks", perHead, DType.FP32));
    }
    return specs;
  }

  /**
   * The options of that text, which is as {@link #toString} writes it.
   *
   * @throws IllegalArgumentException naming the part of it that is no option
   */
  public static AttentionOptions parse(String text) {
    AttentionOptions options = NONE;
    for (String part : text.equals("plain") ? List.<String>of() : List.of(text.split("\\+", -1))) {
      AttentionOptions more;
      try {
        more = options.with(part);
      } catch (NumberFormatException e) {
        throw new IllegalArgumentException("option '" + part + "': no such number", e);
      }
      if (more.kinds().size() == options.kinds().size()) {
        throw new IllegalArgumentException(
            "option '" + part + "' of '" + text + "' adds nothing: its kind is there, or it is 0");
      }
      options = more;
    }
    return options;
  }

  /** The same with one more, as a part of the text names it. */
  private AttentionOptions with(String part) {
    Matcher layout = MASK.matcher(part);
    if (layout.matches()) {
      return withMask(Broadcast.parse(layout));
    }
    layout = BIAS.matcher(part);
    if (layout.matches()) {
      return withBias(Broadcast.parse(layout));
    }
    layout = BLOCKS.matcher(part);
    if (layout.matches()) {
      return withBlocks(
          new Blocks(
              Integer.parseInt(layout.group(1)),
              Integer.parseInt(layout.group(2)),
              layout.group(3) != null,
              layout.group(4) != null));
    }
    Matcher number = SOFTCAP.matcher(part);
    if (number.matches()) {
      return withSoftcap(Float.parseFloat(number.group(1)));
    }
    number = DROPOUT.matcher(part);
    if (number.matches()) {
      return withDropout(
          new Dropout(Float.parseFloat(number.group(1)), Long.parseLong(number.group(2))));
    }
    Matcher scores = SCORES.matcher(part);
    if (scores.matches()) {
      for (ScoreStage stage : ScoreStage.values()) {
        if (stage.label().equals(scores.group(1))) {
          return withScoreOutput(stage);
        }
      }
    }
    return switch (part) {
      case "key_lengths" -> withKeyLengths(true);
      case "alibi" -> withAlibi(true);
      case "sinks" -> withSinks(true);
      default ->
          throw new IllegalArgumentException(
              "'"
                  + part
                  + "' is no option of attention; key_lengths, mask_hqk, bias_bhqk, blocks_16x16_h,"
                  + " alibi, softcap_30.0, sinks, dropout_0.1_42 and scores_biased are");
    };
  }

  /**
   * As {@code key_lengths+mask_hqk+softcap_30.0}; {@code plain} where there are none. {@link
   * #parse} reads it.
   */
  @Override
  public String toString() {
    List<String> parts = new ArrayList<>();
    if (keyLengths) {
      parts.add("key_lengths");
    }
    mask.ifPresent(layout -> parts.add("mask_" + layout.path()));
    bias.ifPresent(layout -> parts.add("bias_" + layout.path()));
    blocks.ifPresent(layout ->
        parts.add(
            "blocks_"
                + layout.rows
                + "x"
                + layout.keys
                + (layout.batch ? "_b" : "")
                + (layout.heads ? "_h" : "")));
    if (alibi) {
      parts.add("alibi");
    }
    if (softcap != 0) {
      parts.add("softcap_" + softcap);
    }
    if (sinks) {
      parts.add("sinks");
    }
    if (!dropout.isNone()) {
      parts.add("dropout_" + dropout.probability + "_" + dropout.seed);
    }
    scoreOutput.ifPresent(stage -> parts.add("scores_" + stage.label()));
    return parts.isEmpty() ? "plain" : String.join("+", parts);
  }
}
