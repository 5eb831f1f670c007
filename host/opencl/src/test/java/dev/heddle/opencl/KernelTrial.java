package dev.heddle.opencl;

import dev.heddle.core.Chain;
import dev.heddle.core.Device;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Probe;
import dev.heddle.core.Session;
import dev.heddle.core.TensorSpec;
import dev.heddle.reference.Expectation;
import dev.heddle.reference.FlashAttentionPolicy;
import dev.heddle.reference.Verdict;
import dev.heddle.reference.Verifier;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;

/**
 * One operation on normal random numbers, with what should come out of it.
 *
 * @param chain the operation alone
 * @param inputs its inputs
 * @param expectation its outputs by the double-precision oracle
 */
record KernelTrial(Chain chain, Map<String, HostTensor> inputs, Expectation expectation) {

  /** A trial of that operation. */
  static KernelTrial of(Operation operation) {
    Chain chain = Chain.of(operation);
    Map<String, HostTensor> inputs = new HashMap<>();
    for (TensorSpec spec : chain.inputs()) {
      inputs.put(
          spec.name(), HostTensor.gaussian(spec.shape(), spec.dtype(), spec.name().hashCode()));
    }
    return new KernelTrial(chain, inputs, Expectation.of(chain, inputs));
  }

  /** Runs it under a plan and judges the result. */
  Verdict verdict(OpenClBackend backend, Device device, Plan plan) {
    try (Session session = backend.open(device);
        PreparedChain prepared = PreparedChain.prepare(session, chain, operation -> plan, inputs)) {
      return new Verifier(new FlashAttentionPolicy()).verify(prepared, expectation);
    }
  }

  /** A device that has every rung for the operation; the test is skipped where there is none. */
  static Device processor(OpenClBackend backend, Operation attention) {
    List<Device> devices =
        switch (backend.probe()) {
          case Probe.Available available -> available.devices();
          case Probe.Unavailable missing -> Assumptions.abort(missing.reason());
        };
    return devices.stream()
        .filter(device -> backend.algorithms(device, attention).contains("flash_cpu"))
        .findFirst()
        .orElseGet(() -> Assumptions.abort("no device has flash_cpu; install PoCL"));
  }
}
