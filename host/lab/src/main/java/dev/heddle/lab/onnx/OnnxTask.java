package dev.heddle.lab.onnx;

import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Shape;
import dev.heddle.core.TensorSpec;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A node as a chain of operations.
 *
 * @param focus the operation whose algorithm is chosen
 * @param chain what is computed
 * @param inputs a tensor for each of the chain's inputs
 * @param outputs what the node's outputs are among the chain's
 */
public record OnnxTask(
    Operation focus, Chain chain, Map<String, HostTensor> inputs, List<Output> outputs) {

  /**
   * An output of the node.
   *
   * @param name the operator's name for it
   * @param tensor the chain's
   * @param shape dimensions by the operator's specification, of as many elements as the chain's
   * @param dtype type by the operator's specification
   */
  public record Output(String name, String tensor, Shape shape, DType dtype) {}

  /** Freezes the collections. */
  public OnnxTask {
    inputs = Map.copyOf(inputs);
    outputs = List.copyOf(outputs);
  }

  /** What the node's outputs are once the chain's are known, by the operator's names. */
  public Map<String, HostTensor> results(Map<String, HostTensor> computed) {
    Map<String, HostTensor> results = new LinkedHashMap<>();
    for (Output output : outputs) {
      HostTensor tensor = computed.get(output.tensor);
      if (tensor == null) {
        throw new IllegalStateException("the chain has no output " + output.tensor);
      }
      HostTensor seen = tensor.reshape(output.shape);
      results.put(output.name, seen.dtype() == output.dtype ? seen : seen.rounded(output.dtype));
    }
    return results;
  }

  /** A chain that grows step by step. */
  static final class Builder {
    private final String name;
    private final List<TensorSpec> specs = new ArrayList<>();
    private final Map<String, HostTensor> inputs = new HashMap<>();
    private final List<Chain.Step> steps = new ArrayList<>();
    private final List<Output> outputs = new ArrayList<>();

    Builder(String name) {
      this.name = name;
    }

    /** Gives the chain a tensor; returns its name. */
    String input(String tensor, HostTensor values) {
      specs.add(new TensorSpec(tensor, values.shape(), values.dtype()));
      inputs.put(tensor, values);
      return tensor;
    }

    void step(Operation operation, Map<String, String> reads, Map<String, String> writes) {
      steps.add(new Chain.Step(operation, reads, writes));
    }

    /** Swaps the middle axes of {@code [batch, outer, inner, width]}; returns the new tensor. */
    String transpose(String tensor, int batch, int outer, int inner, int width, DType dtype) {
      String swapped = tensor + "_swapped";
      step(
          new HeadsTranspose(batch, outer, inner, width, dtype),
          Map.of("x", tensor),
          Map.of("y", swapped));
      return swapped;
    }

    /** Gives the chain a tensor of heads; returns its name as {@code [B, H, S, D]}. */
    String heads(OnnxSequence sequence, DType dtype) {
      OnnxTensor tensor = sequence.tensor();
      String given = input(tensor.name(), tensor.host(tensor.shape(), dtype));
      return sequence.packed()
          ? transpose(
              given, sequence.batch(), sequence.length(), sequence.heads(), sequence.width(), dtype)
          : given;
    }

    /** The name of a tensor {@code [B, H, S, D]} in the layout of the sequence that it answers. */
    String merged(String tensor, OnnxSequence asked, int heads, int width, DType dtype) {
      return asked.packed()
          ? transpose(tensor, asked.batch(), heads, asked.length(), width, dtype)
          : tensor;
    }

    void output(String output, String tensor, Shape shape, DType dtype) {
      outputs.add(new Output(output, tensor, shape, dtype));
    }

    OnnxTask build(Operation focus) {
      return new OnnxTask(
          focus,
          new Chain(name, specs, steps, outputs.stream().map(Output::tensor).distinct().toList()),
          inputs,
          outputs);
    }
  }
}
