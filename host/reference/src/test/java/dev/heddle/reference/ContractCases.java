package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.TensorSpec;
import dev.heddle.reference.BackendContract.Extent;
import dev.heddle.reference.CaseInputs.Put;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.UnaryOperator;

/**
 * The problems that every backend has to get right or refuse, with their inputs: those of the
 * conformance suites, and some that no tolerance can judge.
 */
final class ContractCases {

  /** A chain with inputs; the oracle's answer is computed once for all backends of a JVM. */
  record Case(String name, Chain chain, Map<String, HostTensor> inputs) {
    private static final Map<String, Expectation> ANSWERS = new ConcurrentHashMap<>();

    Case(ConformanceCase testCase) {
      this(testCase.toString(), testCase.chain(), testCase.tensors());
    }

    Expectation expectation() {
      return ANSWERS.computeIfAbsent(name, n -> Expectation.of(chain, inputs));
    }

    @Override
    public String toString() {
      return name;
    }
  }

  private ContractCases() {}

  static Case of(String label, Operation operation) {
    return of(label, operation, tensors -> tensors);
  }

  static Case of(String label, Operation operation, UnaryOperator<Map<String, HostTensor>> change) {
    Chain chain = Chain.of(operation);
    String name = operation.dtype().label() + " " + label;
    return new Case(name, chain, change.apply(gaussian(chain.inputs())));
  }

  static Map<String, HostTensor> gaussian(List<TensorSpec> specs) {
    return CaseInputs.NORMAL.draw(specs);
  }

  /** Sizes around every tile edge, grouped heads, unequal head dims, all masks. */
  static List<Case> attentionShapes(DType dtype, Extent extent) {
    return cases(
        extent == Extent.SMALL
            ? ConformanceSuite.smallShapes(dtype)
            : ConformanceSuite.largeShapes(dtype));
  }

  /** Values that break careless arithmetic, within the type's range, and options. */
  static List<Case> attentionValues(DType dtype) {
    return cases(ConformanceSuite.attentionValues(dtype));
  }

  /** Problems in which some or all rows see no key. */
  static List<Case> emptyRows(DType dtype) {
    return cases(ConformanceSuite.emptyRows(dtype));
  }

  static List<Case> stages(DType dtype) {
    return cases(ConformanceSuite.stages(dtype));
  }

  static List<Case> linear(DType dtype) {
    return cases(ConformanceSuite.linear(dtype));
  }

  static List<Case> heads(DType dtype) {
    return cases(ConformanceSuite.heads(dtype));
  }

  /** Projections, heads, attention, merge and output projection: what a transformer layer does. */
  static Case layer(DType dtype) {
    return new Case(ConformanceSuite.layer(dtype));
  }

  /**
   * Every product of a query and a key is -1e40 in fp32 and bf16, past fp32's range, and -3.6e9 in
   * fp16, past fp16's.
   */
  static Case overflow(DType dtype) {
    float large = dtype == DType.FP16 ? 6e4f : 1e20f;
    return new Case(
        ConformanceCase.of(
            "values/overflowing-scores",
            attention(dtype, new AttentionShape(1, 1, 1, 9, 9, 32, 32)),
            CaseInputs.NORMAL
                .then(Put.everywhere("q", -large))
                .then(Put.everywhere("k", large))
                .then(Put.everywhere("v", 1))));
  }

  /** Attention in which one element of one query is NaN. */
  static Case nan(DType dtype, int row) {
    AttentionProblem problem = attention(dtype, new AttentionShape(1, 2, 1, 21, 37, 32, 32));
    int index = row * problem.shape().headDim() + 3;
    return new Case(
        ConformanceCase.of(
            "values/nan-in-query-" + row,
            problem,
            CaseInputs.NORMAL.then(Put.one("q", index, Float.NaN))));
  }

  private static AttentionProblem attention(DType dtype, AttentionShape shape) {
    return AttentionProblem.of(shape).withDtype(dtype);
  }

  private static List<Case> cases(List<ConformanceCase> cases) {
    return cases.stream().map(Case::new).toList();
  }
}
