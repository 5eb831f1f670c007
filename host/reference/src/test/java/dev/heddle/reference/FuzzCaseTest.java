package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
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
      for (String name : List.of("q", "k", "v")) {
        HostTensor tensor = testCase.tensors().get(name);
        hash = 31 * hash + Arrays.hashCode(tensor.toDoubles());
      }
    }
    assertThat(hash).isEqualTo(965_557_620);
  }

  @Test
  void aCaseIsItsText() {
    for (FuzzCase testCase : CASES) {
      assertThat(FuzzCase.parse(testCase.toString())).isEqualTo(testCase);
      assertThat(testCase.toString()).matches("[a-z0-9,/=.E-]+");
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
            Feature.DIFFICULT_VALUES);
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
      for (HostTensor tensor : testCase.tensors().values()) {
        for (int i = 0; i < tensor.size(); i++) {
          assertThat(Float.isFinite(tensor.get(i))).as("%s", testCase).isTrue();
        }
      }
      // The bound of lse is at least 2^-23 times the largest sum of products.
      assertThat(Arrays.stream(bound.lse()).max().orElseThrow() * 0x1p23)
          .as("%s", testCase)
          .isLessThan(Float.MAX_VALUE);
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
        "fp32/1,1,1,1,1,1,1/none/scale=1.0/ones,ones,ones/1/2"
      })
  void whatIsNoCaseIsSaidSo(String text) {
    assertThatThrownBy(() -> FuzzCase.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageNotContainingAny("\n", "null");
  }
}
