package dev.heddle.core;

import java.util.ArrayList;
import java.util.List;

/**
 * One of the three stages that attention falls into when its scores are kept in memory, as an
 * operation of its own.
 *
 * @param stage which stage
 * @param attention the problem it is a stage of
 */
public record AttentionStage(Stage stage, AttentionProblem attention) implements Operation {

  /** The three stages, in order. */
  public enum Stage {
    /** {@code scores = Q K^T}, raw: neither scaled nor masked. */
    SCORES,
    /**
     * {@code probabilities = softmax(softmaxScale * scores + mask)} by rows, with all that the
     * options do, dropout included, and lse; hidden keys get 0.
     */
    SOFTMAX,
    /** {@code out = probabilities V}, summed over the visible keys. */
    VALUES
  }

  @Override
  public String name() {
    return switch (stage) {
      case SCORES -> "attention_scores";
      case SOFTMAX -> "attention_softmax";
      case VALUES -> "attention_values";
    };
  }

  @Override
  public List<TensorSpec> inputs() {
    List<TensorSpec> specs = new ArrayList<>();
    switch (stage) {
      case SCORES -> specs.addAll(attention.inputs().subList(0, 2));
      case SOFTMAX -> {
        specs.add(matrix("scores"));
        specs.addAll(attention.options().tensors(attention.shape()));
      }
      case VALUES -> {
        specs.add(matrix("probabilities"));
        specs.add(attention.inputs().get(2));
        specs.addAll(attention.options().hidingTensors(attention.shape()));
      }
    }
    return List.copyOf(specs);
  }

  @Override
  public List<TensorSpec> outputs() {
    return switch (stage) {
      case SCORES -> List.of(matrix("scores"));
      case SOFTMAX -> {
        List<TensorSpec> specs = new ArrayList<>(List.of(matrix("probabilities")));
        specs.addAll(attention.softmaxOutputs());
        yield List.copyOf(specs);
      }
      case VALUES -> attention.outputs().subList(0, 1);
    };
  }

  @Override
  public void requireValues(String name, HostTensor values) {
    attention.requireValues(name, values);
  }

  @Override
  public DType dtype() {
    return attention.dtype();
  }

  @Override
  public AttentionStage withDtype(DType other) {
    return new AttentionStage(stage, attention.withDtype(other));
  }

  /**
   * Two per product: every pair counts in {@code SCORES}, which knows no mask, the visible ones in
   * {@code VALUES}, none in {@code SOFTMAX}.
   */
  @Override
  public double flops() {
    AttentionShape shape = attention.shape();
    double rows = 2.0 * shape.batch() * shape.headsQ();
    return switch (stage) {
      case SCORES -> rows * shape.headDim() * shape.seqlenQ() * shape.seqlenK();
      case SOFTMAX -> 0;
      case VALUES -> rows * shape.headDimV() * attention.mask().visiblePairs(shape);
    };
  }

  /**
   * Scores and probabilities are fp32 whatever the operands' type, so that staging loses nothing.
   */
  private TensorSpec matrix(String name) {
    return new TensorSpec(name, attention.shape().scores(), DType.FP32);
  }
}
