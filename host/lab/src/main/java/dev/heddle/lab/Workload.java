package dev.heddle.lab;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Planner;
import dev.heddle.core.Probe;
import dev.heddle.core.Session;
import dev.heddle.core.TensorSpec;
import dev.heddle.model.AttentionLayer;
import dev.heddle.model.Encoder;
import dev.heddle.model.MiniLm;
import dev.heddle.model.SentenceTokenizer;
import dev.heddle.model.Tokens;
import dev.heddle.reference.OptionValues;
import dev.heddle.reference.OptionValues.Hiding;
import dev.heddle.reference.OptionValues.Size;
import dev.heddle.reference.ReferenceBackend;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * A chain with the tensors to feed it: one attention problem, a stage of one, or a layer of a
 * model.
 *
 * @param description what it is, one line for people
 * @param note a remark that must be shown with results, such as a text that was cut
 * @param focus the operation of the chain whose algorithm is to be chosen; the others keep the
 *     device's default
 * @param chain what to run
 * @param inputs a tensor for each of the chain's inputs
 */
public record Workload(
    String description,
    Optional<String> note,
    Operation focus,
    Chain chain,
    Map<String, HostTensor> inputs) {

  /**
   * Checks that the host can hold every tensor of the chain, as the oracle has to, and that the
   * inputs hold what its operations can work on.
   *
   * @throws IllegalArgumentException naming the tensor that it can't, or the bytes, or the value
   */
  public Workload {
    inputs = Map.copyOf(inputs);
    requireRoom(chain);
    inputs.forEach(chain::requireValues);
  }

  /**
   * Every tensor fits an array, and the heap at least the inputs, widened ones too, and outputs.
   */
  private static void requireRoom(Chain chain) {
    chain.tensors().forEach(Workload::requireHostTensor);
    long bytes = 0;
    for (TensorSpec input : chain.inputs()) {
      bytes += input.bytes() + input.shape().elements() * Double.BYTES;
    }
    for (String output : chain.outputs()) {
      bytes += chain.tensor(output).bytes();
    }
    long heap = Runtime.getRuntime().maxMemory();
    if (bytes > heap) {
      throw new IllegalArgumentException(
          "this problem's tensors, and the reference's in double, take at least "
              + bytes
              + " bytes; the JVM's heap limit is "
              + heap
              + " bytes (HEDDLE_JAVA_OPTS=-Xmx... raises it)");
    }
  }

  private static void requireHostTensor(TensorSpec spec) {
    if (spec.shape().elements() > HostTensor.MAX_ELEMENTS) {
      throw new IllegalArgumentException(
          spec.name()
              + " "
              + spec.shape()
              + " has "
              + spec.shape().elements()
              + " elements; a host tensor holds at most "
              + HostTensor.MAX_ELEMENTS);
    }
  }

  /**
   * One attention problem on standard normal q, k and v; its options' tensors hide one key in eight
   * and are otherwise of ordinary size.
   *
   * @throws IllegalArgumentException when a tensor is too large for the host
   */
  public static Workload random(AttentionProblem problem, long seed) {
    return random(problem, Hiding.FEW, seed);
  }

  /**
   * As {@link #random(AttentionProblem, long)}.
   *
   * @param hiding which keys the options' tensors hide
   */
  public static Workload random(AttentionProblem problem, Hiding hiding, long seed) {
    return random(problem, problem, describe(problem), hiding, seed);
  }

  /** As {@link #random(AttentionStage, Hiding, long)}, one key in eight hidden by the options. */
  public static Workload random(AttentionStage stage, long seed) {
    return random(stage, Hiding.FEW, seed);
  }

  /**
   * One stage of an attention problem on standard normal inputs.
   *
   * @param hiding which keys the options' tensors hide
   * @throws IllegalArgumentException when a tensor is too large for the host
   */
  public static Workload random(AttentionStage stage, Hiding hiding, long seed) {
    AttentionProblem problem = stage.attention();
    String name = stage.stage().name().toLowerCase(Locale.ROOT);
    return random(stage, problem, "stage " + name + " of " + describe(problem), hiding, seed);
  }

  private static Workload random(
      Operation operation, AttentionProblem problem, String description, Hiding hiding, long seed) {
    OptionValues optionValues = new OptionValues(hiding, Size.NORMAL);
    List<TensorSpec> ofOptions = problem.optionTensors();
    Chain chain = Chain.of(operation);
    requireRoom(chain);
    Map<String, HostTensor> inputs = new HashMap<>();
    long tensorSeed = seed;
    for (TensorSpec spec : operation.inputs()) {
      inputs.put(
          spec.name(),
          ofOptions.contains(spec)
              ? optionValues.draw(spec, problem.shape().seqlenK(), tensorSeed)
              : HostTensor.gaussian(spec.shape(), spec.dtype(), tensorSeed));
      // An odd constant keeps the streams apart for every seed.
      tensorSeed += 0x9E3779B97F4A7C15L;
    }
    return new Workload(
        description
            + " on normal random numbers, seed "
            + seed
            + (problem.options().hidesKeys() ? ", hiding " + hiding.label() : ""),
        Optional.empty(),
        operation,
        chain,
        inputs);
  }

  /** Whether every operation's operands are fp32. */
  boolean isFp32() {
    return chain.steps().stream().allMatch(step -> step.operation().dtype() == DType.FP32);
  }

  /** One attention problem on tensors that the user brings. */
  public static Workload of(
      AttentionProblem problem, Map<String, HostTensor> inputs, String origin) {
    return new Workload(
        describe(problem) + " on " + origin, Optional.empty(), problem, Chain.of(problem), inputs);
  }

  /**
   * The self-attention of one layer of all-MiniLM-L6-v2, projections included, as a text meets it.
   *
   * @param layer from 0 to 5
   * @param dtype the type to which weights and hidden state, fp32 by nature, are rounded
   * @throws IllegalArgumentException when the text is empty or there is no such layer
   * @throws dev.heddle.model.ModelException when the model's files are damaged
   */
  public static Workload miniLm(String text, int layer, BandMask mask, DType dtype) {
    if (layer < 0 || layer >= MiniLm.LAYERS) {
      throw new IllegalArgumentException(
          "layer = " + layer + "; all-MiniLM-L6-v2 has layers 0 to " + (MiniLm.LAYERS - 1));
    }
    ReferenceBackend oracle = new ReferenceBackend();
    if (!(oracle.probe() instanceof Probe.Available available)) {
      throw new IllegalStateException("the reference backend is always available");
    }
    try (SentenceTokenizer tokenizer = SentenceTokenizer.open();
        Session session = oracle.open(available.devices().getFirst())) {
      Tokens tokens = tokenizer.tokenize(text);
      Planner planner = new Planner(oracle, session.device());
      AttentionLayer attention =
          new Encoder(MiniLm.load(), session, planner).attention(tokens, layer);
      AttentionProblem problem = attention.problem().withMask(mask).withDtype(dtype);
      Map<String, HostTensor> inputs = new HashMap<>();
      attention.inputs().forEach((name, tensor) -> inputs.put(name, tensor.rounded(dtype)));
      return new Workload(
          "all-MiniLM-L6-v2, layer "
              + layer
              + ", "
              + tokens.count()
              + " tokens: Q, K, V projections, "
              + describe(problem)
              + ", output projection",
          tokens.truncationNote(),
          problem,
          withMask(attention.chain(AttentionLayer.OUT, AttentionLayer.PROJECTED), mask)
              .withDtype(dtype),
          inputs);
    }
  }

  /** As {@code attention 1,12,12,14,14,32,32 fp32, mask none}. */
  static String describe(AttentionProblem problem) {
    return "attention "
        + problem.shape()
        + " "
        + problem.dtype().label()
        + ", mask "
        + problem.mask()
        + (problem.options().isNone() ? "" : ", " + problem.options());
  }

  private static Chain withMask(Chain chain, BandMask mask) {
    List<Chain.Step> steps = new ArrayList<>();
    for (Chain.Step step : chain.steps()) {
      Operation operation =
          step.operation() instanceof AttentionProblem problem
              ? problem.withMask(mask)
              : step.operation();
      steps.add(new Chain.Step(operation, step.reads(), step.writes()));
    }
    return new Chain(chain.name(), chain.inputs(), steps, chain.outputs());
  }
}
