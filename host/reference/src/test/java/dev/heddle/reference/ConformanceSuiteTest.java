package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.UpdateRule;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.RotaryEmbedding.Pairing;
import dev.heddle.reference.CaseInputs.Angles;
import dev.heddle.reference.CaseInputs.Put;
import dev.heddle.reference.CaseInputs.Scale;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ConformanceSuiteTest {

  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void everyCaseHasANameByWhichItIsFound(DType dtype) {
    for (ConformanceSuite suite : ConformanceSuite.values()) {
      List<ConformanceCase> cases = suite.cases(dtype);
      assertThat(cases).extracting(ConformanceCase::name).doesNotHaveDuplicates();
      assertThat(cases).allMatch(testCase -> testCase.dtype() == dtype);
      assertThat(cases)
          .allMatch(testCase ->
              ConformanceSuite.named(testCase.name(), dtype).orElseThrow().equals(testCase));
    }
    assertThat(ConformanceSuite.named("attention/none", dtype)).isEmpty();
  }

  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void fullHoldsQuickAndMore(DType dtype) {
    List<ConformanceCase> quick = ConformanceSuite.QUICK.cases(dtype);
    List<ConformanceCase> full = ConformanceSuite.FULL.cases(dtype);
    assertThat(full).containsAll(quick).containsAll(ConformanceSuite.smallShapes(dtype));
    assertThat(full.size()).isGreaterThan(2 * quick.size());
  }

  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void theNamesAreThoseOfEveryType(DType dtype) {
    assertThat(ConformanceSuite.FULL.cases(dtype))
        .extracting(ConformanceCase::name)
        .isEqualTo(
            ConformanceSuite.FULL.cases(DType.FP32).stream().map(ConformanceCase::name).toList());
  }

  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void quickMeetsEveryFeatureAndEveryMask(DType dtype) {
    List<ConformanceCase> quick = ConformanceSuite.QUICK.cases(dtype);
    Set<Feature> met =
        quick.stream()
            .flatMap(testCase -> testCase.features().stream())
            .collect(Collectors.toSet());
    assertThat(met).containsExactlyInAnyOrder(Feature.values());
    Set<BandMask> masks =
        quick.stream()
            .filter(testCase -> testCase.name().startsWith("attention/"))
            .map(testCase -> ((AttentionProblem) testCase.focus()).mask())
            .collect(Collectors.toSet());
    assertThat(masks)
        .containsAll(
            ConformanceSuite.smallShapes(dtype).stream()
                .map(testCase -> ((AttentionProblem) testCase.focus()).mask())
                .toList());
  }

  /** Simulators are slow: a few thousand operations of each kernel, and every option. */
  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void tinyIsSmallAndMeetsEveryOption(DType dtype) {
    List<ConformanceCase> tiny = ConformanceSuite.TINY.cases(dtype);
    assertThat(tiny).hasSizeBetween(10, 40).allMatch(c -> c.chain().flops() <= 20_000);
    Set<Feature> met =
        tiny.stream().flatMap(testCase -> testCase.features().stream()).collect(Collectors.toSet());
    assertThat(met)
        .contains(Feature.LINEAR, Feature.HEADS, Feature.WINDOW, Feature.GROUPED_HEADS)
        .containsAll(EnumSet.range(Feature.KEY_LENGTHS, Feature.SCORE_OUTPUT));
  }

  @Test
  void featuresFollowFromTheData() {
    AttentionProblem plain = AttentionProblem.of(AttentionShape.square(1, 1, 9, 8)).withLse(false);
    assertThat(features(plain, CaseInputs.NORMAL)).containsExactly(Feature.UNMASKED);
    assertThat(of(plain, CaseInputs.NORMAL).isOrdinaryAttention()).isTrue();
    AttentionProblem rich =
        AttentionProblem.of(new AttentionShape(1, 4, 2, 9, 5, 8, 6))
            .withMask(BandMask.causal(Alignment.BOTTOM_RIGHT));
    assertThat(features(rich, CaseInputs.NORMAL))
        .isEqualTo(
            EnumSet.of(
                Feature.CAUSAL,
                Feature.EMPTY_ROWS,
                Feature.GROUPED_HEADS,
                Feature.UNEQUAL_HEAD_DIMS,
                Feature.UNEQUAL_LENGTHS,
                Feature.LSE));
    assertThat(features(plain.withMask(new BandMask(3, 0, Alignment.TOP_LEFT)), CaseInputs.NORMAL))
        .containsExactly(Feature.WINDOW);
    ConformanceCase scaled = of(plain.withScale(3), CaseInputs.NORMAL);
    assertThat(scaled.features()).contains(Feature.DIFFICULT_VALUES);
    assertThat(scaled.isOrdinaryAttention()).isFalse();
    assertThat(features(plain, CaseInputs.NORMAL.then(new Scale("q", 300))))
        .contains(Feature.DIFFICULT_VALUES);
    ConformanceCase linear = of(new LinearProblem(2, 3, 4, true, DType.FP32), CaseInputs.NORMAL);
    assertThat(linear.features()).containsExactly(Feature.LINEAR);
    assertThat(linear.isOrdinaryAttention()).isFalse();
    assertThat(ConformanceSuite.layer(DType.FP32).isOrdinaryAttention()).isFalse();
    assertThat(
            features(
                LinearAttention.of(AttentionShape.square(1, 1, 9, 8), UpdateRule.GATED_DELTA),
                CaseInputs.NORMAL))
        .containsExactly(Feature.DELTA_RULE);
  }

  private static Set<Feature> features(Operation operation, CaseInputs inputs) {
    return of(operation, inputs).features();
  }

  private static ConformanceCase of(Operation operation, CaseInputs inputs) {
    return ConformanceCase.of("some", operation, inputs);
  }

  @Test
  void inputsAreTheSameAtEveryDrawAndChangedInOrder() {
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 4, 3));
    CaseInputs inputs =
        new CaseInputs(5, List.of())
            .then(new Scale("q", 10))
            .then(new Put("q", 1, 3, 7))
            .then(Put.everywhere("k", -2))
            .then(Put.one("k", 4, 9));
    Map<String, HostTensor> drawn = inputs.draw(problem.inputs());
    Map<String, HostTensor> normal = new CaseInputs(5, List.of()).draw(problem.inputs());
    HostTensor q = tensor(drawn, "q");
    for (int i = 0; i < q.size(); i++) {
      assertThat(q.get(i)).isEqualTo(i % 3 == 1 ? 7 : 10 * tensor(normal, "q").get(i));
      assertThat(tensor(drawn, "k").get(i)).isEqualTo(i == 4 ? 9 : -2);
      assertThat(tensor(drawn, "v").get(i)).isEqualTo(tensor(normal, "v").get(i));
      assertThat(tensor(inputs.draw(problem.inputs()), "q").get(i)).isEqualTo(q.get(i));
    }
    assertThat(tensor(CaseInputs.NORMAL.draw(problem.inputs()), "q").get(0))
        .isNotEqualTo(tensor(normal, "q").get(0));
    assertThat(inputs).hasToString("normal, seed 5; q x 10.0; q[1::3] = 7.0; k = -2.0; k[4] = 9.0");
  }

  private static HostTensor tensor(Map<String, HostTensor> tensors, String name) {
    HostTensor tensor = tensors.get(name);
    assertThat(tensor).as(name).isNotNull();
    return tensor;
  }

  @Test
  void whatFitsAnOperationIsInItsRange() {
    CacheAppend append = new CacheAppend(3, 1, 9, 2, 1, DType.FP32);
    CaseInputs inputs = CaseInputs.fitting(append);
    int[] lengths = tensor(inputs.draw(append.inputs()), "lengths").ints();
    assertThat(lengths).startsWith(7).endsWith(0);
    assertThat(inputs).hasToString("normal, seed 0; lengths from 0 to 7");
    LinearAttention linear =
        LinearAttention.of(AttentionShape.square(1, 1, 50, 4), UpdateRule.GATED_DELTA);
    CaseInputs gates = CaseInputs.fitting(linear);
    Map<String, HostTensor> drawn = gates.draw(linear.inputs());
    for (int t = 0; t < 50; t++) {
      assertThat(tensor(drawn, "decay").get(t)).isBetween(-0.5f, -1e-3f);
      assertThat(tensor(drawn, "beta").get(t)).isBetween(1e-3f, 1f);
    }
    assertThat(gates.toString()).contains("k x 0.5; decay between -0.5 and 0.0; beta between");
    RotaryEmbedding rotary = new RotaryEmbedding(1, 1, 2, 4, 4, Pairing.INTERLEAVED, 3, DType.FP32);
    Map<String, HostTensor> tables =
        CaseInputs.NORMAL
            .then(new Angles("cos", 100, false))
            .then(new Angles("sin", 100, true))
            .draw(rotary.inputs());
    assertThat(tensor(tables, "cos").get(5)).isEqualTo((float) Math.cos(0.2));
    assertThat(tensor(tables, "sin").get(5)).isEqualTo((float) Math.sin(0.2));
  }

  @Test
  void whatMakesNoSenseIsRefused() {
    AttentionProblem problem = AttentionProblem.of(AttentionShape.square(1, 1, 4, 3));
    assertThatThrownBy(() -> CaseInputs.NORMAL.then(new Scale("x", 2)).draw(problem.inputs()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("'x x 2.0' changes 'x', which is no input");
    assertThatThrownBy(() -> new Put("q", -1, 1, 0)).hasMessageContaining("q[-1::1]");
    assertThatThrownBy(() -> new Put("q", 0, 0, 0)).hasMessageContaining("q[0::0]");
    assertThatThrownBy(() -> ConformanceCase.of("a b", problem, CaseInputs.NORMAL))
        .hasMessageContaining("case name 'a b'");
    assertThatThrownBy(() ->
            new ConformanceCase(
                "a", problem.withLse(false), dev.heddle.core.Chain.of(problem), CaseInputs.NORMAL))
        .hasMessageContaining("no step");
  }
}
