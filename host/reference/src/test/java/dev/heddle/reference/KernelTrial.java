package dev.heddle.reference;

import dev.heddle.core.Backend;
import dev.heddle.core.Chain;
import dev.heddle.core.Device;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Session;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * A chain, most often one operation on random numbers that fit it, with what should come out of it.
 *
 * @param chain what is computed
 * @param inputs its inputs
 * @param expectation its outputs by the double-precision oracle
 */
public record KernelTrial(Chain chain, Map<String, HostTensor> inputs, Expectation expectation) {

  /** A trial of that operation. */
  public static KernelTrial of(Operation operation) {
    return of(operation, inputs -> {});
  }

  /** A case of a suite. */
  public static KernelTrial of(ConformanceCase testCase) {
    Map<String, HostTensor> inputs = testCase.tensors();
    return new KernelTrial(testCase.chain(), inputs, Expectation.of(testCase.chain(), inputs));
  }

  /** The same with some of the numbers changed. */
  public static KernelTrial of(Operation operation, Consumer<Map<String, HostTensor>> change) {
    Chain chain = Chain.of(operation);
    Map<String, HostTensor> inputs = CaseInputs.fitting(operation).draw(chain.inputs());
    change.accept(inputs);
    return new KernelTrial(chain, inputs, Expectation.of(chain, inputs));
  }

  /** Runs it under a plan and judges the result. */
  public Verdict verdict(Backend backend, Device device, Plan plan) {
    return verdict(backend, device, operation -> plan);
  }

  /** Runs it, each operation under the plan that is chosen for it, and judges the result. */
  public Verdict verdict(Backend backend, Device device, Function<Operation, Plan> planner) {
    try (Session session = backend.open(device);
        PreparedChain prepared = PreparedChain.prepare(session, chain, planner, inputs)) {
      return new Verifier(new FlashAttentionPolicy()).verify(prepared, expectation);
    }
  }
}
