package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.reference.BackendContract.Extent;
import dev.heddle.reference.ContractCases.Case;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The cases hold what their names promise, in every storage type. */
class ContractCasesTest {

  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void everyCaseIsFiniteAndHasABound(DType dtype) {
    List<Case> cases = new ArrayList<>(ContractCases.attentionValues(dtype));
    cases.addAll(ContractCases.emptyRows(dtype));
    cases.addAll(ContractCases.options(dtype));
    cases.addAll(ContractCases.stages(dtype));
    cases.addAll(ContractCases.linear(dtype));
    cases.add(ContractCases.layer(dtype));
    Set<String> names = new HashSet<>();
    for (Case testCase : cases) {
      assertThat(names.add(testCase.name())).as("%s has its own name", testCase).isTrue();
      assertThat(testCase.expectation().overflowing()).as("%s", testCase).isEmpty();
      testCase
          .inputs()
          .forEach((name, tensor) -> {
            for (double value : tensor.toDoubles()) {
              // A bias hides keys by -inf, and what is hidden may be NaN.
              boolean wild = name.equals("bias") || testCase.name().contains("values/nan-in-keys");
              assertThat(Double.isFinite(value) || wild).as("%s", testCase).isTrue();
            }
          });
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void subnormalsAreSubnormalInTheType(DType dtype) {
    double smallestNormal = dtype == DType.FP16 ? 0x1p-14 : 0x1p-126;
    for (Case testCase : ContractCases.attentionValues(dtype)) {
      for (String tensor : List.of("k", "v")) {
        if (testCase.name().contains(tensor.equals("k") ? "subnormal-q" : "subnormal-v")) {
          HostTensor values = testCase.inputs().get(tensor);
          assertThat(Arrays.stream(values.toDoubles()).boxed().toList())
              .allMatch(value -> Math.abs(value) < smallestNormal)
              .anyMatch(value -> value != 0);
        }
      }
    }
  }

  @Test
  void theSmallExtentIsSmallAndLeavesNoMaskAndNoKindOfShapeOut() {
    for (DType dtype : DType.FLOATING) {
      Map<BandMask, Set<AttentionShape>> shapes = new HashMap<>();
      List<AttentionProblem> problems =
          ContractCases.attentionShapes(dtype, Extent.SMALL).stream()
              .map(testCase -> (AttentionProblem) testCase.chain().steps().getFirst().operation())
              .toList();
      for (AttentionProblem problem : problems) {
        assertThat(problem.dtype()).isEqualTo(dtype);
        assertThat(problem.withMask(BandMask.NONE).flops()).isLessThanOrEqualTo(2 * 0x1p21);
        shapes.computeIfAbsent(problem.mask(), mask -> new HashSet<>()).add(problem.shape());
      }
      assertThat(shapes).hasSize(8).allSatisfy((mask, met) -> assertThat(met.size() > 3).isTrue());
      assertThat(problems).anyMatch(problem -> problem.shape().groupSize() > 1);
      assertThat(problems).anyMatch(problem -> problem.shape().seqlenQ() == 1);
      for (int headDim : new int[] {32, 64, 96, 128, 256}) {
        assertThat(problems)
            .anyMatch(problem ->
                problem.shape().headDim() == headDim && problem.shape().headDimV() == headDim);
      }
    }
  }
}
