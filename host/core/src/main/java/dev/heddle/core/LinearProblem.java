package dev.heddle.core;

import java.util.ArrayList;
import java.util.List;

/**
 * A linear layer: {@code y = x weight + bias}.
 *
 * <p>Reads {@code x [ROWS, IN_FEATURES]}, {@code weight [IN_FEATURES, OUT_FEATURES]} and, where
 * there is one, {@code bias [OUT_FEATURES]}; writes {@code y [ROWS, OUT_FEATURES]}.
 *
 * @param rows rows of x
 * @param inFeatures columns of x
 * @param outFeatures columns of y
 * @param bias whether a bias is added
 * @param dtype storage type of all four
 */
public record LinearProblem(int rows, int inFeatures, int outFeatures, boolean bias, DType dtype)
    implements Operation {

  /**
   * Checks sizes and type.
   *
   * @throws IllegalArgumentException when the type is not a floating-point one, or naming the size
   *     that is below 1
   */
  public LinearProblem {
    DType.requireFloating(dtype);
    for (TensorSpec spec : specs(rows, inFeatures, outFeatures, dtype)) {
      spec.bytes();
    }
  }

  @Override
  public String name() {
    return "linear";
  }

  @Override
  public List<TensorSpec> inputs() {
    List<TensorSpec> all = specs(rows, inFeatures, outFeatures, dtype);
    return all.subList(0, bias ? 3 : 2);
  }

  @Override
  public List<TensorSpec> outputs() {
    return specs(rows, inFeatures, outFeatures, dtype).subList(3, 4);
  }

  @Override
  public LinearProblem withDtype(DType other) {
    return new LinearProblem(rows, inFeatures, outFeatures, bias, other);
  }

  /** {@code 2 ROWS IN_FEATURES OUT_FEATURES}. */
  @Override
  public double flops() {
    return 2.0 * rows * inFeatures * outFeatures;
  }

  private static List<TensorSpec> specs(int rows, int in, int out, DType dtype) {
    List<TensorSpec> specs = new ArrayList<>();
    specs.add(new TensorSpec("x", Shape.of(rows, in), dtype));
    specs.add(new TensorSpec("weight", Shape.of(in, out), dtype));
    specs.add(new TensorSpec("bias", Shape.of(out), dtype));
    specs.add(new TensorSpec("y", Shape.of(rows, out), dtype));
    return specs;
  }
}
