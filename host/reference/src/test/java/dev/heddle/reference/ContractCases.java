package dev.heddle.reference;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.TensorSpec;
import dev.heddle.reference.BackendContract.Extent;
import dev.heddle.reference.CaseInputs.Put;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
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

  /** What attention does to its scores beyond scale and band. */
  static List<Case> options(DType dtype) {
    return cases(ConformanceSuite.options(dtype));
  }

  /**
   * Keys and values that an option hides from every query and that hold NaN: those at and behind
   * the key lengths, and every third by a mask, a bias, or a block mask of single keys.
   */
  static List<Case> hiddenNan(DType dtype) {
    AttentionShape shape = new AttentionShape(1, 2, 2, 37, 70, 64, 64);
    int end = 50;
    AttentionOptions none = AttentionOptions.NONE;
    AttentionOptions.Broadcast keysOnly = new AttentionOptions.Broadcast(false, false, false);
    Map<String, AttentionOptions> hiding =
        Map.of(
            "key_lengths", none.withKeyLengths(true),
            "mask", none.withMask(keysOnly),
            "bias", none.withBias(keysOnly),
            "block_mask", none.withBlocks(new AttentionOptions.Blocks(64, 1, false, false)));
    List<Case> cases = new ArrayList<>();
    for (BandMask band : List.of(BandMask.NONE, BandMask.causal(BandMask.Alignment.BOTTOM_RIGHT))) {
      hiding.forEach((tensor, options) -> {
        AttentionProblem problem =
            attention(dtype, shape).withMask(band).withOptions(options.withSoftcap(20));
        cases.add(
            of(
                "hidden-nan/" + tensor + (band.isNone() ? "" : "/causal"),
                problem,
                tensors -> {
                  boolean lengths = tensor.equals("key_lengths");
                  hide(tensors, tensor, lengths ? end : 0);
                  for (int head = 0; head < shape.headsKv(); head++) {
                    for (int key = 0; key < shape.seqlenK(); key++) {
                      if (lengths ? key >= end : key % 3 == 1) {
                        fillRow(tensors, "k", head * shape.seqlenK() + key);
                        fillRow(tensors, "v", head * shape.seqlenK() + key);
                      }
                    }
                  }
                  return tensors;
                }));
      });
    }
    return cases;
  }

  private static void hide(Map<String, HostTensor> tensors, String name, int length) {
    HostTensor values = Objects.requireNonNull(tensors.get(name), name);
    switch (values.dtype()) {
      case INT32 -> values.fill(length);
      case BOOL -> {
        for (int key = 0; key < values.size(); key++) {
          values.set(key, key % 3 == 1 ? 0 : 1);
        }
      }
      default -> {
        for (int key = 1; key < values.size(); key += 3) {
          values.set(key, Float.NEGATIVE_INFINITY);
        }
      }
    }
  }

  private static void fillRow(Map<String, HostTensor> tensors, String name, int row) {
    HostTensor values = Objects.requireNonNull(tensors.get(name), name);
    int length = values.shape().rowLength();
    for (int d = 0; d < length; d++) {
      values.set(row * length + d, Float.NaN);
    }
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

  static List<Case> cacheAppends(DType dtype) {
    return cases(ConformanceSuite.cacheAppends(dtype));
  }

  static List<Case> rotaryEmbeddings(DType dtype) {
    return cases(ConformanceSuite.rotaryEmbeddings(dtype));
  }

  static List<Case> linearAttention(DType dtype) {
    return cases(ConformanceSuite.linearAttention(dtype));
  }

  /** What a layer does with each token that it decodes. */
  static Case decoding(DType dtype) {
    return new Case(ConformanceSuite.decoding(dtype));
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
