package dev.heddle.model;

import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Shape;
import dev.heddle.core.TensorSpec;
import java.util.List;
import java.util.Map;

/**
 * The parameters of a linear layer {@code y = x weight + bias}.
 *
 * @param weight {@code [IN_FEATURES, OUT_FEATURES]}
 * @param bias {@code [OUT_FEATURES]}
 */
public record Projection(HostTensor weight, HostTensor bias) {

  /**
   * Checks the shapes.
   *
   * @throws IllegalArgumentException when the weight is no matrix or the bias does not fit it
   */
  public Projection {
    if (weight.shape().rank() != 2
        || !bias.shape().equals(Shape.of(weight.shape().rowLength()))
        || weight.dtype() != DType.FP32
        || bias.dtype() != DType.FP32) {
      throw new IllegalArgumentException(
          "a projection needs an fp32 weight [in, out] and bias [out], not "
              + (weight.dtype().label() + " " + weight.shape() + " and ")
              + (bias.dtype().label() + " " + bias.shape()));
    }
  }

  /** This layer applied to that many rows. */
  public LinearProblem problem(int rows) {
    return new LinearProblem(rows, weight.shape().dim(0), weight.shape().dim(1), true, DType.FP32);
  }

  /** What a chain needs as inputs: the weight and the bias, named after {@code role}. */
  List<TensorSpec> specs(String role) {
    return List.of(
        new TensorSpec(weightName(role), weight.shape(), weight.dtype()),
        new TensorSpec(biasName(role), bias.shape(), bias.dtype()));
  }

  /** The tensors behind {@link #specs}. */
  Map<String, HostTensor> tensors(String role) {
    return Map.of(weightName(role), weight, biasName(role), bias);
  }

  /** The step of a chain that applies this layer to {@code x} and writes {@code y}. */
  Chain.Step step(String role, int rows, String x, String y) {
    return new Chain.Step(
        problem(rows),
        Map.of("x", x, "weight", weightName(role), "bias", biasName(role)),
        Map.of("y", y));
  }

  private static String weightName(String role) {
    return role + ".weight";
  }

  private static String biasName(String role) {
    return role + ".bias";
  }
}
