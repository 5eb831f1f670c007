package dev.heddle.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.heddle.core.AttentionOptions.Blocks;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionOptions.Dropout;
import dev.heddle.core.AttentionOptions.ScoreStage;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AttentionOptionsTest {
  private static final AttentionShape SHAPE = new AttentionShape(2, 4, 2, 5, 7, 8, 6);
  private static final AttentionOptions EVERY =
      AttentionOptions.NONE
          .withKeyLengths(true)
          .withMask(Broadcast.FULL)
          .withBias(new Broadcast(true, false, false))
          .withBlocks(new Blocks(2, 3, false, true))
          .withAlibi(true)
          .withSoftcap(30)
          .withSinks(true)
          .withDropout(new Dropout(0.25f, 9))
          .withScoreOutput(ScoreStage.BIASED);

  @Test
  void eachOptionHasItsTensors() {
    AttentionProblem problem = AttentionProblem.of(SHAPE).withOptions(EVERY);
    assertThat(problem.inputs())
        .containsExactly(
            new TensorSpec("q", SHAPE.q(), DType.FP32),
            new TensorSpec("k", SHAPE.k(), DType.FP32),
            new TensorSpec("v", SHAPE.v(), DType.FP32),
            new TensorSpec("key_lengths", Shape.of(2), DType.INT32),
            new TensorSpec("mask", Shape.of(2, 4, 5, 7), DType.BOOL),
            new TensorSpec("bias", Shape.of(2, 1, 1, 7), DType.FP32),
            new TensorSpec("block_mask", Shape.of(1, 4, 3, 3), DType.BOOL),
            new TensorSpec("alibi_slopes", Shape.of(4), DType.FP32),
            new TensorSpec("sinks", Shape.of(4), DType.FP32));
    assertThat(problem.outputs())
        .extracting(TensorSpec::name)
        .containsExactly("out", "lse", "score_output");
    assertThat(problem.withDtype(DType.BF16).inputs().get(5).dtype()).isEqualTo(DType.FP32);
    assertThat(new AttentionStage(AttentionStage.Stage.SCORES, problem).inputs()).hasSize(2);
    assertThat(new AttentionStage(AttentionStage.Stage.SOFTMAX, problem).inputs())
        .extracting(TensorSpec::name)
        .containsExactly(
            "scores", "key_lengths", "mask", "bias", "block_mask", "alibi_slopes", "sinks");
    assertThat(new AttentionStage(AttentionStage.Stage.VALUES, problem).inputs())
        .extracting(TensorSpec::name)
        .containsExactly("probabilities", "v", "key_lengths", "mask", "bias", "block_mask");
  }

  @Test
  void kindsAndNamesFollowFromTheValues() {
    assertThat(EVERY.kinds()).isEqualTo(AttentionOption.ALL);
    assertThat(EVERY.withoutScoreOutput().kinds()).isEqualTo(AttentionOption.WITHOUT_SCORES);
    assertThat(AttentionOptions.NONE.kinds()).isEmpty();
    assertThat(AttentionOptions.NONE.isNone()).isTrue();
    assertThat(EVERY.hidesKeys()).isTrue();
    assertThat(AttentionOptions.NONE.withSinks(true).hidesKeys()).isFalse();
    assertThat(EVERY)
        .hasToString(
            "key_lengths+mask_bhqk+bias_bk+blocks_2x3_h+alibi+softcap_30.0+sinks"
                + "+dropout_0.25_9+scores_biased");
    assertThat(AttentionOptions.NONE).hasToString("plain");
  }

  @Test
  void aRungRefusesWhatItDoesNotDeclare() {
    AttentionProblem problem = AttentionProblem.of(SHAPE);
    AttentionProblem capped =
        problem.withOptions(AttentionOptions.NONE.withSoftcap(5).withSinks(true));
    assertThat(Refusal.unlessOptions(Set.of(), problem, "flash")).isEmpty();
    assertThat(Refusal.unlessOptions(AttentionOption.ALL, capped, "flash")).isEmpty();
    assertThat(Refusal.unlessOptions(Set.of(AttentionOption.SINKS), capped, "flash"))
        .contains(new Refusal("softcap", "flash of attention has no option softcap; it has sinks"));
    AttentionStage stage = new AttentionStage(AttentionStage.Stage.SOFTMAX, capped);
    assertThat(Refusal.unlessOptions(Set.of(), stage, "naive"))
        .contains(
            new Refusal(
                "softcap", "naive of attention_softmax has no option softcap; it has none"));
  }

  @Test
  void malformedOptionsAreNamed() {
    assertThatThrownBy(() -> new Dropout(1, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("dropout = 1.0; it must be at least 0 and below 1");
    assertThatThrownBy(() -> new Dropout(Float.NaN, 0)).hasMessageContaining("dropout = NaN");
    assertThatThrownBy(() -> AttentionOptions.NONE.withSoftcap(-1))
        .hasMessage("softcap = -1.0; it must be a finite number above 0, or 0 for none");
    assertThatThrownBy(() -> AttentionOptions.NONE.withSoftcap(Float.NaN))
        .hasMessageContaining("softcap = NaN");
    assertThatThrownBy(() -> new Blocks(0, 4, false, false))
        .hasMessage("blocks of 0 x 4 scores; both must be at least 1");
    assertThatThrownBy(() -> AttentionProblem.of(SHAPE).withDtype(DType.INT32))
        .hasMessage("dtype int32; operands are fp32, fp16 or bf16");
  }

  @Test
  void aKeyLengthBeyondTheTensorIsNamedBeforeAnythingRuns() {
    AttentionProblem problem =
        AttentionProblem.of(SHAPE).withOptions(AttentionOptions.NONE.withKeyLengths(true));
    for (int wrong : new int[] {8, -1}) {
      Map<String, HostTensor> inputs = new HashMap<>();
      for (TensorSpec spec : problem.inputs()) {
        inputs.put(spec.name(), HostTensor.zeros(spec.shape(), spec.dtype()));
      }
      inputs.put("key_lengths", HostTensor.of(Shape.of(2), new int[] {7, wrong}));
      assertThatThrownBy(
              () -> Chain.of(problem).requireValues("key_lengths", inputs.get("key_lengths")))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("key_lengths[1] = " + wrong + "; it must be from 0 to 7, the number of keys");
    }
    Chain.of(problem).requireValues("key_lengths", HostTensor.of(Shape.of(2), new int[] {7, 0}));
  }

  @Test
  void optionsAreTheirText() {
    List<AttentionOptions> all = new ArrayList<>(List.of(AttentionOptions.NONE, EVERY));
    for (AttentionOption kind : AttentionOption.values()) {
      AttentionOptions fewer = EVERY.without(kind);
      assertThat(fewer.kinds()).hasSize(8).doesNotContain(kind);
      all.add(fewer);
      AttentionOptions alone = EVERY;
      for (AttentionOption other : AttentionOption.values()) {
        alone = other == kind ? alone : alone.without(other);
      }
      assertThat(alone.kinds()).containsExactly(kind);
      all.add(alone);
    }
    all.add(AttentionOptions.NONE.withBlocks(new Blocks(16, 5, true, false)).withSoftcap(1e-10f));
    all.add(AttentionOptions.NONE.withDropout(new Dropout(1e-7f, Long.MIN_VALUE)));
    for (ScoreStage stage : ScoreStage.values()) {
      all.add(AttentionOptions.NONE.withScoreOutput(stage).withMask(Broadcast.MATRIX));
    }
    for (AttentionOptions options : all) {
      assertThat(AttentionOptions.parse(options.toString())).isEqualTo(options);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "plain+sinks",
        "sinks+",
        "sinks+sinks",
        "mask_k+mask_qk",
        "mask_",
        "mask_khq",
        "bias_q",
        "blocks_0x4",
        "blocks_4",
        "blocks_9999999999x1",
        "softcap_0.0",
        "softcap_-3.0",
        "softcap_1e",
        "softcap_.-.",
        "softcap_NaN",
        "dropout_1.0_3",
        "dropout_0.5",
        "dropout_0.5_99999999999999999999",
        "scores_best",
        "Alibi"
      })
  void whatIsNoOptionIsSaidSo(String text) {
    assertThatThrownBy(() -> AttentionOptions.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageNotContainingAny("\n", "null");
  }

  /** Known answers that the generator's authors publish with it. */
  @Test
  void philoxGivesTheKnownAnswers() {
    int[] words = new int[4];
    Philox.words(0, 0, 0, 0, 0, words);
    assertThat(words).containsExactly(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
    Philox.words(-1, -1, -1, -1, -1, words);
    assertThat(words).containsExactly(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd);
    Philox.words(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0x299f31d0_a4093822L, words);
    assertThat(words).containsExactly(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1);
  }

  @Test
  void dropoutKeepsItsShareWhereverARowBegins() {
    Dropout dropout = new Dropout(0.3f, 12345);
    float[] all = new float[40_000];
    dropout.factors(all, 0, 3, 5);
    int dropped = 0;
    for (float factor : all) {
      dropped += factor == 0 ? 1 : 0;
    }
    // Four standard errors.
    assertThat(dropped / 40_000.0).isCloseTo(0.3, within(0.0092));
    assertThat(Set.copyOf(boxed(all))).containsExactlyInAnyOrder(0f, 1 / (1 - 0.3f));
    float[] part = new float[100];
    dropout.factors(part, 777, 3, 5);
    assertThat(boxed(part)).isEqualTo(boxed(all).subList(777, 877));
    float[] other = new float[100];
    dropout.factors(other, 777, 4, 5);
    assertThat(boxed(other)).isNotEqualTo(boxed(part));
  }

  private static List<Float> boxed(float[] values) {
    List<Float> boxed = new ArrayList<>();
    for (float value : values) {
      boxed.add(value);
    }
    return boxed;
  }
}
