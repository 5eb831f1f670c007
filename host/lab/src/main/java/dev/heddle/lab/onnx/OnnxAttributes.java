package dev.heddle.lab.onnx;

import ai.onnx.proto.OnnxMl.AttributeProto;
import ai.onnx.proto.OnnxMl.AttributeProto.AttributeType;
import dev.heddle.lab.files.TensorFileException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A node's attributes.
 *
 * @param file the model
 * @param operator the node's operator and its version, as {@code Attention-23}
 * @param byName the attributes
 */
record OnnxAttributes(Path file, String operator, Map<String, AttributeProto> byName) {
  OnnxAttributes {
    byName = Map.copyOf(byName);
  }

  /**
   * Checks that the operator has all of them.
   *
   * @throws TensorFileException naming one that it does not have
   */
  void requireAmong(Set<String> known) {
    byName.keySet().stream()
        .filter(name -> !known.contains(name))
        .sorted()
        .findFirst()
        .ifPresent(name -> {
          throw new TensorFileException(
              file, operator + " has no attribute '" + TensorFileException.quote(name) + "'");
        });
  }

  /** An integer, checked to be within a range. */
  Optional<Integer> integer(String name, int least, int most) {
    return find(name, AttributeType.INT)
        .map(attribute -> {
          long value = attribute.getI();
          if (value < least || value > most) {
            throw failure(name, value + "; it must be from " + least + " to " + most);
          }
          return (int) value;
        });
  }

  /** An integer that means a boolean. */
  boolean flag(String name) {
    return integer(name, 0, 1).orElse(0) == 1;
  }

  /** A number, checked to be finite. */
  Optional<Float> number(String name) {
    return find(name, AttributeType.FLOAT)
        .map(attribute -> {
          float value = attribute.getF();
          if (!Float.isFinite(value)) {
            throw failure(name, value + "; it must be a finite number");
          }
          return value;
        });
  }

  /** A text. */
  Optional<String> text(String name) {
    return find(name, AttributeType.STRING).map(attribute -> attribute.getS().toStringUtf8());
  }

  TensorFileException failure(String name, String problem) {
    return new TensorFileException(file, operator + ": " + name + " = " + problem);
  }

  private Optional<AttributeProto> find(String name, AttributeType type) {
    Optional<AttributeProto> found = Optional.ofNullable(byName.get(name));
    found.ifPresent(attribute -> {
      if (attribute.getType() != type) {
        throw failure(name, "of type " + attribute.getType() + "; " + type + " is needed");
      }
    });
    return found;
  }
}
