package dev.heddle.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Blocks;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionOptions.Dropout;
import dev.heddle.core.AttentionOptions.ScoreStage;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import dev.heddle.lab.files.NpyFile;
import dev.heddle.reference.Precision;
import dev.heddle.reference.ScalarOperations;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code run} with masks, lengths, slopes and sinks from files. */
class ScoreOptionsTest {
  private static final AttentionShape SHAPE = new AttentionShape(2, 4, 2, 9, 13, 8, 6);
  private static final String FILES =
      "run --q DIR/q.npy --k DIR/k.npy --v DIR/v.npy --out DIR/o.npy";

  @TempDir private Path folder;

  private final Map<String, HostTensor> tensors = new HashMap<>();

  @BeforeEach
  void files() {
    put("q", HostTensor.gaussian(SHAPE.q(), DType.FP32, 1));
    put("k", HostTensor.gaussian(SHAPE.k(), DType.FP32, 2));
    put("v", HostTensor.gaussian(SHAPE.v(), DType.FP32, 3));
    put("key_lengths", HostTensor.of(Shape.of(2), new int[] {13, 5}));
    put("alibi_slopes", HostTensor.of(Shape.of(4), 0.5f, 0.25f, 0.125f, 0));
    put("sinks", HostTensor.gaussian(Shape.of(4), DType.FP32, 4));
    put("bias", HostTensor.gaussian(Shape.of(1, 4, 9, 13), DType.FP32, 5));
    put("mask", everyThirdHidden(Shape.of(9, 13)));
    put("block_mask", everyThirdHidden(Shape.of(2, 1, 3, 4)));
    put("long", HostTensor.of(Shape.of(2), new int[] {13, 14}));
    put("nan", HostTensor.of(Shape.of(4), 0, Float.NaN, 0, 0));
  }

  private void put(String name, HostTensor tensor) {
    tensors.put(name, tensor);
    NpyFile.write(folder.resolve(name + ".npy"), tensor);
  }

  private static HostTensor everyThirdHidden(Shape shape) {
    HostTensor mask = HostTensor.zeros(shape, DType.BOOL);
    for (int i = 0; i < mask.size(); i++) {
      mask.set(i, i % 3);
    }
    return mask;
  }

  @Test
  void filesAndNumbersBecomeOptions() {
    AttentionOptions options =
        AttentionOptions.NONE
            .withKeyLengths(true)
            .withMask(Broadcast.MATRIX)
            .withBlocks(new Blocks(3, 4, true, false))
            .withAlibi(true)
            .withSoftcap(2)
            .withSinks(true)
            .withDropout(new Dropout(0.25f, 7))
            .withScoreOutput(ScoreStage.BIASED);
    expect(
        options,
        " --key-lengths DIR/key_lengths.npy --attn-mask DIR/mask.npy --block-mask"
            + " DIR/block_mask.npy --block-size 3,4 --alibi-slopes DIR/alibi_slopes.npy --softcap 2"
            + " --sinks DIR/sinks.npy --dropout 0.25,7 --scores DIR/s.npy --scores-stage biased");
    expect(
        AttentionOptions.NONE
            .withBias(new Broadcast(false, true, true))
            .withScoreOutput(ScoreStage.PROBABILITIES),
        " --attn-mask DIR/bias.npy --scores DIR/s.npy");
  }

  private void expect(AttentionOptions options, String flags) {
    Outcome outcome =
        Outcome.of(folder, (FILES + flags + " --backend reference --lse DIR/l.npy").split(" "));
    assertThat(outcome.exit()).as(outcome.err()).isZero();
    AttentionProblem problem = AttentionProblem.of(SHAPE).withOptions(options);
    Map<String, double[]> inputs = new HashMap<>();
    tensors.forEach((name, tensor) -> inputs.put(name, tensor.toDoubles()));
    Map<String, double[]> expected = new ScalarOperations(Precision.FP64).evaluate(problem, inputs);
    Map<String, String> files = Map.of("out", "o.npy", "lse", "l.npy", "score_output", "s.npy");
    files.forEach((tensor, file) -> {
      HostTensor got = NpyFile.read(folder.resolve(file));
      double[] exact = expected.get(tensor);
      assertThat(exact).isNotNull();
      for (int i = 0; i < got.size(); i++) {
        assertThat(got.get(i)).as("%s[%d]", tensor, i).isEqualTo((float) exact[i]);
      }
    });
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--softcap 0 | --softcap 0",
        "--softcap -2 | softcap = -2.0",
        "--dropout 1 | dropout = 1.0",
        "--dropout x | 'x' is no number",
        "--dropout 0.1,2,3 | a probability and perhaps a seed",
        "--key-lengths DIR/long.npy | key_lengths[1] = 14; it must be from 0 to 13",
        "--key-lengths DIR/sinks.npy | dtype '<f4' (float32); little-endian int32 ('<i4') is needed",
        "--key-lengths DIR/no.npy | no.npy: no such file",
        "--sinks DIR/key_lengths.npy | dtype '<i4' (int32)",
        "--sinks DIR/nan.npy | is NaN",
        "--alibi-slopes DIR/q.npy | this problem needs [4]",
        "--attn-mask DIR/q.npy | dimension 3 must be 13 here, not 8",
        "--attn-mask DIR/sinks.npy | 4 dimensions are needed, or 2",
        "--attn-mask DIR/block_mask.npy | dimension 2 must be 9 here (or 1), not 3",
        "--block-mask DIR/block_mask.npy | go together",
        "--block-mask DIR/block_mask.npy --block-size 3 | two sizes are needed",
        "--block-mask DIR/block_mask.npy --block-size 3,0 | both must be at least 1",
        "--block-mask DIR/block_mask.npy --block-size 2,4 | dimension 2 must be 5 here, not 3",
        "--scores-stage raw | goes with --scores",
        "--scores DIR/s.npy --scores-stage cooked | no such stage",
        "--scores DIR/o.npy | is named twice",
        "--scores DIR/sinks.npy --sinks DIR/sinks.npy | is named twice",
        "--scores DIR/no/s.npy | no folder",
      })
  void badInputIsOneLineThatNamesIt(String flags, String named) throws Exception {
    List<String> before = names();
    Outcome outcome = Outcome.of(folder, (FILES + " --backend reference " + flags).split(" "));
    assertThat(outcome.err()).startsWith("heddle: ").contains(named).doesNotContain("Exception");
    assertThat(outcome.err().lines()).hasSize(1);
    assertThat(outcome.exit()).isEqualTo(2);
    assertThat(names()).as("nothing was left behind").isEqualTo(before);
  }

  private List<String> names() throws Exception {
    try (var files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }
}
