package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.TensorSpec;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.UnaryOperator;

/** The problems that every backend has to get right or refuse, with their inputs. */
final class ContractCases {

  /** A chain with inputs; the oracle's answer is computed once for all backends of a JVM. */
  record Case(String name, Chain chain, Map<String, HostTensor> inputs) {
    private static final Map<String, Expectation> ANSWERS = new ConcurrentHashMap<>();

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
    return new Case(label, chain, change.apply(gaussian(chain.inputs())));
  }

  static Map<String, HostTensor> gaussian(List<TensorSpec> specs) {
    Map<String, HostTensor> tensors = new HashMap<>();
    for (TensorSpec spec : specs) {
      tensors.put(
          spec.name(), HostTensor.gaussian(spec.shape(), spec.dtype(), spec.name().hashCode()));
    }
    return tensors;
  }

  private static AttentionProblem attention(int... sizes) {
    return AttentionProblem.of(
        new AttentionShape(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]));
  }

  private static Case masked(AttentionProblem problem, BandMask mask) {
    return of(problem.shape() + " mask " + mask, problem.withMask(mask));
  }

  /** Sizes around every tile edge, grouped heads, unequal head dims, all masks. */
  static List<Case> attentionShapes() {
    int[][] small = {
      {1, 1, 1, 1, 1, 1, 1},
      {1, 1, 1, 7, 13, 13, 7},
      {3, 2, 2, 63, 65, 64, 64},
      {1, 2, 2, 64, 64, 64, 64},
      {2, 2, 1, 65, 63, 32, 96},
      {1, 6, 2, 113, 203, 40, 24},
      {1, 1, 1, 203, 113, 128, 128},
      {1, 4, 1, 1, 513, 64, 64},
      {1, 1, 1, 17, 19, 256, 200},
    };
    List<BandMask> masks =
        List.of(
            BandMask.NONE,
            BandMask.causal(Alignment.TOP_LEFT),
            BandMask.causal(Alignment.BOTTOM_RIGHT),
            new BandMask(5, 3, Alignment.TOP_LEFT),
            new BandMask(16, 0, Alignment.BOTTOM_RIGHT),
            new BandMask(0, 0, Alignment.TOP_LEFT),
            new BandMask(BandMask.UNBOUNDED, 9, Alignment.BOTTOM_RIGHT),
            new BandMask(70, BandMask.UNBOUNDED, Alignment.TOP_LEFT));
    List<Case> cases = new ArrayList<>();
    for (int[] sizes : small) {
      for (BandMask mask : masks) {
        cases.add(masked(attention(sizes), mask));
      }
    }
    AttentionProblem large = attention(1, 1, 1, 1023, 1024, 64, 64);
    cases.add(masked(large, BandMask.NONE));
    cases.add(masked(large, BandMask.causal(Alignment.BOTTOM_RIGHT)));
    cases.add(masked(large, new BandMask(200, 31, Alignment.TOP_LEFT)));
    return cases;
  }

  /** Values that break careless arithmetic, and options. */
  static List<Case> attentionValues() {
    AttentionProblem problem = attention(1, 2, 1, 37, 71, 48, 48);
    AttentionProblem causal = problem.withMask(BandMask.causal(Alignment.BOTTOM_RIGHT));
    return List.of(
        of("logits of +-1e4", problem.withScale(1e4f / 48)),
        of("logits of +-1e4, causal", causal.withScale(1e4f / 48)),
        of("one key holds a logit of 1e4", problem, in -> spike(in, problem.shape(), 1e4f)),
        of("one key holds a logit of -1e4", problem, in -> spike(in, problem.shape(), -1e4f)),
        of("equal logits", problem, in -> replace(in, "q", 0f)),
        of("denormal values", problem, in -> scaled(in, "v", 1e-40f)),
        of(
            "denormal queries and keys",
            problem,
            in -> scaled(scaled(in, "q", 1e-40f), "k", 1e-40f)),
        of("values of 1e30", causal, in -> scaled(in, "v", 1e30f)),
        of("scale 0", problem.withScale(0)),
        of("scale below 0", causal.withScale(-0.3f)),
        of("without lse", causal.withLse(false)),
        of("fp16", problem.withDtype(DType.FP16)),
        of("bf16", causal.withDtype(DType.BF16)));
  }

  /** Problems in which some or all rows see no key. */
  static List<Case> emptyRows() {
    return List.of(
        masked(attention(1, 2, 2, 71, 5, 32, 32), BandMask.causal(Alignment.BOTTOM_RIGHT)),
        masked(attention(2, 1, 1, 90, 17, 64, 16), new BandMask(3, 0, Alignment.TOP_LEFT)),
        masked(attention(1, 1, 1, 200, 1, 8, 8), new BandMask(2, 0, Alignment.TOP_LEFT)));
  }

  static List<Case> stages() {
    List<Case> cases = new ArrayList<>();
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      for (AttentionProblem problem :
          List.of(
              attention(1, 1, 1, 1, 1, 1, 1),
              attention(2, 4, 2, 33, 65, 24, 40),
              attention(1, 2, 1, 65, 31, 64, 64).withMask(BandMask.causal(Alignment.BOTTOM_RIGHT)),
              attention(1, 1, 1, 70, 130, 64, 33)
                  .withMask(new BandMask(4, 2, Alignment.TOP_LEFT)))) {
        AttentionStage operation = new AttentionStage(stage, problem);
        cases.add(
            of(operation.name() + " " + problem.shape() + " mask " + problem.mask(), operation));
      }
    }
    return cases;
  }

  static List<Case> linear() {
    int[][] sizes = {{1, 1, 1}, {7, 13, 5}, {63, 65, 64}, {113, 203, 97}, {17, 384, 384}};
    List<Case> cases = new ArrayList<>();
    for (int[] size : sizes) {
      for (boolean bias : new boolean[] {false, true}) {
        cases.add(
            of(
                "linear " + size[0] + " x " + size[1] + " x " + size[2] + (bias ? " + bias" : ""),
                new LinearProblem(size[0], size[1], size[2], bias, DType.FP32)));
      }
    }
    return cases;
  }

  static List<Case> heads() {
    return List.of(
        of("heads 1 x 1 x 1 x 1", new HeadsTranspose(1, 1, 1, 1, DType.FP32)),
        of("heads 2 x 13 x 12 x 32", new HeadsTranspose(2, 13, 12, 32, DType.FP32)),
        of("heads 3 x 5 x 7 x 33", new HeadsTranspose(3, 5, 7, 33, DType.FP32)));
  }

  /** Projections, heads, attention, merge and output projection: what a transformer layer does. */
  static Case layer() {
    int seqlen = 21;
    int heads = 3;
    int headDim = 16;
    int hidden = heads * headDim;
    LinearProblem project = new LinearProblem(seqlen, hidden, hidden, true, DType.FP32);
    HeadsTranspose split = new HeadsTranspose(1, seqlen, heads, headDim, DType.FP32);
    HeadsTranspose merge = new HeadsTranspose(1, heads, seqlen, headDim, DType.FP32);
    List<TensorSpec> inputs = new ArrayList<>(project.inputs().subList(0, 1));
    List<Chain.Step> steps = new ArrayList<>();
    for (String name : List.of("q", "k", "v", "o")) {
      inputs.add(new TensorSpec("w_" + name, project.inputs().get(1).shape(), DType.FP32));
      inputs.add(new TensorSpec("b_" + name, project.inputs().get(2).shape(), DType.FP32));
    }
    for (String name : List.of("q", "k", "v")) {
      steps.add(step(project, Map.of("x", "x", "weight", "w_" + name, "bias", "b_" + name), name));
      steps.add(step(split, Map.of("x", name), name + "_heads"));
    }
    AttentionProblem attention =
        AttentionProblem.of(AttentionShape.square(1, heads, seqlen, headDim)).withLse(false);
    steps.add(
        new Chain.Step(
            attention,
            Map.of("q", "q_heads", "k", "k_heads", "v", "v_heads"),
            Map.of("out", "context")));
    steps.add(step(merge, Map.of("x", "context"), "merged"));
    steps.add(step(project, Map.of("x", "merged", "weight", "w_o", "bias", "b_o"), "y"));
    return new Case(
        "layer", new Chain("layer", inputs, steps, List.of("context", "y")), gaussian(inputs));
  }

  private static Chain.Step step(Operation operation, Map<String, String> reads, String writes) {
    return new Chain.Step(operation, reads, Map.of("y", writes));
  }

  private static Map<String, HostTensor> replace(
      Map<String, HostTensor> inputs, String name, float value) {
    HostTensor old = inputs.get(name);
    inputs.put(name, HostTensor.zeros(old.shape(), old.dtype()).fill(value));
    return inputs;
  }

  private static Map<String, HostTensor> scaled(
      Map<String, HostTensor> inputs, String name, float factor) {
    HostTensor tensor = inputs.get(name);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, tensor.get(i) * factor);
    }
    return inputs;
  }

  /** Makes query element 0 be 1 everywhere, and key element 0 so large for one key only. */
  private static Map<String, HostTensor> spike(
      Map<String, HostTensor> inputs, AttentionShape shape, float logit) {
    HostTensor q = inputs.get("q");
    HostTensor k = inputs.get("k");
    for (int row = 0; row < q.size(); row += shape.headDim()) {
      q.set(row, 1);
    }
    int key = shape.seqlenK() / 2;
    k.set(key * shape.headDim(), logit * (float) Math.sqrt(shape.headDim()));
    return inputs;
  }
}
