package dev.heddle.cli;

import static org.assertj.core.api.Assertions.assertThat;

import ai.onnx.proto.OnnxMl.GraphProto;
import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.NodeProto;
import ai.onnx.proto.OnnxMl.OperatorSetIdProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import ai.onnx.proto.OnnxMl.ValueInfoProto;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.reference.PlantedBackend.Fault;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class ConformCommandTest {
  private static final String CASE = "attention/2,2,2,63,65,64,64/window-unbounded,9-bottom-right";

  @TempDir private Path folder;

  private Outcome heddle(String line) {
    return Outcome.of(folder, line.split(" "));
  }

  private static String planted(Fault fault) {
    return "--backend planted --device " + fault.ordinal();
  }

  @Test
  void theExitCodeFollowsTheVerdicts() {
    String command = "conform --dtype fp32 --case " + CASE + " ";
    assertThat(heddle(command + planted(Fault.NONE)).exit()).isZero();
    assertThat(heddle(command + planted(Fault.NAN)).exit()).isEqualTo(1);
    assertThat(heddle(command + planted(Fault.REFUSES)).exit()).isEqualTo(3);
    assertThat(heddle(command + "--backend planted").exit()).isEqualTo(1);
  }

  @Test
  void theQuickSuiteOfTheReferenceHasNoFailureInAnyType() {
    Outcome outcome = heddle("conform --backend reference");
    assertThat(outcome.exit()).isZero();
    assertThat(outcome.err()).isEmpty();
    assertThat(outcome.out())
        .contains("conformance, quick: judged by flash-attention")
        .doesNotContain("FAIL ");
    // One pass over the keys has no scores to give out.
    assertThat(outcome.out().lines().filter(line -> line.contains(" refused: ")))
        .isNotEmpty()
        .allMatch(line -> line.contains(" refused: scoreOutput: flash"));
    for (String feature : List.of("causal mask", "rows that see no key", "stages alone", "chain")) {
      for (String dtype : List.of("fp32", "fp16", "bf16")) {
        assertThat(outcome.out())
            .containsPattern(
                "(?m)^" + feature + " +" + dtype + " +[0-9]+ pass(, [0-9]+ refused)?$");
      }
    }
  }

  /** A device with a fault is a FAIL in the matrix, in each file and in the exit code. */
  @ParameterizedTest
  @EnumSource(names = {"WRONG_VALUE", "NAN", "NOT_WRITTEN", "THROWS", "BREAKS"})
  void aPlantedFaultIsSeenEverywhere(Fault fault) throws IOException {
    Outcome outcome =
        heddle(
            "conform --dtype fp32 --case "
                + CASE
                + " --junit DIR/c.xml --json DIR/c.json --html DIR/c.html "
                + planted(fault));
    assertThat(outcome.exit()).isEqualTo(1);
    assertThat(outcome.out())
        .containsPattern("(?m)^window mask +fp32 +1 FAIL$")
        .contains("FAIL fp32 " + CASE + ", attention_naive on planted:" + fault.ordinal());
    assertThat(Files.readString(folder.resolve("c.xml"))).contains("failures=\"1\"", "<failure");
    JsonNode json = new ObjectMapper().readTree(folder.resolve("c.json").toFile());
    assertThat(json.get("counts").get("fail").asInt()).isEqualTo(1);
    assertThat(Files.readString(folder.resolve("c.html"))).contains("1 of 1 results FAIL");
  }

  @ParameterizedTest
  @EnumSource(names = {"WRONG_VALUE", "NAN", "NOT_WRITTEN", "THROWS", "BREAKS"})
  void theCommandThatIsPrintedShowsTheFailureAgain(Fault fault) {
    Outcome first = heddle("conform --dtype bf16,fp16 " + planted(fault));
    assertThat(first.exit()).isEqualTo(1);
    List<String> commands =
        first.out().lines().filter(line -> line.startsWith("  again: ")).toList();
    assertThat(commands).hasSize(20);
    for (String line : commands.subList(0, 3)) {
      String command = line.substring("  again: ./heddle ".length());
      Outcome again = heddle(command);
      assertThat(again.exit()).as("%s", command).isEqualTo(1);
      assertThat(again.out()).contains(line);
      assertThat(reason(again.out(), line)).isEqualTo(reason(first.out(), line));
    }
    assertThat(first.out()).contains("more that FAIL are in the files");
  }

  /** What is said of a failure above its command. */
  private static String reason(String out, String command) {
    List<String> lines = out.lines().toList();
    int at = lines.indexOf(command);
    return lines.get(at - 2) + lines.get(at - 1);
  }

  @Test
  void theWorstElementIsShownWithWhatIsExpectedAndTheBound() {
    Outcome outcome =
        heddle("conform --dtype fp32 --case " + CASE + " " + planted(Fault.WRONG_VALUE));
    assertThat(outcome.out())
        .containsPattern(
            "out\\[0, 0, 0, 0] is -?[0-9.E-]+, expected -?[0-9.E-]+ "
                + "\\(error [0-9.e-]+, [0-9.e+]+ of the bound [0-9.e-]+\\)");
  }

  @Test
  void everyPolicyJudgesAndAllShowsEachProjectsOpinion() {
    String command = "conform --dtype fp32 --case " + CASE + " " + planted(Fault.WRONG_VALUE);
    for (String policy : List.of("flash-attention", "pytorch", "onnx")) {
      Outcome outcome = heddle(command + " --policy " + policy);
      assertThat(outcome.exit()).as("%s", policy).isEqualTo(1);
      assertThat(outcome.out()).contains("judged by " + policy + ": ", "--policy " + policy);
    }
    assertThat(heddle(command + " --policy ggml").exit())
        .as("one element is little in the mean of all")
        .isZero();
    Outcome all = heddle(command + " --policy all");
    assertThat(all.exit()).isEqualTo(1);
    assertThat(all.out())
        .containsPattern("(?m)^pytorch +NO, 0 of 1 \\(all: 0 of 1\\)$")
        .containsPattern("(?m)^ggml +yes, 1 of 1 \\(all: 1 of 1\\)$");
  }

  @Test
  void theListNamesEveryCaseOnceWithItsFeatures() {
    Outcome outcome = heddle("conform --list");
    assertThat(outcome.exit()).isZero();
    List<String> names = outcome.out().lines().skip(1).map(l -> l.split(" ")[0]).toList();
    assertThat(names).doesNotHaveDuplicates().contains(CASE, "chain/layer");
    assertThat(outcome.out()).contains("rows that see no key");
    assertThat(heddle("conform --list --suite full").out().lines().count())
        .isGreaterThan(names.size());
  }

  @Test
  void badInputLeavesFilesAsTheyWere() throws IOException {
    Path old = folder.resolve("old.json");
    Files.writeString(old, "old");
    assertThat(heddle("conform --json DIR/old.json --policy numpy").exit()).isEqualTo(2);
    assertThat(heddle("conform --json DIR/old.json --html DIR/none/x.html").exit()).isEqualTo(2);
    assertThat(heddle("conform --json DIR/old.json --backend metal").exit()).isEqualTo(2);
    assertThat(old).hasContent("old");
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).containsExactly(old);
    }
  }

  @Test
  void fuzzingFindsAPlantedFaultAndItsCommandShowsItAgain() {
    Outcome first = heddle("conform --fuzz 1 --seed 3 " + planted(Fault.WRONG_VALUE));
    assertThat(first.exit()).isEqualTo(1);
    assertThat(first.out()).contains("fuzz, seed 3: judged by flash-attention", "CASES/S");
    List<String> commands =
        first.out().lines().filter(line -> line.startsWith("  again: ")).toList();
    assertThat(commands).isNotEmpty();
    for (String line : commands) {
      Outcome again = heddle(line.substring("  again: ./heddle ".length()));
      assertThat(again.exit()).isEqualTo(1);
      assertThat(again.out()).contains(line, "problems: 1, results that FAIL: 1,");
      List<String> lines = first.out().lines().toList();
      assertThat(again.out()).contains(lines.get(lines.indexOf(line) - 2));
    }
  }

  @Test
  void fuzzingsExitCodes() {
    Outcome sound = heddle("conform --fuzz 1 --seed 3 --dtype fp16 --backend reference");
    assertThat(sound.exit()).isZero();
    assertThat(sound.out()).contains("results that FAIL: 0,");
    assertThat(heddle("conform --fuzz 1 --seed 3 " + planted(Fault.REFUSES)).exit()).isEqualTo(3);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--fuzz 0",
        "--fuzz -1",
        "--fuzz soon",
        "--fuzz 99999999999999999999",
        "--fuzz 1 --seed x",
        "--seed 1",
        "--fuzz 1 --suite quick",
        "--fuzz 1 --list",
        "--fuzz 1 --policy all",
        "--fuzz 1 --junit DIR/c.xml",
        "--fuzz 1 --dtype fp8",
        "--fuzz 1 --backend metal",
        "--fuzz 1 --backend reference --algorithm quick",
        "--fuzz-case fp32",
        "--fuzz-case fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/1 --fuzz 1",
        "--fuzz-case fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/1 --dtype fp32"
      })
  void fuzzingsBadInputIsOneLine(String options) {
    Outcome outcome = heddle("conform " + options);
    assertThat(outcome.exit()).isEqualTo(2);
    assertThat(outcome.out()).isEmpty();
    assertThat(outcome.err().lines()).hasSize(1);
  }

  /** A node test of ONNX's: one query that sees one key, so that the output is the value, 2. */
  private void writeOnnxTest(String name, String operator, float output) throws IOException {
    Path test = folder.resolve("onnx").resolve(name);
    Path set = Files.createDirectories(test.resolve("test_data_set_0"));
    NodeProto.Builder node = NodeProto.newBuilder().setOpType(operator).addOutput("Y");
    GraphProto.Builder graph = GraphProto.newBuilder();
    for (int i = 0; i < 3; i++) {
      node.addInput("i" + i);
      graph.addInput(ValueInfoProto.newBuilder().setName("i" + i));
      Files.write(set.resolve("input_" + i + ".pb"), scalar(i).toByteArray());
    }
    graph.addNode(node).addOutput(ValueInfoProto.newBuilder().setName("Y"));
    Files.write(set.resolve("output_0.pb"), scalar(output).toByteArray());
    Files.write(
        test.resolve("model.onnx"),
        ModelProto.newBuilder()
            .setGraph(graph)
            .addOpsetImport(OperatorSetIdProto.newBuilder().setVersion(23))
            .build()
            .toByteArray());
  }

  private static TensorProto scalar(float value) {
    return TensorProto.newBuilder()
        .setDataType(TensorProto.DataType.FLOAT.getNumber())
        .addAllDims(List.of(1L, 1L, 1L, 1L))
        .addFloatData(value)
        .build();
  }

  @Test
  void theExitCodeOfOnnxTestsSaysWhatIsWrong() throws IOException {
    writeOnnxTest("test_a", "Attention", 2);
    Outcome sound = heddle("conform --onnx DIR/onnx --backend reference");
    assertThat(sound.exit()).isZero();
    assertThat(sound.err()).isEmpty();
    assertThat(sound.out())
        .contains("conformance, ONNX node tests in ", "judged by onnx: ")
        .containsPattern("(?m)^CASE +TYPE +reference:0$")
        .containsPattern("(?m)^test_a +- +3 pass$")
        .contains("3 pass, in ");
    writeOnnxTest("test_b", "Gemm", 2);
    Outcome broken = heddle("conform --onnx DIR/onnx --backend reference");
    assertThat(broken.exit()).isEqualTo(2);
    assertThat(broken.out())
        .containsPattern("(?m)^test_a +- +3 pass$")
        .containsPattern("(?m)^  test_b: .*model.onnx: is a test of Gemm; ");
    writeOnnxTest("test_c", "Attention", 3);
    assertThat(heddle("conform --onnx DIR/onnx --backend reference").exit()).isEqualTo(1);
    assertThat(heddle("conform --onnx DIR/onnx/test_b --backend reference").exit()).isEqualTo(2);
    assertThat(heddle("conform --onnx DIR/onnx/test_a " + planted(Fault.REFUSES)).exit())
        .isEqualTo(3);
  }

  @Test
  void theCommandOfAnOnnxTestShowsItsFailureAgain() throws IOException {
    writeOnnxTest("test_a", "Attention", 2);
    writeOnnxTest("test_b", "Attention", 2);
    Outcome first =
        heddle(
            "conform --onnx DIR/onnx --junit DIR/c.xml --json DIR/c.json --html DIR/c.html "
                + planted(Fault.WRONG_VALUE));
    assertThat(first.exit()).isEqualTo(1);
    List<String> commands =
        first.out().lines().filter(line -> line.startsWith("  again: ")).toList();
    assertThat(commands).isNotEmpty();
    for (String line : commands) {
      Outcome again = heddle(line.substring("  again: ./heddle ".length()));
      assertThat(again.exit()).isEqualTo(1);
      assertThat(again.out()).contains(line);
      assertThat(reason(again.out(), line)).isEqualTo(reason(first.out(), line));
    }
    assertThat(Files.readString(folder.resolve("c.xml"))).contains("<failure");
    assertThat(Files.readString(folder.resolve("c.json"))).contains("\"case\" : \"test_b\"");
    assertThat(Files.readString(folder.resolve("c.html"))).contains("results FAIL");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--onnx DIR/none",
        "--onnx DIR/file",
        "--onnx DIR/empty",
        "--onnx DIR/onnx --suite quick",
        "--onnx DIR/onnx --case x",
        "--onnx DIR/onnx --list",
        "--onnx DIR/onnx --dtype fp32",
        "--onnx DIR/onnx --policy onnx",
        "--onnx DIR/onnx --fuzz 1",
        "--onnx DIR/onnx --backend metal",
        "--onnx DIR/onnx --backend reference --algorithm quick",
        "--onnx DIR/onnx --backend reference --device 7"
      })
  void badInputAroundOnnxTestsIsOneLine(String options) throws IOException {
    writeOnnxTest("test_a", "Attention", 2);
    Files.createDirectories(folder.resolve("empty"));
    Files.writeString(folder.resolve("file"), "");
    Outcome outcome = heddle("conform " + options);
    assertThat(outcome.exit()).isEqualTo(2);
    assertThat(outcome.out()).isEmpty();
    assertThat(outcome.err().lines()).hasSize(1);
  }
}
