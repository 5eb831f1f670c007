package dev.heddle.lab;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.core.Backend;
import dev.heddle.core.Device;
import dev.heddle.lab.Conformance.Answer;
import dev.heddle.lab.Conformance.Counts;
import dev.heddle.lab.files.TensorFileException;
import dev.heddle.lab.onnx.NodeTest;
import dev.heddle.reference.PlantedBackend;
import dev.heddle.reference.PlantedBackend.Fault;
import dev.heddle.reference.ReferenceBackend;
import dev.heddle.reference.Verdict;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.w3c.dom.Element;

class OnnxConformanceTest {
  private static final int[] SMALL = {1, 1, 2, 1};

  @TempDir private Path folder;

  /** Attention whose queries are 0, so that each output is the mean of the values. */
  private static NodeTest attention(float... outputs) {
    return new NodeTest("Attention", 23)
        .reads(NodeTest.floats("Q", SMALL, 0, 0))
        .reads(NodeTest.floats("K", SMALL, 3, -1))
        .reads(NodeTest.floats("V", SMALL, 1, 3))
        .writes(NodeTest.floats("Y", SMALL, outputs));
  }

  private static NodeTest unknown() {
    return new NodeTest("Gemm", 13)
        .reads(NodeTest.floats("A", SMALL, 0, 0))
        .writes(NodeTest.floats("Y", SMALL, 0, 0));
  }

  private static NodeTest doubles() {
    return new NodeTest("RotaryEmbedding", 23)
        .reads(NodeTest.floats("X", new int[] {1, 1, 0, 2}))
        .reads(NodeTest.floats("c", new int[] {1, 1}, 1))
        .reads(NodeTest.floats("s", new int[] {1, 1}, 1))
        .writes(NodeTest.floats("Y", new int[] {1, 1, 0, 2}));
  }

  private Conformance run(Backend... backends) {
    return run(folder, Optional.empty(), backends);
  }

  private static Conformance run(Path folder, Optional<String> algorithm, Backend... backends) {
    return OnnxConformance.run(
        Installation.of(List.of(backends)), folder, Selection.ALL, algorithm, doing -> {});
  }

  private static List<String> rows(Conformance conformance) {
    return conformance.rows().stream().map(Question.Row::label).toList();
  }

  @Test
  void everyTestOfAFolderIsARow() throws IOException {
    attention(2, 2).write(folder.resolve("test_b"));
    attention(2, 2).write(folder.resolve("test_a"));
    Files.createDirectories(folder.resolve(".git"));
    Files.writeString(folder.resolve("LICENSE"), "");
    Conformance conformance = run(new ReferenceBackend());
    assertThat(rows(conformance)).containsExactly("test_a", "test_b");
    assertThat(conformance.counts()).isEqualTo(new Counts(6, 0, 0));
    assertThat(conformance.subject()).isEqualTo(Conformance.Subject.CASE);
    assertThat(rows(run(folder.resolve("test_b"), Optional.empty(), new ReferenceBackend())))
        .containsExactly("test_b");
  }

  @Test
  void everyDataSetIsAskedInTheOrderOfItsNumber() throws IOException {
    Path test = attention(2, 2).write(folder.resolve("test_a"));
    attention(2, 2.1f).writeSet(test.resolve("test_data_set_10"));
    attention(2, 2).writeSet(test.resolve("test_data_set_9"));
    Conformance conformance = run(new ReferenceBackend());
    assertThat(rows(conformance))
        .containsExactly(
            "test_a/test_data_set_0", "test_a/test_data_set_9", "test_a/test_data_set_10");
    assertThat(conformance.counts()).isEqualTo(new Counts(6, 3, 0));
    assertThat(conformance.failures()).allMatch(answer -> answer.question().name().endsWith("_10"));
  }

  @Test
  void aFailureHasItsWorstElementAndTheCommandThatShowsItAgain() throws IOException {
    Path test = attention(2, 2.01f).write(folder.resolve("it's a test"));
    Answer failure = run(new ReferenceBackend()).failures().getFirst();
    assertThat(failure.verdict().reason().orElseThrow())
        .startsWith("Y[0, 0, 1, 0] is 2.0, expected 2.01 (error 0.0100, ");
    assertThat(failure.question().inputs())
        .isEqualTo(
            "Attention-23: Q float [1, 1, 2, 1], K float [1, 1, 2, 1], V float [1, 1, 2, 1]");
    Conformance conformance = run(new ReferenceBackend());
    assertThat(conformance.command(failure))
        .isEqualTo(
            "./heddle conform --onnx '"
                + test.toString().replace("'", "'\\''")
                + "' --backend reference --device 0 --algorithm naive");
  }

  /** NumPy's rule: equal where both are NaN or the same infinity, and nowhere else. */
  @Test
  void nanAndInfinityHaveToBeWhereTheTestHasThem() throws IOException {
    assertThat(withValue(Float.NaN, Float.NaN)).isInstanceOf(Verdict.Pass.class);
    assertThat(withValue(Float.NaN, 2)).isInstanceOf(Verdict.Fail.class);
    assertThat(withValue(2, Float.NaN)).isInstanceOf(Verdict.Fail.class);
    float infinity = Float.POSITIVE_INFINITY;
    assertThat(withValue(infinity, infinity)).isInstanceOf(Verdict.Pass.class);
    assertThat(withValue(infinity, -infinity)).isInstanceOf(Verdict.Fail.class);
    assertThat(withValue(infinity, Float.NaN)).isInstanceOf(Verdict.Fail.class);
    assertThat(withValue(1, infinity)).isInstanceOf(Verdict.Fail.class);
  }

  /** Copying what rotates by an angle of 0 computes 1 x - 0 y, which is x unless y is infinite. */
  private Verdict withValue(float value, float expected) throws IOException {
    int[] one = {1, 1, 1, 4};
    new NodeTest("RotaryEmbedding", 23)
        .with("rotary_embedding_dim", 2)
        .reads(NodeTest.floats("X", one, 1, 2, value, 3))
        .reads(NodeTest.floats("c", new int[] {1, 1, 1}, 1))
        .reads(NodeTest.floats("s", new int[] {1, 1, 1}, 0))
        .writes(NodeTest.floats("Y", one, 1, 2, expected, 3))
        .write(folder.resolve("test"));
    return run(new ReferenceBackend()).answers().getFirst().verdict();
  }

  @Test
  void aTestThatIsBrokenDoesNotKeepTheOthersFromBeingAsked() throws IOException {
    attention(2, 2).write(folder.resolve("test_a"));
    unknown().write(folder.resolve("test_b"));
    doubles().write(folder.resolve("test_c"));
    Files.createDirectories(folder.resolve("test_d"));
    Path broken = attention(2, 2).write(folder.resolve("test_e"));
    Files.write(broken.resolve("model.onnx"), new byte[] {1, 2, 3});
    attention(2, 2).write(folder.resolve("test_f"));
    Conformance conformance = run(new ReferenceBackend());
    assertThat(conformance.counts()).isEqualTo(new Counts(6, 0, 1));
    assertThat(conformance.unusable())
        .extracting(Conformance.Unusable::name)
        .containsExactly("test_b", "test_d", "test_e");
    assertThat(conformance.unusable())
        .allMatch(one -> one.reason().startsWith(folder.toString()))
        .allMatch(one -> !one.reason().contains("\n"));
    assertThat(conformance.refusals(conformance.devices().getFirst()).keySet())
        .allMatch(reason -> reason.startsWith("shape: X float [1, 1, 0, 2] is empty"));
  }

  @Test
  void foldersWithoutATest() throws IOException {
    assertThatThrownBy(() -> run(folder.resolve("none"), Optional.empty(), new ReferenceBackend()))
        .isInstanceOf(TensorFileException.class)
        .hasMessage(folder.resolve("none") + ": no such folder");
    assertThatThrownBy(() -> run(new ReferenceBackend()))
        .isInstanceOf(TensorFileException.class)
        .hasMessageStartingWith(folder + ": has no test in it");
    Path file = Files.writeString(folder.resolve("file"), "");
    assertThatThrownBy(() -> run(file, Optional.empty(), new ReferenceBackend()))
        .isInstanceOf(TensorFileException.class)
        .hasMessageStartingWith(file + ": is a file");
  }

  @Test
  void anAlgorithmIsChosenAmongTheDevicesOwn() throws IOException {
    attention(2, 2).write(folder.resolve("test_a"));
    unknown().write(folder.resolve("test_b"));
    Conformance flash = run(folder, Optional.of("flash"), new ReferenceBackend());
    assertThat(flash.answers()).singleElement().matches(a -> a.kernel().equals("attention_flash"));
    assertThatThrownBy(() -> run(folder, Optional.of("quick"), new ReferenceBackend()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'quick'; there are naive, staged, flash");
  }

  /** A device that computes something else is found out. */
  @Test
  void aDeviceWithAFaultFails() throws IOException {
    attention(2, 2).write(folder.resolve("test_a"));
    Conformance conformance = run(new PlantedBackend());
    for (Fault fault : Fault.values()) {
      Device device = conformance.devices().get(fault.ordinal());
      List<Verdict> verdicts =
          conformance.answers().stream()
              .filter(answer -> answer.device().equals(device))
              .map(Answer::verdict)
              .toList();
      switch (fault) {
        case WRONG_VALUE, NAN, NOT_WRITTEN, BREAKS, THROWS ->
            assertThat(verdicts).as("%s", fault).hasOnlyElementsOfType(Verdict.Fail.class);
        case REFUSES ->
            assertThat(verdicts).as("%s", fault).hasOnlyElementsOfType(Verdict.Refused.class);
        case NONE, SLOW, EMULATED, WRONG_WHEN_WARM ->
            assertThat(verdicts).as("%s", fault).hasOnlyElementsOfType(Verdict.Pass.class);
        case DIES, STAYS_OPEN ->
            assertThat(verdicts).as("%s", fault).hasAtLeastOneElementOfType(Verdict.Fail.class);
      }
    }
  }

  @Test
  void theFilesHoldWhatCouldNotBeRead() throws Exception {
    attention(2, 2).write(folder.resolve("test_a"));
    attention(2, 2.01f).write(folder.resolve("test_b"));
    unknown().write(folder.resolve("test_c"));
    Conformance conformance = run(new ReferenceBackend());
    String reason = conformance.unusable().getFirst().reason();

    JsonNode json = new ObjectMapper().readTree(ConformanceJson.write(conformance));
    assertThat(json.get("unusable").get(0).get("name").asText()).isEqualTo("test_c");
    assertThat(json.get("unusable").get(0).get("reason").asText()).isEqualTo(reason);
    assertThat(json.get("matrix").get(1).get("case").asText()).isEqualTo("test_b");
    assertThat(json.get("matrix").get(1).get("fail").asInt()).isEqualTo(3);
    JsonNode worst =
        json.get("results").get(3).get("judgements").get(0).get("tensors").get(0).get("worst");
    assertThat(worst.get("index")).hasToString("[0,0,1,0]");

    Element junit =
        DocumentBuilderFactory.newDefaultInstance()
            .newDocumentBuilder()
            .parse(new ByteArrayInputStream(ConformanceJunit.write(conformance)))
            .getDocumentElement();
    assertThat(junit.getAttribute("tests")).isEqualTo("7");
    assertThat(junit.getAttribute("failures")).isEqualTo("3");
    assertThat(junit.getAttribute("errors")).isEqualTo("1");
    Element error = (Element) junit.getElementsByTagName("error").item(0);
    assertThat(error.getAttribute("message")).isEqualTo(reason);
    Element suite = (Element) error.getParentNode().getParentNode();
    assertThat(suite.getAttribute("errors")).isEqualTo("1");
    assertThat(suite.getAttribute("tests")).isEqualTo("1");

    String page = new String(ConformancePage.write(conformance), StandardCharsets.UTF_8);
    assertThat(page)
        .contains("\u2717 3 of 6 results FAIL; \u2717 1 could not be read")
        .contains("test_c: " + reason)
        .contains("<th scope=\"row\">test_b</th><td>fp32</td>");
  }
}
