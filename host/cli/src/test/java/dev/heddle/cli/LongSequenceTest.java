package dev.heddle.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Flash's memory is linear in the sequence length: shown in a JVM of its own with a 1 GiB heap. */
class LongSequenceTest {
  private static final int SEQLEN = 32768;

  /** Bytes that one fp32 score matrix of that length takes: four times the heap. */
  private static final long SCORES = 4L * SEQLEN * SEQLEN;

  @Test
  @Timeout(value = 5, unit = TimeUnit.MINUTES)
  void flashRunsWhereTheScoresWouldNotFit(@TempDir Path folder)
      throws IOException, InterruptedException {
    Path json = folder.resolve("long.json");
    Path log = folder.resolve("log");
    List<String> command =
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx1g",
            "--enable-native-access=ALL-UNNAMED",
            "--add-modules=jdk.incubator.vector",
            "-cp",
            System.getProperty("java.class.path"),
            Main.class.getName(),
            "compare",
            "--shape",
            "1,1,1," + SEQLEN + "," + SEQLEN + ",64,64",
            "--backend",
            "vector",
            "--json",
            json.toString());
    Process process =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    int exit = process.waitFor();
    String printed = Files.readString(log, StandardCharsets.UTF_8);
    assertThat(exit).as(printed).isZero();
    for (JsonNode result : new ObjectMapper().readTree(json.toFile()).get("results")) {
      if (result.get("algorithm").asText().equals("flash")) {
        assertThat(result.get("verdict").asText()).as(printed).isEqualTo("pass");
        assertThat(result.get("scratchBytes").asLong()).isLessThan(SCORES / 128);
      } else {
        assertThat(result.get("verdict").asText()).as(printed).isEqualTo("refused");
        assertThat(result.get("reason").asText()).startsWith("deviceMemory: ");
      }
    }
  }
}
