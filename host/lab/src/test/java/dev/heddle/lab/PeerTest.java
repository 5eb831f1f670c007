package dev.heddle.lab;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.reference.FlashAttentionPolicy;
import dev.heddle.reference.PlantedBackend;
import dev.heddle.reference.PlantedBackend.Fault;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Peers that are small shell scripts. */
@EnabledOnOs({OS.LINUX, OS.MAC})
class PeerTest {
  private static final AttentionProblem PROBLEM =
      AttentionProblem.of(new AttentionShape(1, 2, 1, 19, 19, 8, 8))
          .withMask(BandMask.causal(Alignment.TOP_LEFT));
  private static final Protocol THREE_SHORT_ROUNDS = new Protocol(3, 1_000, 1_000_000, 2, 4);

  @TempDir private Path folder;

  private Path script(String name, String... lines) throws IOException {
    Path script = folder.resolve(name);
    Files.writeString(script, "#!/bin/sh\n" + String.join("\n", lines) + "\n");
    assertThat(script.toFile().setExecutable(true)).isTrue();
    return script;
  }

  private static Comparison compare(Path program, Fault fault) {
    return compare(program, Workload.random(PROBLEM, 1), fault);
  }

  private static Comparison compare(Path program, Workload workload, Fault fault) {
    try (Peer peer = Peer.start(program, Duration.ofSeconds(5))) {
      return Comparison.run(
          Installation.of(List.of(new PlantedBackend("planted", fault))),
          workload,
          Selection.ALL,
          Optional.empty(),
          new FlashAttentionPolicy(),
          THREE_SHORT_ROUNDS,
          Optional.of(peer),
          doing -> {});
    }
  }

  private static Peer.Result result(Comparison comparison) {
    return comparison.peer().orElseThrow();
  }

  @Test
  void isAskedAfterEachRoundWithTheProblemAndTheProtocol() throws IOException {
    Path heard = folder.resolve("heard");
    Path program =
        script(
            "good",
            "echo '{\"name\": \"Loom 1\", \"version\": 9}'",
            "ns=10",
            "while read -r line; do",
            "  echo \"$line\" >>'" + heard + "'",
            "  echo '{\"implementations\": [{\"name\": \"fast\", \"samplesNs\": ['$ns', 1000]},'"
                + "'{\"name\": \"none\", \"error\": \"no such kernel\"}]}'",
            "  ns=$((ns + 1))",
            "done");
    Comparison comparison = compare(program, Fault.NONE);
    Measurement measured = comparison.trials().getFirst().measurement().orElseThrow();
    assertThat(measured.rounds())
        .hasSize(3)
        .allSatisfy(round -> assertThat(round.hostNs()).hasSizeBetween(2, 4));
    assertThat(measured.runs()).isBetween(6, 12);
    Peer.Result result = result(comparison);
    assertThat(result.error()).isEmpty();
    assertThat(result.greeting()).containsEntry("name", "Loom 1").containsEntry("version", "9");
    assertThat(result.implementations())
        .containsExactly(
            new Peer.Implementation(
                "fast",
                List.of(List.of(10L, 1000L), List.of(11L, 1000L), List.of(12L, 1000L)),
                Optional.empty()),
            new Peer.Implementation("none", List.of(), Optional.of("no such kernel")));
    assertThat(result.implementations().getFirst().medianNs()).contains(506L);
    List<String> requests = Files.readAllLines(heard);
    assertThat(Set.copyOf(requests)).hasSize(1);
    assertThat(requests).hasSize(3);
    JsonNode request = new ObjectMapper().readTree(requests.getFirst());
    assertThat(request.get("shape").toString()).isEqualTo("[1,2,1,19,19,8,8]");
    assertThat(request.get("dtype").asText()).isEqualTo("fp32");
    assertThat(request.get("mask").asText()).isEqualTo("causal top-left");
    assertThat(request.get("softmaxScale").floatValue()).isEqualTo(PROBLEM.softmaxScale());
    assertThat(request.get("mostRuns").asInt()).isEqualTo(4);

    JsonNode json = new ObjectMapper().readTree(ComparisonJson.write(comparison));
    JsonNode implementation = json.get("peer").get("implementations").get(0);
    assertThat(implementation.get("rounds").toString())
        .isEqualTo("[[10,1000],[11,1000],[12,1000]]");
    assertThat(implementation.get("medianNs").asLong()).isEqualTo(506);
    assertThat(json.get("results").get(0).get("rounds")).hasSize(3);
    assertThat(json.get("problem").get("shape")).hasSize(7);
    double diagonal = 4.0 * 8 * 2 * 19 / 2;
    assertThat(json.get("conventionalFlops").asDouble())
        .isEqualTo(json.get("flops").asDouble() - diagonal);
  }

  @Test
  void failuresAreToldAndStopNothing() throws IOException {
    Path missing = script("missing", "echo '{\"error\": \"no loom here\"}'");
    assertThat(result(compare(missing, Fault.NONE)).error()).contains("no loom here");
    Path silent = script("silent", "exit 0");
    assertThat(result(compare(silent, Fault.NONE)).error())
        .contains("it gave no answer: it has ended");
    Path babbler = script("babbler", "echo nonsense");
    assertThat(result(compare(babbler, Fault.NONE)).error().orElseThrow()).contains("is not JSON");
    Path slow = script("slow", "echo '{\"name\": \"slow\"}'", "exec sleep 60");
    Comparison comparison = compare(slow, Fault.NONE);
    assertThat(result(comparison).error().orElseThrow()).contains("nothing came within 5 s");
    assertThat(comparison.trials()).allMatch(Trial::passed);
    Path once =
        script(
            "once",
            "echo '{\"name\": \"once\"}'",
            "read -r line",
            "echo '{\"implementations\": [{\"name\": \"a\", \"samplesNs\": [5]}]}'",
            "read -r line",
            "echo '{\"implementations\": [{\"name\": \"a\", \"error\": \"broke\"}]}'");
    Peer.Result half = result(compare(once, Fault.NONE));
    assertThat(half.implementations())
        .containsExactly(new Peer.Implementation("a", List.of(), Optional.of("broke")));
    assertThat(half.error()).contains("it gave no answer: it has ended");
  }

  @Test
  void isNotAskedAboutWhatWasNotTimed() throws IOException {
    Path heard = folder.resolve("heard");
    Path program =
        script("good", "echo '{\"name\": \"Loom\"}'", "read -r line && echo >'" + heard + "'");
    for (Fault fault : List.of(Fault.EMULATED, Fault.NAN, Fault.REFUSES)) {
      Peer.Result result = result(compare(program, fault));
      assertThat(result.error()).isEmpty();
      assertThat(result.greeting()).containsEntry("name", "Loom");
      assertThat(result.implementations()).isEmpty();
      assertThat(heard).doesNotExist();
    }
  }

  @Test
  void badInput() throws IOException {
    assertThatThrownBy(() -> Peer.start(folder.resolve("none")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("the peer " + folder.resolve("none") + " can't be started");
    Path program = script("good", "echo '{}'");
    AttentionStage stage = new AttentionStage(AttentionStage.Stage.SCORES, PROBLEM);
    assertThatThrownBy(() -> compare(program, Workload.random(stage, 1), Fault.NONE))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("one attention problem");
    assertThatThrownBy(() -> Protocol.inRounds(0, 10))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("rounds = 0; at least 1 is needed");
    assertThatThrownBy(() -> Protocol.inRounds(1, 4))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("runs = 4; at least 5 are needed");
  }
}
