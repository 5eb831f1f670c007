package dev.heddle.core;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * A chain on one device: inputs uploaded once, every step prepared, intermediate tensors resident.
 * Closing it releases all of that but not the session.
 */
public final class PreparedChain implements AutoCloseable {
  private final Session session;
  private final Chain chain;
  private final Map<String, DeviceTensor> tensors = new LinkedHashMap<>();
  private final List<Prepared> steps = new ArrayList<>();

  private PreparedChain(Session session, Chain chain) {
    this.session = session;
    this.chain = chain;
  }

  /**
   * Uploads the inputs and prepares every step; on failure nothing stays allocated.
   *
   * @param planner chooses the plan of each operation
   * @param inputs a host tensor for each of the chain's inputs
   * @throws IllegalArgumentException when an input is missing or of another size or type, or holds
   *     what {@link Operation#requireValues} rejects
   * @throws UnsupportedProblemException when a step or a tensor is more than the device supports
   * @throws KernelBuildException when a kernel does not compile
   * @throws DeviceException when the driver fails
   */
  public static PreparedChain prepare(
      Session session,
      Chain chain,
      Function<Operation, Plan> planner,
      Map<String, HostTensor> inputs) {
    PreparedChain prepared = new PreparedChain(session, chain);
    try {
      for (TensorSpec spec : chain.tensors()) {
        prepared.tensors.put(spec.name(), session.allocate(spec.shape(), spec.dtype()));
      }
      for (TensorSpec spec : chain.inputs()) {
        HostTensor input = inputs.get(spec.name());
        if (input == null) {
          throw new IllegalArgumentException("no tensor given for '" + spec.name() + "'");
        }
        chain.requireValues(spec.name(), input);
        prepared.tensor(spec.name()).write(input);
      }
      for (Chain.Step step : chain.steps()) {
        Map<String, DeviceTensor> bound = new HashMap<>();
        step.reads().forEach((name, tensor) -> bound.put(name, prepared.tensor(tensor)));
        step.writes().forEach((name, tensor) -> bound.put(name, prepared.tensor(tensor)));
        Operation operation = step.operation();
        prepared.steps.add(session.prepare(operation, planner.apply(operation), bound));
      }
      return prepared;
    } catch (RuntimeException | Error e) {
      Closing.after(e, List.of(prepared::close));
      throw e;
    }
  }

  /** Runs all steps in order and waits for the last. */
  public Timing run() {
    return session.run(steps);
  }

  /** Fills everything that the steps write with NaN. */
  public void poison() {
    List<String> inputs = chain.inputs().stream().map(TensorSpec::name).toList();
    tensors.forEach((name, tensor) -> {
      if (!inputs.contains(name)) {
        tensor.poison();
      }
    });
  }

  /** Reads the chain's outputs back to the host, by name. */
  public Map<String, HostTensor> outputs() {
    Map<String, HostTensor> read = new LinkedHashMap<>();
    for (String name : chain.outputs()) {
      read.put(name, tensor(name).read());
    }
    return read;
  }

  /** Names of the tensors whose guard bands were overwritten. */
  public List<String> brokenGuards() {
    return tensors.entrySet().stream()
        .filter(entry -> !entry.getValue().guardsIntact())
        .map(Map.Entry::getKey)
        .toList();
  }

  /** Provenance of each step, in order. */
  public List<Provenance> provenance() {
    return steps.stream().map(Prepared::provenance).toList();
  }

  /** What compilers made of the steps' kernels, in order. */
  public List<GeneratedCode> generatedCode() {
    return steps.stream().flatMap(step -> step.generatedCode().stream()).toList();
  }

  /** Memory that the steps hold beyond their inputs and outputs, in bytes. */
  public long scratchBytes() {
    return steps.stream().mapToLong(Prepared::scratchBytes).sum();
  }

  @Override
  public void close() {
    List<Runnable> closing = new ArrayList<>();
    steps.forEach(step -> closing.add(step::close));
    tensors.values().forEach(tensor -> closing.add(tensor::close));
    steps.clear();
    tensors.clear();
    Closing.all(closing);
  }

  private DeviceTensor tensor(String name) {
    DeviceTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new IllegalStateException("no tensor '" + name + "': the chain is closed");
    }
    return tensor;
  }
}
