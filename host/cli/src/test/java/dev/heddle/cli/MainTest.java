package dev.heddle.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.InstanceOfAssertFactories.STRING;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import dev.heddle.lab.files.NpyFile;
import dev.heddle.lab.files.SafetensorsFile;
import dev.heddle.reference.PlantedBackend.Fault;
import dev.heddle.reference.Precision;
import dev.heddle.reference.ScalarOperations;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The commands as users type them, on the reference backend and on devices with planted faults. */
class MainTest {
  private static final AttentionShape SHAPE = new AttentionShape(1, 4, 2, 9, 13, 8, 6);

  @TempDir private Path folder;

  private Outcome heddle(String... arguments) {
    return Outcome.of(folder, arguments);
  }

  private Outcome heddle(String line) {
    return heddle(line.split(" "));
  }

  @BeforeEach
  void files() {
    NpyFile.write(folder.resolve("q.npy"), HostTensor.gaussian(SHAPE.q(), DType.FP32, 1));
    NpyFile.write(folder.resolve("k.npy"), HostTensor.gaussian(SHAPE.k(), DType.FP32, 2));
    NpyFile.write(folder.resolve("v.npy"), HostTensor.gaussian(SHAPE.v(), DType.FP32, 3));
    NpyFile.write(
        folder.resolve("k3.npy"), HostTensor.gaussian(Shape.of(1, 3, 13, 8), DType.FP32, 4));
    NpyFile.write(
        folder.resolve("k9.npy"), HostTensor.gaussian(Shape.of(1, 2, 13, 9), DType.FP32, 4));
    NpyFile.write(
        folder.resolve("flat.npy"), HostTensor.gaussian(Shape.of(4, 9, 8), DType.FP32, 4));
    NpyFile.write(folder.resolve("half.npy"), HostTensor.gaussian(SHAPE.q(), DType.FP16, 1));
    NpyFile.write(folder.resolve("big.npy"), HostTensor.zeros(SHAPE.q(), DType.FP32).fill(70_000));
    HostTensor nan = HostTensor.gaussian(SHAPE.q(), DType.FP32, 5);
    nan.set(17, Float.NaN);
    NpyFile.write(folder.resolve("nan.npy"), nan);
  }

  /** What is wrong with the input, and what the one line has to name. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "compare --shape 1,2,3 | 3 sizes",
        "compare --shape 1,1,1,x,1,1,1 | 'x' is not a whole number",
        "compare --shape 1,1,1,0,8,8,8 | seqlenQ = 0",
        "compare --shape 1,4,3,8,8,8,8 | headsQ = 4",
        "compare --shape 1,1,1,8,8,8,8 --options softcap_x | softcap_x",
        "compare --shape 1,1,1,8,8,8,8 --options alibi --hide most | --hide goes with --options",
        "compare --shape 1,1,1,8,8,8,8 --options mask_qk --hide all | all",
        "compare --options alibi | --options goes with --shape",
        "compare --shape 1,1,1,2000000000,8,8,8 | seqlenQ = 2000000000",
        "compare --shape 1,99,99,1000000,8,64,64 | 6336000000 elements",
        "compare --shape 1,1,1,8,8,8,8 --layer 1 | --shape excludes",
        "compare --layer 6 | layer = 6",
        "compare --layer one | 'one' is not an int",
        "compare --causal --window 1,1 | exclude each other",
        "compare --causal=diagonal | 'diagonal' is no alignment",
        "compare --window 1 | two sides",
        "compare --window -2,1 | -2 is no side",
        "compare --window 1,1,left | 'left' is no alignment",
        "compare --backend metal | no backend 'metal'",
        "compare --backend planted --device 99 | no device 99",
        "compare --backend reference --algorithm quick | 'quick'; there are naive, staged, flash",
        "compare --json DIR/none/x.json | no folder",
        "compare --seed 5 | --seed goes with --shape",
        "compare --stage values | --stage goes with --shape",
        "compare --peer true | --peer goes with --shape",
        "compare --rounds 0 | rounds = 0",
        "gpu-report DIR/none --out DIR/r.json | no such file",
        "compare --shape 1,1,1,8,8,8,8 --stage middle | 'middle'",
        "compare --dtype fp8 | 'fp8' is no storage type; fp32, fp16 and bf16 are",
        "run --q DIR/half.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o.npy | q is fp16 and k is fp32",
        "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o.npy --dtype bf16 | .npy has no bf16",
        "run --q DIR/big.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o --dtype fp16 | 70000.0, beyond the range",
        "conform --suite slow | there is no suite 'slow'; there are quick, full",
        "conform --policy numpy | there is no policy 'numpy'; there are flash-attention, pytorch, onnx, ggml, all",
        "conform --case attention/none | there is no case 'attention/none'",
        "conform --case heads/1,1,1,1 --suite quick | --case excludes --suite",
        "conform --dtype fp32,fp8 | 'fp8' is no storage type",
        "conform --list --json DIR/c.json | --list runs nothing",
        "conform --junit DIR/none/c.xml | no folder",
        "conform --html DIR | is a directory",
        "conform --junit DIR/c --json DIR/c | is named twice",
        "conform --backend metal | no backend 'metal'",
        "conform --backend planted --device 99 | no device 99",
        "conform --case heads/1,1,1,1 --algorithm quick | 'quick'; there are",
        "compare --window 1,x | 'x' is not a whole number",
        "compare --shape 1,1,1,33554432,1,1,100 | out [1, 1, 33554432, 100] has 3355443200 elements",
        "compare --frob | --frob",
        "frob | frob",
        "run --out DIR/o.npy | --q, --k and --v are all needed",
        "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy | --out",
        "run --in DIR/a.safetensors --q DIR/q.npy --out DIR/o.npy | --in excludes",
        "run --in DIR/a.safetensors --out DIR/o --lse DIR/l.npy | --lse goes with .npy",
        "run --in DIR/a.safetensors --out DIR/o | a.safetensors: no such file",
        "run --q DIR/no.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o.npy | no.npy: no such file",
        "run --q DIR/flat.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o.npy | 3 dimensions",
        "run --q DIR/q.npy --k DIR/k3.npy --v DIR/v.npy --out DIR/o.npy | 3 is not 2",
        "run --q DIR/q.npy --k DIR/k9.npy --v DIR/v.npy --out DIR/o.npy | 8 is not 9",
        "run --q DIR/nan.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o.npy | q[0, 0, 2, 1] is NaN",
        "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy --out DIR/no/o.npy | no folder",
        "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o --lse DIR/o | is named twice",
        "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o --scale 1e50 | --scale 1.0E50",
        "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy --out DIR/q.npy | is named twice",
        "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o --algorithm quick | 'quick'",
      })
  void badInputIsOneLineThatNamesIt(String line, String named) throws IOException {
    List<String> before = names();
    Outcome outcome = heddle(line);
    assertThat(outcome.err()).startsWith("heddle: ").contains(named).doesNotContain("Exception");
    assertThat(outcome.err().lines()).hasSize(1);
    assertThat(outcome.exit()).isEqualTo(2);
    assertThat(names()).as("nothing was left behind").isEqualTo(before);
  }

  @Test
  void aReportFailsWithAStepThatGaveNothing() throws IOException {
    Path pieces = Files.createDirectory(folder.resolve("pieces"));
    String report = "gpu-report DIR/pieces --out DIR/report.json";
    assertThat(heddle(report).exit()).as("nothing was run").isEqualTo(3);
    Files.writeString(pieces.resolve("001.command"), "compare --shape 1,1,1,8,8,8,8");
    Files.writeString(pieces.resolve("001.failed"), "ended with exit code 134: SIGABRT");
    Outcome comparison = heddle(report);
    assertThat(comparison.exit()).isEqualTo(1);
    assertThat(comparison.out()).contains("ended with exit code 134: SIGABRT");
    Files.delete(pieces.resolve("001.command"));
    Files.writeString(pieces.resolve("contract.failed"), "stopped after 3600 s: ");
    Outcome contract = heddle(report);
    assertThat(contract.exit()).isEqualTo(1);
    assertThat(contract.out()).contains("contract: gave nothing: stopped after 3600 s");
    Files.writeString(pieces.resolve("contract"), "promise\theads\t4\t0\t0\n");
    assertThat(heddle(report).exit()).as("the contract alone was kept").isEqualTo(0);
  }

  @Test
  void noCommandIsBadInput() {
    assertThat(heddle(new String[0]).exit()).isEqualTo(2);
  }

  @Test
  void compareTakesOptionsAndSaysWhichKeysTheyHide() {
    Outcome outcome =
        heddle(
            "compare --shape 2,4,2,9,13,8,6 --backend reference --hide most"
                + " --options key_lengths+mask_hqk+blocks_2x4+alibi+softcap_3+sinks+dropout_0.25_9");
    assertThat(outcome.exit()).as(outcome.err()).isZero();
    assertThat(outcome.out())
        .contains(
            "mask none, key_lengths+mask_hqk+blocks_2x4+alibi+softcap_3.0+sinks+dropout_0.25_9 on"
                + " normal random numbers, seed 0, hiding most")
        .contains("pass");
  }

  @Test
  void runComputesWhatTheOracleComputes() {
    Outcome outcome =
        heddle(
            "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o.npy --lse DIR/l.npy"
                + " --causal=bottom-right --scale 0.5 --backend reference");
    assertThat(outcome.exit()).isZero();
    assertThat(outcome.err()).contains("reference:0", ": pass");
    AttentionProblem problem =
        AttentionProblem.of(SHAPE)
            .withScale(0.5f)
            .withMask(
                dev.heddle.core.BandMask.causal(dev.heddle.core.BandMask.Alignment.BOTTOM_RIGHT));
    Map<String, double[]> expected =
        new ScalarOperations(Precision.FP64)
            .evaluate(
                problem,
                Map.of("q", doubles("q.npy"), "k", doubles("k.npy"), "v", doubles("v.npy")));
    assertThat(doubles("o.npy")).containsExactly(narrowed(expected.get("out")));
    assertThat(doubles("l.npy")).containsExactly(narrowed(expected.get("lse")));
    assertThat(NpyFile.read(folder.resolve("o.npy")).shape()).isEqualTo(SHAPE.out());
    assertThat(NpyFile.read(folder.resolve("l.npy")).shape()).isEqualTo(SHAPE.lse());
  }

  @Test
  void runOnSafetensorsGivesTheSame() {
    SafetensorsFile.write(
        folder.resolve("in.safetensors"),
        Map.of(
            "q", NpyFile.read(folder.resolve("q.npy")),
            "k", NpyFile.read(folder.resolve("k.npy")),
            "v", NpyFile.read(folder.resolve("v.npy"))));
    assertThat(
            heddle("run --in DIR/in.safetensors --out DIR/o.safetensors --backend reference")
                .exit())
        .isZero();
    assertThat(
            heddle(
                    "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o.npy --lse DIR/l.npy"
                        + " --backend reference")
                .exit())
        .isZero();
    Map<String, HostTensor> results =
        SafetensorsFile.read(folder.resolve("o.safetensors"), List.of("out", "lse"));
    assertThat(results.get("out").toDoubles()).containsExactly(doubles("o.npy"));
    assertThat(results.get("lse").toDoubles()).containsExactly(doubles("l.npy"));
  }

  @Test
  void runWritesNothingThatDoesNotPass() throws IOException {
    List<String> before = names();
    Outcome outcome =
        heddle(
            "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o.npy --backend planted"
                + " --device "
                + Fault.WRONG_VALUE.ordinal());
    assertThat(outcome.exit()).isEqualTo(1);
    assertThat(outcome.err()).contains(": fail: out[0, 0, 0, 0]", "nothing was written");
    assertThat(names()).isEqualTo(before);
  }

  @Test
  void runThatNothingSupportsIsSaid() {
    Outcome outcome =
        heddle(
            "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o.npy --backend planted"
                + " --device "
                + Fault.REFUSES.ordinal());
    assertThat(outcome.exit()).isEqualTo(3);
    assertThat(outcome.err()).contains("no device supports this problem");
  }

  @Test
  void compareExitCodesFollowTheVerdicts() {
    String command = "compare --shape 1,2,1,9,13,8,6 --backend planted --device ";
    assertThat(heddle(command + Fault.NONE.ordinal()).exit()).isZero();
    assertThat(heddle(command + Fault.NAN.ordinal()).exit()).isEqualTo(1);
    assertThat(heddle(command + Fault.REFUSES.ordinal()).exit()).isEqualTo(3);
    Outcome all = heddle("compare --shape 1,2,1,9,13,8,6 --backend planted");
    assertThat(all.exit()).isEqualTo(1);
    assertThat(all.out()).contains("fault EMULATED [emulated]", "fault NONE [CPU]");
    // A JVM has no device clock: the share of the peak is by the time.
    assertThat(row(all, Fault.NONE))
        .containsPattern(" pass .* (ns|us|ms) +- +[0-9.]+ +([0-9]+%|-)$");
    assertThat(all.out()).containsPattern("TIME +ON DEVICE +GFLOP/S +OF PEAK");
    assertThat(row(all, Fault.EMULATED))
        .contains(" pass ", " emulated ")
        .doesNotContain(" ms", " us", "%");
    for (Fault fault :
        List.of(
            Fault.WRONG_VALUE,
            Fault.NAN,
            Fault.NOT_WRITTEN,
            Fault.WRONG_WHEN_WARM,
            Fault.BREAKS,
            Fault.THROWS,
            Fault.DIES)) {
      assertThat(row(all, fault)).contains(" fail ").doesNotContain(" ms").doesNotContain(" us");
    }
    assertThat(all.out())
        .contains("attention_naive fail: plantedLaunch on planted failed: PLANTED_ILLEGAL_ADDRESS");
    assertThat(all.out().lines().filter(line -> line.contains("fault DIES")))
        .as("naive has killed the device; flash runs on it")
        .last()
        .asString()
        .contains("attention_flash", " pass ", "%");
  }

  /** A fault's first line in the table. */
  private static String row(Outcome outcome, Fault fault) {
    return outcome
        .out()
        .lines()
        .filter(l -> l.contains("fault " + fault))
        .findFirst()
        .orElseThrow();
  }

  @ParameterizedTest
  @CsvSource({"reference, fp16", "reference, bf16", "vector, fp16", "vector, bf16"})
  void compareInANarrowTypeHasNoPeak(String backend, String dtype) {
    Outcome outcome =
        heddle("compare --shape 1,4,2,9,13,8,6 --backend %s --dtype %s".formatted(backend, dtype));
    assertThat(outcome.exit()).isZero();
    assertThat(outcome.out())
        .contains("attention 1,4,2,9,13,8,6 " + dtype, "time: median", " pass ", backend + ":0 ")
        .doesNotContain("peak: ", "%");
  }

  @Test
  void runInHalvesGivesHalvesThatTheOracleWouldRoundTo() {
    String files = "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o.npy --lse DIR/l.npy";
    Outcome outcome = heddle(files + " --backend reference --dtype fp16");
    assertThat(outcome.exit()).isZero();
    HostTensor out = NpyFile.read(folder.resolve("o.npy"));
    assertThat(out.dtype()).isEqualTo(DType.FP16);
    assertThat(NpyFile.read(folder.resolve("l.npy")).dtype()).isEqualTo(DType.FP32);
    Map<String, double[]> rounded = new HashMap<>();
    for (String name : List.of("q", "k", "v")) {
      HostTensor half = NpyFile.read(folder.resolve(name + ".npy")).rounded(DType.FP16);
      NpyFile.write(folder.resolve(name + "16.npy"), half);
      rounded.put(name, half.toDoubles());
    }
    double[] exact =
        new ScalarOperations(Precision.FP64)
            .evaluate(AttentionProblem.of(SHAPE), rounded)
            .get("out");
    assertThat(out.toDoubles())
        .containsExactly(Arrays.stream(exact).map(v -> DType.FP16.round((float) v)).toArray());
    assertThat(
            heddle(
                    "run --q DIR/q16.npy --k DIR/k16.npy --v DIR/v16.npy --out DIR/o16.npy"
                        + " --backend reference")
                .exit())
        .isZero();
    assertThat(doubles("o16.npy")).as("halves given").containsExactly(out.toDoubles());
  }

  @Test
  void runInBf16GoesThroughSafetensors() {
    Map<String, HostTensor> inputs = new HashMap<>();
    for (String name : List.of("q", "k", "v")) {
      HostTensor wide = NpyFile.read(folder.resolve(name + ".npy"));
      inputs.put(name, name.equals("v") ? wide.rounded(DType.BF16) : wide);
    }
    SafetensorsFile.write(folder.resolve("in.safetensors"), inputs);
    String command = "run --in DIR/in.safetensors --out DIR/o.safetensors --backend reference";
    Outcome mixed = heddle(command);
    assertThat(mixed.exit()).isEqualTo(2);
    assertThat(mixed.err()).contains("q is fp32 and v is bf16: one type is needed; --dtype");
    assertThat(heddle(command + " --dtype bf16").exit()).isZero();
    Map<String, HostTensor> results =
        SafetensorsFile.read(folder.resolve("o.safetensors"), List.of("out", "lse"));
    assertThat(results.get("out").dtype()).isEqualTo(DType.BF16);
    assertThat(results.get("lse").dtype()).isEqualTo(DType.FP32);
  }

  @Test
  void compareReadsASentenceByDefaultAndWritesJson() throws IOException {
    Outcome outcome =
        heddle(
            "compare",
            "--text",
            "Warp and weft.",
            "--layer",
            "2",
            "--backend",
            "reference",
            "--json",
            "DIR/c.json");
    assertThat(outcome.exit()).isZero();
    assertThat(outcome.out()).contains("all-MiniLM-L6-v2, layer 2", "attention_flash", "pass");
    JsonNode results =
        new ObjectMapper().readTree(Files.readAllBytes(folder.resolve("c.json"))).get("results");
    assertThat(results).hasSize(3);
    for (JsonNode result : results) {
      assertThat(result.get("verdict").asText()).isEqualTo("pass");
      assertThat(result.get("medianNs").asLong()).isPositive();
      assertThat(result.get("errorRatio").asDouble()).isBetween(0.0, 1.0);
    }
  }

  @Test
  void textThatIsTooLongIsCutAloud() {
    Outcome outcome =
        heddle("compare", "--text", "weft ".repeat(700), "--backend", "planted", "--device", "0");
    assertThat(outcome.exit()).isZero();
    assertThat(outcome.out()).contains("the text has 1402 tokens; the model takes 512");
  }

  @Test
  void theBackendThatTheLauncherLeftOutSaysWhatIsMissing() {
    String missing =
        "tornado%s unavailable: no folder; sdk install tornadovm, or set TORNADOVM_HOME";
    System.setProperty("heddle.tornado.missing", "no folder");
    try {
      assertThat(heddle("devices").out().lines())
          .filteredOn(line -> line.startsWith("tornado"))
          .singleElement(STRING)
          .startsWith(missing.formatted(":"));
      Outcome refused = heddle("compare --shape 1,1,1,4,4,4,4 --backend tornado");
      assertThat(refused.exit()).isEqualTo(3);
      assertThat(refused.out()).isEmpty();
      assertThat(refused.err().lines())
          .singleElement(STRING)
          .startsWith("heddle: " + missing.formatted(" is"));
      String others = heddle("compare --shape 1,1,1,4,4,4,4 --backend reference").out();
      assertThat(others).contains(" pass ").doesNotContain("tornado");
    } finally {
      System.clearProperty("heddle.tornado.missing");
    }
    assertThat(heddle("devices").out()).as("nothing was left out").doesNotContain("tornado");
  }

  @Test
  void devicesListsEveryBackend() {
    Outcome outcome = heddle("devices");
    assertThat(outcome.exit()).isZero();
    assertThat(outcome.out()).contains("reference:0", "vector", "opencl", "planted:0");
  }

  @ParameterizedTest
  @ValueSource(strings = {"--help", "compare --help", "run --help", "devices --help"})
  void helpHasExamples(String line) {
    Outcome outcome = heddle(line);
    assertThat(outcome.exit()).isZero();
    assertThat(outcome.out()).contains("Examples:", "heddle ");
  }

  @Test
  void helpDocumentsExitCodes() {
    assertThat(heddle("--help").out())
        .contains("Exit codes:", "all verdicts pass", "a verdict failed", "bad input", "could run");
  }

  @Test
  void completionIsAScript() {
    Outcome outcome = heddle("generate-completion");
    assertThat(outcome.exit()).isZero();
    assertThat(outcome.out()).startsWith("#!/usr/bin/env bash").contains("--causal", "--backend");
  }

  private double[] doubles(String name) {
    return NpyFile.read(folder.resolve(name)).toDoubles();
  }

  private static double[] narrowed(double[] values) {
    return Arrays.stream(values).map(v -> (float) v).toArray();
  }

  private List<String> names() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(f -> f.getFileName().toString()).sorted().toList();
    }
  }
}
