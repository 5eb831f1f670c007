package dev.heddle.core;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Operations that feed each other: what they produce stays on the device until the chain's outputs
 * are read.
 *
 * <p>Tensors are named within the chain. A step may see a tensor under another shape of as many
 * elements ({@code [B * SEQLEN, H * D]} is {@code [B, SEQLEN, H, D]} in memory).
 *
 * @param name what the chain computes, for people
 * @param inputs tensors that the caller provides
 * @param steps operations in order of execution
 * @param outputs names of the tensors that the caller wants back
 */
public record Chain(String name, List<TensorSpec> inputs, List<Step> steps, List<String> outputs) {

  /**
   * One operation with the chain's tensors that it reads and writes.
   *
   * @param operation what it computes
   * @param reads the chain's tensor for each of the operation's inputs, by the operation's name
   * @param writes the chain's name for each of the operation's outputs, by the operation's name
   */
  public record Step(Operation operation, Map<String, String> reads, Map<String, String> writes) {
    /** Freezes the maps. */
    public Step {
      reads = Map.copyOf(reads);
      writes = Map.copyOf(writes);
    }
  }

  /**
   * Checks that every step reads tensors that exist by then, with the size and type it expects.
   *
   * @throws IllegalArgumentException naming the step and the tensor that does not fit
   */
  public Chain {
    inputs = List.copyOf(inputs);
    steps = List.copyOf(steps);
    outputs = List.copyOf(outputs);
    Map<String, TensorSpec> known = new HashMap<>();
    for (TensorSpec input : inputs) {
      define(known, input, input.name());
    }
    for (Step step : steps) {
      for (TensorSpec wanted : step.operation.inputs()) {
        String tensor = bound(step, step.reads, wanted.name());
        TensorSpec given = known.get(tensor);
        if (given == null) {
          throw new IllegalArgumentException(
              step.operation.name() + " reads '" + tensor + "', which nothing has written");
        }
        if (given.dtype() != wanted.dtype()
            || given.shape().elements() != wanted.shape().elements()) {
          throw new IllegalArgumentException(
              step.operation.name()
                  + " wants "
                  + describe(wanted)
                  + " but '"
                  + tensor
                  + "' is "
                  + describe(given));
        }
      }
      for (TensorSpec written : step.operation.outputs()) {
        define(known, written, bound(step, step.writes, written.name()));
      }
    }
    for (String output : outputs) {
      if (!known.containsKey(output)) {
        throw new IllegalArgumentException("the chain has no tensor '" + output + "' to return");
      }
    }
  }

  /**
   * A chain of one operation, whose tensors keep their names and whose outputs are all returned.
   */
  public static Chain of(Operation operation) {
    Map<String, String> reads = new HashMap<>();
    operation.inputs().forEach(spec -> reads.put(spec.name(), spec.name()));
    Map<String, String> writes = new HashMap<>();
    operation.outputs().forEach(spec -> writes.put(spec.name(), spec.name()));
    return new Chain(
        operation.name(),
        operation.inputs(),
        List.of(new Step(operation, reads, writes)),
        operation.outputs().stream().map(TensorSpec::name).toList());
  }

  /**
   * The same chain with every operation, and all that they read and write, in another storage type.
   */
  public Chain withDtype(DType other) {
    List<Step> converted =
        steps.stream()
            .map(step -> new Step(step.operation.withDtype(other), step.reads, step.writes))
            .toList();
    List<TensorSpec> given = new ArrayList<>();
    for (TensorSpec input : inputs) {
      // What a reader wants of it: an operation may keep some tensors fp32 whatever its type.
      DType wanted =
          converted.stream()
              .flatMap(step ->
                  step.operation.inputs().stream()
                      .filter(spec -> bound(step, step.reads, spec.name()).equals(input.name()))
                      .map(TensorSpec::dtype))
              .findFirst()
              .orElse(other);
      given.add(new TensorSpec(input.name(), input.shape(), wanted));
    }
    return new Chain(name, given, converted, outputs);
  }

  /** Every tensor of the chain under its name there: the inputs, then what the steps write. */
  public List<TensorSpec> tensors() {
    List<TensorSpec> all = new ArrayList<>(inputs);
    for (Step step : steps) {
      for (TensorSpec spec : step.operation.outputs()) {
        String name = bound(step, step.writes, spec.name());
        all.add(new TensorSpec(name, spec.shape(), spec.dtype()));
      }
    }
    return List.copyOf(all);
  }

  /** The tensor of that name. */
  public TensorSpec tensor(String tensor) {
    return tensors().stream()
        .filter(spec -> spec.name().equals(tensor))
        .findFirst()
        .orElseThrow(
            () -> new IllegalArgumentException("the chain has no tensor '" + tensor + "'"));
  }

  /**
   * Checks what one of the chain's inputs holds for the steps that read it.
   *
   * @throws IllegalArgumentException naming the first value that a step rejects
   */
  public void requireValues(String input, HostTensor values) {
    for (Step step : steps) {
      step.reads.forEach((name, tensor) -> {
        if (tensor.equals(input)) {
          step.operation.requireValues(name, values);
        }
      });
    }
  }

  /** Sum over the steps of {@link Operation#flops}. */
  public double flops() {
    return steps.stream().mapToDouble(step -> step.operation.flops()).sum();
  }

  private static void define(Map<String, TensorSpec> known, TensorSpec spec, String tensor) {
    if (known.putIfAbsent(tensor, spec) != null) {
      throw new IllegalArgumentException("the chain has two tensors named '" + tensor + "'");
    }
  }

  private static String bound(Step step, Map<String, String> bindings, String name) {
    String tensor = bindings.get(name);
    if (tensor == null) {
      throw new IllegalArgumentException(
          step.operation.name() + " has no tensor bound to '" + name + "'");
    }
    return tensor;
  }

  private static String describe(TensorSpec spec) {
    return spec.dtype().label() + " " + spec.name() + " " + spec.shape();
  }
}
