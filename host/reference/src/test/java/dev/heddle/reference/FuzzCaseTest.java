package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.TensorSpec;
import dev.heddle.reference.OptionValues.Hiding;
import dev.heddle.reference.OptionValues.Size;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FuzzCaseTest {
  private static final List<FuzzCase> CASES =
      LongStream.range(0, 400).mapToObj(i -> FuzzCase.draw(5, i)).toList();

  /** Written down once: another machine, another version of Java, has to draw the same. */
  @Test
  void aSeedDrawsTheSameProblemsAndValuesEverywhere() {
    assertThat(LongStream.range(0, 3).mapToObj(i -> FuzzCase.draw(1, i).toString()))
        .containsExactly(
            "fp16/1,1,1,65,9,64,64/none/scale=0.125/one-hot,mixed,normal/384358",
            "fp32/2,4,2,118,15,32,32/window-0,10-bottom-right/scale=0.0/tiny,one-hot,normal/55105",
            "bf16/1,4,2,1,101,64,64/window-1,23-bottom-right/scale=0.125/ones,constant,normal/591848");
    int hash = 0;
    for (FuzzCase testCase : CASES) {
      Map<String, HostTensor> tensors = testCase.tensors();
      for (TensorSpec spec : testCase.problem().inputs()) {
        HostTensor tensor = tensors.get(spec.name());
        hash = 31 * hash + Arrays.hashCode(tensor.toDoubles());
      }
    }
    assertThat(hash).isEqualTo(981_421_352);
  }

  @Test
  void aCaseIsItsText() {
    for (FuzzCase testCase : CASES) {
      assertThat(FuzzCase.parse(testCase.toString())).isEqualTo(testCase);
      assertThat(testCase.toString()).matches("[a-z0-9,/=.E_+-]+");
    }
  }

  @Test
  void everyKindIsDrawn() {
    Set<Feature> features = EnumSet.noneOf(Feature.class);
    for (FuzzCase testCase : CASES) {
      features.addAll(ConformanceCase.of("x", testCase.problem(), CaseInputs.NORMAL).features());
    }
    assertThat(features)
        .contains(
            Feature.UNMASKED,
            Feature.CAUSAL,
            Feature.WINDOW,
            Feature.EMPTY_ROWS,
            Feature.GROUPED_HEADS,
            Feature.UNEQUAL_HEAD_DIMS,
            Feature.UNEQUAL_LENGTHS,
            Feature.KEY_LENGTHS,
            Feature.TENSOR_MASK,
            Feature.BIAS,
            Feature.ALIBI,
            Feature.SOFTCAP,
            Feature.SINKS,
            Feature.BLOCK_MASK,
            Feature.DROPOUT,
            Feature.SCORE_OUTPUT,
            Feature.DIFFICULT_VALUES);
    assertThat(CASES.stream().filter(c -> c.problem().options().isNone()).count())
        .isBetween(150L, 250L);
    for (Hiding hiding : Hiding.values()) {
      assertThat(CASES).anyMatch(c -> c.optionValues().hiding() == hiding);
    }
    for (Size size : Size.values()) {
      assertThat(CASES).anyMatch(c -> c.optionValues().size() == size);
    }
    for (FuzzValues values : FuzzValues.values()) {
      assertThat(CASES).anyMatch(c -> c.q() == values);
      assertThat(CASES).anyMatch(c -> c.k() == values);
      assertThat(CASES).anyMatch(c -> c.v() == values);
    }
    assertThat(CASES.stream().map(FuzzCase::dtype).collect(Collectors.toSet()))
        .containsExactlyInAnyOrderElementsOf(DType.FLOATING);
    assertThat(CASES).anyMatch(c -> c.problem().softmaxScale() == 0);
    assertThat(CASES).anyMatch(c -> c.problem().softmaxScale() < 0);
  }

  /** What overflows fp32 has no right answer. */
  @Test
  void everyValueIsFiniteAndEveryLogitIs() {
    for (FuzzCase testCase : CASES) {
      WorstCase bound = WorstCase.of(testCase.problem(), testCase.tensors());
      testCase
          .tensors()
          .forEach((name, tensor) -> {
            for (int i = 0; i < tensor.size(); i++) {
              float value = tensor.get(i);
              boolean hides = name.equals("bias") && value == Float.NEGATIVE_INFINITY;
              assertThat(Float.isFinite(value) || hides).as("%s", testCase).isTrue();
            }
          });
      // The bound of lse is at least 2^-23 times the largest sum of products.
      assertThat(Arrays.stream(bound.lse()).max().orElseThrow() * 0x1p23)
          .as("%s", testCase)
          .isLessThan(Float.MAX_VALUE);
    }
  }

  /** What is hidden is hidden to the extent that its name says, and lengths fit the tensor. */
  @Test
  void theOptionsValuesAreWhatTheyAreCalled() {
    String options = "key_lengths+mask_bhqk+bias_bhqk+alibi+sinks";
    for (Hiding hiding : Hiding.values()) {
      FuzzCase testCase =
          FuzzCase.parse(
              "fp32/2,3,1,40,50,1,1/none/scale=1.0/ones,ones,ones/1/"
                  + options
                  + "/"
                  + new OptionValues(hiding, Size.HUGE));
      Map<String, HostTensor> tensors = testCase.tensors();
      double[] mask = tensors.get("mask").toDoubles();
      double hidden = 1 - Arrays.stream(mask).sum() / mask.length;
      double expected =
          switch (hiding) {
            case NOTHING -> 0;
            case FEW -> 0.125;
            case MOST -> 0.875;
            case ROWS -> 0.5 + 0.5 * 0.25;
          };
      assertThat(hidden).isCloseTo(expected, within(0.06));
      assertThat(Arrays.stream(tensors.get("bias").toDoubles()).anyMatch(Double::isInfinite))
          .isEqualTo(hiding != Hiding.NOTHING);
      testCase.problem().requireValues("key_lengths", tensors.get("key_lengths"));
      assertThat(tensors.get("alibi_slopes").toDoubles()).doesNotHaveDuplicates();
    }
  }

  @Test
  void simplerCasesComeToAnEnd() {
    for (FuzzCase testCase : CASES.subList(0, 50)) {
      FuzzCase smallest = testCase;
      int steps = 0;
      while (!smallest.simpler().isEmpty()) {
        assertThat(smallest.simpler()).doesNotContain(smallest);
        smallest = smallest.simpler().getLast();
        assertThat(steps++).isLessThan(5000);
      }
      assertThat(smallest.problem().shape().toString()).isEqualTo("1,1,1,1,1,1,1");
      assertThat(smallest.problem().mask().isNone()).isTrue();
      assertThat(smallest.problem().options().isNone()).isTrue();
      assertThat(smallest.q()).isEqualTo(FuzzValues.ONES);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "fp32",
        "fp64/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/1",
        "fp32/1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/1",
        "fp32/1,1,1,1,1,,1/none/scale=1.0/ones,ones,ones/1",
        "fp32/1,1,1,1,1,1,99999999999/none/scale=1.0/ones,ones,ones/1",
        "fp32/1,3,2,1,1,1,1/none/scale=1.0/ones,ones,ones/1",
        "fp32/1,1,1,999,999,64,64/none/scale=1.0/ones,ones,ones/1",
        "fp32/1,1,1,1,1,1,0/none/scale=1.0/ones,ones,ones/1",
        "fp32/1,1,1,1,1,1,1/all/scale=1.0/ones,ones,ones/1",
        "fp32/1,1,1,1,1,1,1/window-9-top-left/scale=1.0/ones,ones,ones/1",
        "fp32/1,1,1,1,1,1,1/window-99999999999,1-top-left/scale=1.0/ones,ones,ones/1",
        "fp32/1,1,1,1,1,1,1/none/scale=NaN/ones,ones,ones/1",
        "fp32/1,1,1,1,1,1,1/none/scale=big/ones,ones,ones/1",
        "fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones/1",
        "fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,twos/1",
        "fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/99999999999999999999",
        "fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/1/2",
        "fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/1/alibi",
        "fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/1/alibi/few",
        "fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/1/alibi/some,huge",
        "fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/1/alibi/few,large",
        "fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/1/mask/few,huge",
        "fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/1/softcap_x/few,huge"
      })
  void whatIsNoCaseIsSaidSo(String text) {
    assertThatThrownBy(() -> FuzzCase.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageNotContainingAny("\n", "null");
  }
}
