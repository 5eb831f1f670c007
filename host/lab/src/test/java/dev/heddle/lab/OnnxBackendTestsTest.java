package dev.heddle.lab;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.Backend;
import dev.heddle.core.Probe;
import dev.heddle.lab.Conformance.Answer;
import dev.heddle.opencl.OpenClBackend;
import dev.heddle.reference.ReferenceBackend;
import dev.heddle.reference.Verdict;
import dev.heddle.vector.VectorBackend;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The node tests of the ONNX project, which are no part of this repository: {@code
 * ../shared/conformance/onnx} beside it, or where {@code HEDDLE_ONNX_TESTS} says. They are ONNX's
 * {@code onnx/backend/test/data/node/test_*attention*} and {@code test_rotary_embedding*}.
 */
class OnnxBackendTestsTest {

  static Stream<Backend> backends() {
    return Stream.of(new ReferenceBackend(), new VectorBackend(), new OpenClBackend());
  }

  /** By every algorithm: whatever a device does not refuse by declaration passes. */
  @ParameterizedTest
  @MethodSource("backends")
  void allPass(Backend backend) {
    Path tests = tests();
    Assumptions.assumeTrue(
        Files.isDirectory(tests),
        () -> "ONNX's node tests are not at " + tests + "; HEDDLE_ONNX_TESTS names their folder");
    if (backend.probe() instanceof Probe.Unavailable missing) {
      Assumptions.abort(missing.reason());
    }
    Conformance conformance =
        OnnxConformance.run(
            Installation.of(List.of(backend)), tests, Selection.ALL, Optional.empty(), doing -> {});
    assertThat(conformance.unusable()).isEmpty();
    assertThat(
            conformance.failures().stream()
                .map(answer ->
                    conformance.command(answer) + ": " + answer.verdict().reason().orElse("")))
        .isEmpty();
    for (Question.Row row : conformance.rows()) {
      List<Answer> answers =
          conformance.answers().stream()
              .filter(answer -> answer.question().rows().contains(row))
              .toList();
      if (row.label().startsWith("test_flexattention")) {
        assertThat(answers).allMatch(answer -> answer.verdict() instanceof Verdict.Refused);
      } else {
        assertThat(answers.stream().map(answer -> answer.verdict().label()))
            .as("%s on %s", row.label(), backend.id())
            .contains("pass");
      }
    }
  }

  private static Path tests() {
    String named = System.getenv("HEDDLE_ONNX_TESTS");
    if (named != null) {
      return Path.of(named);
    }
    Path root = Path.of("").toAbsolutePath();
    while (root.getParent() != null && !Files.exists(root.resolve("heddle"))) {
      root = root.getParent();
    }
    return root.resolveSibling("shared").resolve("conformance").resolve("onnx");
  }
}
