package dev.heddle.cli;

import static org.assertj.core.api.Assertions.assertThat;

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
        .doesNotContain("FAIL ", "refused");
    for (String feature : List.of("causal mask", "rows that see no key", "stages alone", "chain")) {
      for (String dtype : List.of("fp32", "fp16", "bf16")) {
        assertThat(outcome.out())
            .containsPattern("(?m)^" + feature + " +" + dtype + " +[0-9]+ pass$");
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
}
