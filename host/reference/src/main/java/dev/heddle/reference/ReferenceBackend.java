package dev.heddle.reference;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HostSession;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * The oracle as a backend like any other: what it returns is the double-precision result rounded to
 * the output's type.
 */
public final class ReferenceBackend implements Backend {
  /** The oracle widens whatever it reads. */
  static final Set<DType> DTYPES = Set.copyOf(DType.FLOATING);

  /** Created by the service loader. */
  public ReferenceBackend() {}

  @Override
  public String id() {
    return "reference";
  }

  @Override
  public Probe probe() {
    Device device = HostSession.jvm(id(), "scalar Java, double precision");
    return new Probe.Available(List.of(device), List.of());
  }

  @Override
  public List<String> algorithms(Device device, Operation operation) {
    return operation instanceof AttentionProblem
        ? List.of("naive", "staged", "flash")
        : List.of("naive");
  }

  @Override
  public Optional<Refusal> refusal(Device device, Operation operation, Plan plan) {
    return HostSession.commonRefusal(
        device,
        operation,
        plan,
        DTYPES,
        algorithms(device, operation),
        plan.algorithm().equals("flash") ? AttentionOption.WITHOUT_SCORES : AttentionOption.ALL,
        scratchBytes(operation, plan));
  }

  /**
   * Doubles of every operand, half as many again for the transposed keys, and under {@code staged}
   * those of the score matrix; a bound, for the temporary arrays come and go.
   */
  static long scratchBytes(Operation operation, Plan plan) {
    long elements = operation.tensors().stream().mapToLong(spec -> spec.shape().elements()).sum();
    long widened = Math.multiplyExact(elements, 12L);
    return operation instanceof AttentionProblem problem && plan.algorithm().equals("staged")
        ? widened + Math.multiplyExact(problem.shape().scores().elements(), 16L)
        : widened;
  }

  @Override
  public Session open(Device device) {
    return new ReferenceSession(this, device);
  }
}
