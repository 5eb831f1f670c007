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
import dev.heddle.reference.BackendContract.Extent;
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
    String name = operation.dtype().label() + " " + label;
    return new Case(name, chain, change.apply(gaussian(chain.inputs())));
  }

  static Map<String, HostTensor> gaussian(List<TensorSpec> specs) {
    Map<String, HostTensor> tensors = new HashMap<>();
    for (TensorSpec spec : specs) {
      tensors.put(
          spec.name(), HostTensor.gaussian(spec.shape(), spec.dtype(), spec.name().hashCode()));
    }
    return tensors;
  }

  private static AttentionProblem attention(DType dtype, int... sizes) {
    AttentionShape shape =
        new AttentionShape(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]);
    return AttentionProblem.of(shape).withDtype(dtype);
  }

  private static Case masked(AttentionProblem problem, BandMask mask) {
    return of(problem.shape() + " mask " + mask, problem.withMask(mask));
  }

  private static final int[][] FULL_SHAPES = {
    {1, 1, 1, 1, 1, 1, 1},
    {1, 1, 1, 7, 13, 13, 7},
    {3, 2, 2, 63, 65, 64, 64},
    {1, 2, 2, 64, 64, 64, 64},
    {2, 2, 1, 65, 63, 32, 96},
    {1, 6, 2, 113, 203, 40, 24},
    {1, 6, 2, 113, 203, 96, 96},
    {1, 1, 1, 203, 113, 128, 128},
    {1, 4, 1, 1, 513, 64, 64},
    {2, 4, 2, 3, 131, 32, 32},
    {1, 1, 1, 17, 19, 256, 200},
    {1, 1, 1, 17, 70, 256, 256},
  };

  /** Of the same kinds, none above 2^21 multiply-adds. */
  private static final int[][] SMALL_SHAPES = {
    {1, 1, 1, 1, 1, 1, 1},
    {1, 1, 1, 7, 13, 13, 7},
    {2, 2, 2, 63, 65, 64, 64},
    {1, 1, 1, 64, 64, 64, 64},
    {1, 2, 1, 65, 63, 32, 96},
    {1, 3, 1, 33, 70, 40, 24},
    {1, 2, 1, 71, 33, 96, 96},
    {1, 1, 1, 70, 81, 128, 128},
    {1, 4, 1, 1, 257, 64, 64},
    {2, 4, 2, 3, 131, 32, 32},
    {1, 1, 1, 17, 19, 256, 200},
    {1, 1, 1, 17, 35, 256, 256},
  };

  private static final List<BandMask> MASKS =
      List.of(
          BandMask.NONE,
          BandMask.causal(Alignment.TOP_LEFT),
          BandMask.causal(Alignment.BOTTOM_RIGHT),
          new BandMask(5, 3, Alignment.TOP_LEFT),
          new BandMask(16, 0, Alignment.BOTTOM_RIGHT),
          new BandMask(0, 0, Alignment.TOP_LEFT),
          new BandMask(BandMask.UNBOUNDED, 9, Alignment.BOTTOM_RIGHT),
          new BandMask(70, BandMask.UNBOUNDED, Alignment.TOP_LEFT));

  /** Sizes around every tile edge, grouped heads, unequal head dims, all masks. */
  static List<Case> attentionShapes(DType dtype, Extent extent) {
    List<Case> cases = new ArrayList<>();
    if (extent == Extent.SMALL) {
      for (int s = 0; s < SMALL_SHAPES.length; s++) {
        // Three masks of the eight for each shape: 3 has no divisor in common with 8, so that
        // neighbouring shapes meet different ones and each mask meets four shapes or five.
        for (int m = 0; m < 3; m++) {
          cases.add(masked(attention(dtype, SMALL_SHAPES[s]), MASKS.get((3 * s + m) % 8)));
        }
      }
      return cases;
    }
    for (int[] sizes : FULL_SHAPES) {
      for (BandMask mask : MASKS) {
        cases.add(masked(attention(dtype, sizes), mask));
      }
    }
    AttentionProblem large = attention(dtype, 1, 1, 1, 1023, 1024, 64, 64);
    cases.add(masked(large, BandMask.NONE));
    cases.add(masked(large, BandMask.causal(Alignment.BOTTOM_RIGHT)));
    cases.add(masked(large, new BandMask(200, 31, Alignment.TOP_LEFT)));
    return cases;
  }

  /** Values that break careless arithmetic, within the type's range, and options. */
  static List<Case> attentionValues(DType dtype) {
    AttentionProblem problem = attention(dtype, 1, 2, 1, 37, 71, 64, 64);
    AttentionProblem causal = problem.withMask(BandMask.causal(Alignment.BOTTOM_RIGHT));
    // fp16 has its subnormals below 6.1e-5 and ends at 65504; bf16 has the range of fp32.
    float subnormal = dtype == DType.FP16 ? 1e-6f : 1e-40f;
    float large = dtype == DType.FP16 ? 1e4f : 1e30f;
    return List.of(
        of("logits of +-1e4", problem.withScale(1e4f / 64)),
        of("logits of +-1e4, causal", causal.withScale(1e4f / 64)),
        of("one key holds a logit of 1e4", problem, in -> spike(in, problem.shape(), 1e4f)),
        of("one key holds a logit of -1e4", problem, in -> spike(in, problem.shape(), -1e4f)),
        of("logits of +-1e5", problem, in -> scaled(scaled(in, "q", 300), "k", 300)),
        of("equal logits", problem, in -> replace(in, "q", 0f)),
        of("subnormal values", problem, in -> scaled(in, "v", subnormal)),
        of(
            "subnormal queries and keys",
            problem,
            in -> scaled(scaled(in, "q", subnormal), "k", subnormal)),
        of("values of " + large, causal, in -> scaled(in, "v", large)),
        of("scale 0", problem.withScale(0)),
        of("scale below 0", causal.withScale(-0.3f)),
        of("without lse", causal.withLse(false)));
  }

  /** Problems in which some or all rows see no key. */
  static List<Case> emptyRows(DType dtype) {
    return List.of(
        masked(attention(dtype, 1, 2, 2, 71, 5, 32, 32), BandMask.causal(Alignment.BOTTOM_RIGHT)),
        masked(attention(dtype, 2, 1, 1, 90, 17, 64, 64), new BandMask(3, 0, Alignment.TOP_LEFT)),
        masked(attention(dtype, 1, 1, 1, 200, 1, 8, 8), new BandMask(2, 0, Alignment.TOP_LEFT)));
  }

  /**
   * Every product of a query and a key is -1e40 in fp32 and bf16, past fp32's range, and -3.6e9 in
   * fp16, past fp16's.
   */
  static Case overflow(DType dtype) {
    float large = dtype == DType.FP16 ? 6e4f : 1e20f;
    return of(
        "scores of -" + (double) large * large,
        attention(dtype, 1, 1, 1, 9, 9, 32, 32),
        inputs -> {
          inputs.get("q").fill(-large);
          inputs.get("k").fill(large);
          inputs.get("v").fill(1);
          return inputs;
        });
  }

  /** Attention in which one element of one query is NaN. */
  static Case nan(DType dtype, int row) {
    AttentionProblem problem = attention(dtype, 1, 2, 1, 21, 37, 32, 32);
    return of(
        "NaN in one query",
        problem,
        inputs -> {
          inputs.get("q").set(row * problem.shape().headDim() + 3, Float.NaN);
          return inputs;
        });
  }

  static List<Case> stages(DType dtype) {
    List<Case> cases = new ArrayList<>();
    for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
      for (AttentionProblem problem :
          List.of(
              attention(dtype, 1, 1, 1, 1, 1, 1, 1),
              attention(dtype, 2, 4, 2, 33, 65, 24, 40),
              attention(dtype, 1, 2, 1, 65, 31, 64, 64)
                  .withMask(BandMask.causal(Alignment.BOTTOM_RIGHT)),
              attention(dtype, 1, 1, 1, 70, 130, 64, 33)
                  .withMask(new BandMask(4, 2, Alignment.TOP_LEFT)))) {
        AttentionStage operation = new AttentionStage(stage, problem);
        cases.add(
            of(operation.name() + " " + problem.shape() + " mask " + problem.mask(), operation));
      }
    }
    return cases;
  }

  static List<Case> linear(DType dtype) {
    int[][] sizes = {{1, 1, 1}, {7, 13, 5}, {63, 65, 64}, {113, 203, 97}, {17, 384, 384}};
    List<Case> cases = new ArrayList<>();
    for (int[] size : sizes) {
      for (boolean bias : new boolean[] {false, true}) {
        cases.add(
            of(
                "linear " + size[0] + " x " + size[1] + " x " + size[2] + (bias ? " + bias" : ""),
                new LinearProblem(size[0], size[1], size[2], bias, dtype)));
      }
    }
    return cases;
  }

  static List<Case> heads(DType dtype) {
    return List.of(
        of("heads 1 x 1 x 1 x 1", new HeadsTranspose(1, 1, 1, 1, dtype)),
        of("heads 2 x 13 x 12 x 32", new HeadsTranspose(2, 13, 12, 32, dtype)),
        of("heads 3 x 5 x 7 x 33", new HeadsTranspose(3, 5, 7, 33, dtype)));
  }

  /** Projections, heads, attention, merge and output projection: what a transformer layer does. */
  static Case layer(DType dtype) {
    int seqlen = 21;
    int heads = 3;
    int headDim = 32;
    int hidden = heads * headDim;
    LinearProblem project = new LinearProblem(seqlen, hidden, hidden, true, dtype);
    HeadsTranspose split = new HeadsTranspose(1, seqlen, heads, headDim, dtype);
    HeadsTranspose merge = new HeadsTranspose(1, heads, seqlen, headDim, dtype);
    List<TensorSpec> inputs = new ArrayList<>(project.inputs().subList(0, 1));
    List<Chain.Step> steps = new ArrayList<>();
    for (String name : List.of("q", "k", "v", "o")) {
      inputs.add(new TensorSpec("w_" + name, project.inputs().get(1).shape(), dtype));
      inputs.add(new TensorSpec("b_" + name, project.inputs().get(2).shape(), dtype));
    }
    for (String name : List.of("q", "k", "v")) {
      steps.add(step(project, Map.of("x", "x", "weight", "w_" + name, "bias", "b_" + name), name));
      steps.add(step(split, Map.of("x", name), name + "_heads"));
    }
    AttentionProblem attention =
        attention(dtype, 1, heads, heads, seqlen, seqlen, headDim, headDim).withLse(false);
    steps.add(
        new Chain.Step(
            attention,
            Map.of("q", "q_heads", "k", "k_heads", "v", "v_heads"),
            Map.of("out", "context")));
    steps.add(step(merge, Map.of("x", "context"), "merged"));
    steps.add(step(project, Map.of("x", "merged", "weight", "w_o", "bias", "b_o"), "y"));
    Map<String, HostTensor> values = gaussian(inputs);
    for (String name : List.of("q", "k", "v", "o")) {
      // As trained weights are, so that what is projected has the size of x.
      scaled(values, "w_" + name, (float) (1 / Math.sqrt(hidden)));
    }
    return new Case(
        dtype.label() + " layer",
        new Chain("layer", inputs, steps, List.of("context", "y")),
        values);
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

  /** Makes query element 0 be 4 everywhere, and key element 0 so large for one key only. */
  private static Map<String, HostTensor> spike(
      Map<String, HostTensor> inputs, AttentionShape shape, float logit) {
    HostTensor q = inputs.get("q");
    HostTensor k = inputs.get("k");
    for (int row = 0; row < q.size(); row += shape.headDim()) {
      q.set(row, 4);
    }
    int key = shape.seqlenK() / 2;
    k.set(key * shape.headDim(), logit / 4 * (float) Math.sqrt(shape.headDim()));
    return inputs;
  }
}
