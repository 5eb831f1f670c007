package dev.heddle.reference;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.RotaryEmbedding;
import java.util.EnumSet;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * What a case can have that a device may lack or get wrong: the rows of the conformance matrix. A
 * case's features follow from its data, whoever made it up.
 */
public enum Feature {
  /** Attention in which every query sees every key. */
  UNMASKED("attention, no mask"),
  /** A band without keys after the diagonal and without a limit before it. */
  CAUSAL("causal mask"),
  /** Any other band. */
  WINDOW("window mask"),
  /** Rows that see no key. */
  EMPTY_ROWS("rows that see no key"),
  /** More query heads than key-value heads. */
  GROUPED_HEADS("grouped heads"),
  /** {@code HEAD_DIM != HEAD_DIM_V}. */
  UNEQUAL_HEAD_DIMS("HEAD_DIM != HEAD_DIM_V"),
  /** {@code SEQLEN_Q != SEQLEN_K}. */
  UNEQUAL_LENGTHS("SEQLEN_Q != SEQLEN_K"),
  /** The log-sum-exp is an output, too. */
  LSE("log-sum-exp"),
  /** Sequences with a number of keys of their own. */
  KEY_LENGTHS("key lengths", AttentionOption.KEY_LENGTHS),
  /** A boolean mask. */
  TENSOR_MASK("boolean mask", AttentionOption.MASK),
  /** An additive mask. */
  BIAS("additive mask", AttentionOption.BIAS),
  /** Scores that fall with the distance from the diagonal. */
  ALIBI("ALiBi", AttentionOption.ALIBI),
  /** Scores bounded by a hyperbolic tangent. */
  SOFTCAP("softcap", AttentionOption.SOFTCAP),
  /** A logit per head that takes weight and gives no value. */
  SINKS("attention sinks", AttentionOption.SINKS),
  /** Blocks of scores that are left out. */
  BLOCK_MASK("block-sparse", AttentionOption.BLOCK_MASK),
  /** Dropout with the stated generator. */
  DROPOUT("dropout", AttentionOption.DROPOUT),
  /** The scores of some stage are an output. */
  SCORE_OUTPUT("scores as output", AttentionOption.SCORE_OUTPUT),
  /** A scale of the user's own, or values that break careless arithmetic. */
  DIFFICULT_VALUES("difficult values"),
  /** One of the three kernels of staged attention alone. */
  STAGES("stages alone"),
  /** A linear layer. */
  LINEAR("linear"),
  /** Heads split off or merged. */
  HEADS("heads"),
  /** Keys or values appended to a cache. */
  CACHE("cache append"),
  /** Rotary position embedding. */
  ROTARY("rotary embedding"),
  /** Linear attention whose state only adds and decays. */
  LINEAR_ATTENTION("linear attention"),
  /** Linear attention by a delta rule. */
  DELTA_RULE("linear attention, delta rule"),
  /** Several operations, nothing downloaded between. */
  CHAIN("chain");

  private final String label;
  private final @Nullable AttentionOption option;

  Feature(String label) {
    this(label, null);
  }

  Feature(String label, @Nullable AttentionOption option) {
    this.label = label;
    this.option = option;
  }

  /** Name for people. */
  public String label() {
    return label;
  }

  /** The features of a case. */
  static Set<Feature> of(ConformanceCase testCase) {
    if (testCase.chain().steps().size() > 1) {
      return EnumSet.of(CHAIN);
    }
    return switch (testCase.focus()) {
      case AttentionProblem problem -> ofAttention(problem, testCase.inputs());
      case AttentionStage stage -> {
        Set<Feature> features = ofOptions(stage.attention());
        features.add(STAGES);
        yield features;
      }
      case LinearProblem linear -> EnumSet.of(LINEAR);
      case HeadsTranspose heads -> EnumSet.of(HEADS);
      case CacheAppend cache -> EnumSet.of(CACHE);
      case RotaryEmbedding rotary -> EnumSet.of(ROTARY);
      case LinearAttention attention ->
          EnumSet.of(attention.rule().isDelta() ? DELTA_RULE : LINEAR_ATTENTION);
    };
  }

  /** What the difficult values are values of; the options' own tensors are always made up. */
  private static final Set<String> OPERANDS = Set.of("q", "k", "v");

  private static Set<Feature> ofOptions(AttentionProblem problem) {
    Set<AttentionOption> kinds = problem.options().kinds();
    Set<Feature> features = EnumSet.noneOf(Feature.class);
    for (Feature feature : values()) {
      if (feature.option != null && kinds.contains(feature.option)) {
        features.add(feature);
      }
    }
    return features;
  }

  private static Set<Feature> ofAttention(AttentionProblem problem, CaseInputs inputs) {
    AttentionShape shape = problem.shape();
    BandMask mask = problem.mask();
    Set<Feature> features = ofOptions(problem);
    boolean causal = mask.left() == BandMask.UNBOUNDED && mask.right() == 0;
    features.add(mask.isNone() ? UNMASKED : causal ? CAUSAL : WINDOW);
    if (IntStream.range(0, shape.seqlenQ()).anyMatch(i -> mask.visibleKeys(i, shape) == 0)) {
      features.add(EMPTY_ROWS);
    }
    if (shape.groupSize() > 1) {
      features.add(GROUPED_HEADS);
    }
    if (shape.headDim() != shape.headDimV()) {
      features.add(UNEQUAL_HEAD_DIMS);
    }
    if (shape.seqlenQ() != shape.seqlenK()) {
      features.add(UNEQUAL_LENGTHS);
    }
    if (problem.lse()) {
      features.add(LSE);
    }
    if (inputs.changes().stream().anyMatch(change -> OPERANDS.contains(change.tensor()))
        || problem.softmaxScale() != AttentionProblem.defaultScale(shape.headDim())) {
      features.add(DIFFICULT_VALUES);
    }
    return features;
  }
}
