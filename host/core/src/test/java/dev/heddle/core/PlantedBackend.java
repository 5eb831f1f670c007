package dev.heddle.core;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A backend whose kernels do as the test says, on the sessions that all JVM backends share. Its
 * ladder is {@code low}, {@code middle}, {@code high}.
 */
final class PlantedBackend implements Backend {
  static final Device DEVICE =
      new Device(
          "planted",
          0,
          "planted",
          "none",
          Device.Kind.CPU,
          false,
          new Device.Limits(1 << 20, 1 << 20, 0, 1, 1));

  /** What a kernel does with its tensors. */
  interface Body {
    void run(Map<String, HostSession.Span> tensors);
  }

  final List<String> refused = new ArrayList<>();
  final List<String> events = new ArrayList<>();
  final Set<DType> dtypes = EnumSet.of(DType.FP32);
  Body body = tensors -> {};

  /** Closing a kernel throws, and the session's own release is among the events. */
  boolean closingFails;

  @Override
  public String id() {
    return "planted";
  }

  @Override
  public Probe probe() {
    return new Probe.Available(List.of(DEVICE), List.of());
  }

  @Override
  public List<String> algorithms(Device device, Operation operation) {
    return operation instanceof AttentionStage ? List.of() : List.of("low", "middle", "high");
  }

  @Override
  public Plan plan(Device device, Operation operation, String algorithm) {
    return Plan.of(algorithm, Map.of("BLOCK_M", algorithm.length()));
  }

  @Override
  public Optional<Refusal> refusal(Device device, Operation operation, Plan plan) {
    if (refused.contains(plan.algorithm())) {
      return Optional.of(new Refusal("planned", plan.algorithm() + " is refused"));
    }
    return HostSession.commonRefusal(
        device, operation, plan, dtypes, algorithms(device, operation), Set.of(), 0);
  }

  @Override
  public Session open(Device device) {
    return new HostSession(this, device, dtypes) {
      @Override
      protected Kernel compile(Operation operation, Plan plan, Map<String, Span> tensors) {
        events.add("compile " + operation.name());
        return new Kernel() {
          @Override
          public void run() {
            body.run(tensors);
          }

          @Override
          public long scratchBytes() {
            return 40;
          }

          @Override
          public void close() {
            events.add("close " + operation.name());
            if (closingFails) {
              throw new IllegalStateException(operation.name() + " does not close");
            }
          }
        };
      }

      @Override
      protected void release() {
        if (closingFails) {
          events.add("release");
        }
      }

      @Override
      protected Provenance provenance(Operation operation, Plan plan) {
        return Provenance.ofClasses(device, plan, List.of(PlantedBackend.class));
      }
    };
  }
}
