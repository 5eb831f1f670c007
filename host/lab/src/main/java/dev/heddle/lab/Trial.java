package dev.heddle.lab;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.Chain;
import dev.heddle.core.Device;
import dev.heddle.core.DeviceException;
import dev.heddle.core.HostTensor;
import dev.heddle.core.KernelBuildException;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Planner;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Provenance;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.reference.Expectation;
import dev.heddle.reference.Verdict;
import dev.heddle.reference.Verifier;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * One workload on one device under one attention algorithm: verified first, and timed only when it
 * passed.
 *
 * @param device where it ran
 * @param algorithm attention's algorithm
 * @param kernel name of attention's kernel
 * @param verdict what is said of the result
 * @param measurement times; empty unless asked for and passed
 * @param outputs the chain's outputs; empty unless passed
 * @param provenance of each step; empty where nothing ran
 * @param scratchBytes memory held beyond the chain's tensors, bytes; 0 where nothing ran
 */
public record Trial(
    Device device,
    String algorithm,
    String kernel,
    Verdict verdict,
    Optional<Measurement> measurement,
    Map<String, HostTensor> outputs,
    List<Provenance> provenance,
    long scratchBytes) {

  /** Freezes the collections. */
  public Trial {
    outputs = Map.copyOf(outputs);
    provenance = List.copyOf(provenance);
  }

  /** Whether the result is within its bounds. */
  public boolean passed() {
    return verdict instanceof Verdict.Pass;
  }

  /** Whether the result, or the attempt at one, is wrong. */
  public boolean failed() {
    return verdict instanceof Verdict.Fail;
  }

  /**
   * Runs one trial. A device that fails on the way gives a failed verdict, for the other devices'
   * sake, not an exception.
   */
  static Trial run(
      Installation.Candidate candidate,
      Workload workload,
      String algorithm,
      Expectation expectation,
      Verifier verifier,
      boolean timed) {
    Device device = candidate.device();
    Planner planner = new Planner(candidate.backend(), device);
    Trial nothing =
        new Trial(
            device,
            algorithm,
            Plan.of(algorithm).kernelName(workload.attention()),
            new Verdict.Fail("not run", List.of()),
            Optional.empty(),
            Map.of(),
            List.of(),
            0);
    Optional<Refusal> declared = refusal(candidate, planner, workload.chain(), algorithm);
    if (declared.isPresent()) {
      return nothing.with(new Verdict.Refused(declared.get()));
    }
    try (Session session = candidate.backend().open(device);
        PreparedChain chain =
            PreparedChain.prepare(
                session,
                workload.chain(),
                operation -> plan(planner, operation, algorithm),
                workload.inputs())) {
      Verdict verdict = verifier.verify(chain, expectation);
      boolean passed = verdict instanceof Verdict.Pass;
      Map<String, HostTensor> outputs = passed ? chain.outputs() : Map.of();
      return new Trial(
          device,
          algorithm,
          nothing.kernel,
          verdict,
          passed && timed ? Optional.of(Measurement.of(chain)) : Optional.empty(),
          outputs,
          chain.provenance(),
          chain.scratchBytes());
    } catch (UnsupportedProblemException e) {
      return nothing.with(new Verdict.Refused(e.refusal()));
    } catch (KernelBuildException | DeviceException e) {
      return nothing.with(new Verdict.Fail(String.valueOf(e.getMessage()), List.of()));
    } catch (OutOfMemoryError e) {
      return nothing.with(
          new Verdict.Refused(
              new Refusal("hostMemory", "the JVM's heap ran out; give it more with -Xmx")));
    }
  }

  private Trial with(Verdict other) {
    return new Trial(
        device, algorithm, kernel, other, measurement, outputs, provenance, scratchBytes);
  }

  private static Optional<Refusal> refusal(
      Installation.Candidate candidate, Planner planner, Chain chain, String algorithm) {
    for (Chain.Step step : chain.steps()) {
      try {
        Optional<Refusal> refusal =
            candidate
                .backend()
                .refusal(
                    candidate.device(),
                    step.operation(),
                    plan(planner, step.operation(), algorithm));
        if (refusal.isPresent()) {
          return refusal;
        }
      } catch (UnsupportedProblemException e) {
        return Optional.of(e.refusal());
      }
    }
    return Optional.empty();
  }

  private static Plan plan(Planner planner, Operation operation, String algorithm) {
    return operation instanceof AttentionProblem
        ? planner.plan(operation, algorithm)
        : planner.plan(operation);
  }
}
