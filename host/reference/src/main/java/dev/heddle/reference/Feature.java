package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearProblem;
import java.util.EnumSet;
import java.util.Set;
import java.util.stream.IntStream;

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
  /** A scale of the user's own, or values that break careless arithmetic. */
  DIFFICULT_VALUES("difficult values"),
  /** One of the three kernels of staged attention alone. */
  STAGES("stages alone"),
  /** A linear layer. */
  LINEAR("linear"),
  /** Heads split off or merged. */
  HEADS("heads"),
  /** Several operations, nothing downloaded between. */
  CHAIN("chain");

  private final String label;

  Feature(String label) {
    this.label = label;
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
      case AttentionStage stage -> EnumSet.of(STAGES);
      case LinearProblem linear -> EnumSet.of(LINEAR);
      case HeadsTranspose heads -> EnumSet.of(HEADS);
    };
  }

  private static Set<Feature> ofAttention(AttentionProblem problem, CaseInputs inputs) {
    AttentionShape shape = problem.shape();
    BandMask mask = problem.mask();
    Set<Feature> features = EnumSet.noneOf(Feature.class);
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
    if (!inputs.changes().isEmpty()
        || problem.softmaxScale() != AttentionProblem.defaultScale(shape.headDim())) {
      features.add(DIFFICULT_VALUES);
    }
    return features;
  }
}
