package dev.heddle.model;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MiniLmTest {
  private static byte[] file;

  @BeforeAll
  static void readFile() throws IOException {
    try (InputStream onnx = ModelFile.WEIGHTS.open()) {
      file = onnx.readAllBytes();
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, 0.001, 0.5, 0.999})
  void aTruncatedFileIsRefusedInOneLine(double share) {
    byte[] truncated = Arrays.copyOf(file, (int) (file.length * share));
    assertThatThrownBy(() -> MiniLm.read(new ByteArrayInputStream(truncated), "cut.onnx"))
        .isInstanceOf(ModelException.class)
        .hasMessageStartingWith("cut.onnx ")
        .satisfies(e -> assertThat(e.getMessage()).doesNotContain("\n"));
  }

  @Test
  void aRenamedNodeIsNamedInTheRefusal() {
    String node = "/encoder/layer.2/attention/self/key/MatMul";
    byte[] renamed = file.clone();
    // The name alone, with protobuf's tag of field 3 and its length before it: the node's output
    // begins with the same text.
    int at =
        indexOf(renamed, ((char) (3 << 3 | 2) + "" + (char) node.length() + node).getBytes(UTF_8));
    renamed[at + 2] = '-';
    assertThatThrownBy(() -> MiniLm.read(new ByteArrayInputStream(renamed), "other.onnx"))
        .isInstanceOf(ModelException.class)
        .hasMessage("other.onnx has no MatMul node named " + node);
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 6})
  void aLayerThatDoesNotExistIsNamed(int layer) throws IOException {
    MiniLm model = MiniLm.read(new ByteArrayInputStream(file), "file");
    assertThatThrownBy(() -> model.layer(layer))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("layer = " + layer + "; the model has layers 0 to 5");
  }

  private static int indexOf(byte[] bytes, byte[] wanted) {
    for (int at = 0; at <= bytes.length - wanted.length; at++) {
      if (Arrays.equals(bytes, at, at + wanted.length, wanted, 0, wanted.length)) {
        return at;
      }
    }
    throw new AssertionError("not in the file");
  }
}
