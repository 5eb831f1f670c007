package dev.heddle.lab.onnx;

import dev.heddle.core.DType;
import dev.heddle.core.Refusal;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.lab.files.TensorFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What a node reads, by the operator's names.
 *
 * @param folder the data set
 * @param title the operator and its version
 * @param byName the tensors; those left out are missing
 */
record OnnxOperands(Path folder, String title, Map<String, OnnxTensor> byName) {
  OnnxOperands {
    byName = Map.copyOf(byName);
  }

  /** A tensor that may be left out. */
  Optional<OnnxTensor> find(String name) {
    return Optional.ofNullable(byName.get(name));
  }

  /**
   * A tensor that the operator has to have.
   *
   * @throws TensorFileException when it is left out
   */
  OnnxTensor require(String name) {
    return find(name).orElseThrow(() -> failure("needs the input " + name));
  }

  /**
   * A tensor of numbers that a device computes with.
   *
   * @throws UnsupportedProblemException when it is double or empty
   * @throws TensorFileException when it is no tensor of numbers
   */
  OnnxTensor operand(String name) {
    return operand(require(name));
  }

  OnnxTensor operand(OnnxTensor tensor) {
    if (tensor.type() == ElementType.DOUBLE) {
      throw refusal("dtype", tensor + " is double; fp32, fp16 and bf16 are supported");
    }
    if (tensor.type().operand().isEmpty()) {
      throw tensor.failure("is " + tensor.type().label() + "; " + title + " computes with numbers");
    }
    if (tensor.count() == 0) {
      throw refusal("shape", tensor + " is empty; tensors of at least one element are supported");
    }
    return tensor;
  }

  /** The type in which a device can hold what both types hold. */
  static DType common(DType a, DType b) {
    return a == b ? a : DType.FP32;
  }

  /**
   * Checks that two tensors have one type.
   *
   * @throws TensorFileException naming both
   */
  void requireSameType(OnnxTensor one, OnnxTensor other) {
    if (one.type() != other.type()) {
      throw failure("needs one type for " + one + " and " + other);
    }
  }

  /**
   * Checks a tensor's dimensions.
   *
   * @param meaning of the dimensions, for the message
   * @throws TensorFileException when they are others
   */
  void requireShape(OnnxTensor tensor, List<Integer> dims, String meaning) {
    if (!tensor.dims().equals(dims)) {
      throw failure("needs " + meaning + " = " + dims + ", not " + tensor);
    }
  }

  TensorFileException failure(String problem) {
    return new TensorFileException(folder, title + " " + problem);
  }

  static UnsupportedProblemException refusal(String limit, String reason) {
    return new UnsupportedProblemException(new Refusal(limit, reason));
  }
}
