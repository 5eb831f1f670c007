package dev.heddle.lab.files;

import dev.heddle.core.HostTensor;
import java.nio.file.Path;

/** The check that a tensor from a file holds numbers only. */
public final class FiniteValues {
  private FiniteValues() {}

  /**
   * Does nothing when every element is finite.
   *
   * @param file where the tensor was read from
   * @param name the tensor's name, such as {@code q}
   * @throws TensorFileException naming the first element that is NaN or infinite
   */
  public static void require(Path file, String name, HostTensor tensor) {
    for (int i = 0; i < tensor.size(); i++) {
      float value = tensor.get(i);
      if (!Float.isFinite(value)) {
        throw new TensorFileException(
            file,
            name + tensor.shape().position(i) + " is " + value + "; every element must be finite");
      }
    }
  }
}
