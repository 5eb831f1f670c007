package dev.heddle.lab;

import dev.heddle.core.Chain;
import dev.heddle.core.Device;
import dev.heddle.core.DeviceException;
import dev.heddle.core.GeneratedCode;
import dev.heddle.core.HostTensor;
import dev.heddle.core.KernelBuildException;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Planner;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Provenance;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.core.Transfers;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.reference.Expectation;
import dev.heddle.reference.Verdict;
import dev.heddle.reference.Verifier;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * One workload on one device under one algorithm of its focus: verified first, and timed only when
 * it passed and the device is no emulator. Each trial has a session of its own, so that a device
 * that died in one is whole again in the next.
 *
 * @param device where it ran
 * @param algorithm the algorithm of the workload's focus
 * @param kernel name of the focus's kernel
 * @param verdict what is said of the result
 * @param measurement times; empty unless asked for and passed, and always for an emulator
 * @param outputs the chain's outputs; empty unless asked for and passed
 * @param provenance of each step; empty where nothing ran
 * @param code what compilers made of the kernels for the device, in the order of the steps; empty
 *     where nothing ran and where the device was given hand-written source
 * @param transfers what was copied until the first result was on the host, and how long that took;
 *     none where nothing ran
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
    List<GeneratedCode> code,
    Transfers transfers,
    long scratchBytes) {

  /** What a trial is run for, beside its verdict. */
  sealed interface Purpose {
    /**
     * Times.
     *
     * @param afterRound what happens after each round
     */
    record Times(Protocol protocol, Runnable afterRound) implements Purpose {
      /** The standard protocol, and nothing between. */
      static final Times STANDARD = new Times(Protocol.STANDARD, () -> {});
    }

    /** Outputs. */
    record Outputs() implements Purpose {}
  }

  /** Freezes the collections. */
  public Trial {
    outputs = Map.copyOf(outputs);
    provenance = List.copyOf(provenance);
    code = List.copyOf(code);
  }

  /** Whether the result is within its bounds. */
  public boolean passed() {
    return verdict instanceof Verdict.Pass;
  }

  /** Whether the result, or the attempt at one, is wrong. */
  public boolean failed() {
    return verdict instanceof Verdict.Fail;
  }

  /** What is made of a chain that is ready to run. */
  @FunctionalInterface
  interface Body<T> {
    T of(Session session, PreparedChain chain);
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
      Purpose purpose) {
    return attempt(
        candidate,
        workload,
        algorithm,
        (session, chain) ->
            of(
                candidate.device(),
                workload,
                algorithm,
                expectation,
                verifier,
                purpose,
                session,
                chain),
        verdict -> without(candidate, workload, algorithm, verdict));
  }

  private static Trial of(
      Device device,
      Workload workload,
      String algorithm,
      Expectation expectation,
      Verifier verifier,
      Purpose purpose,
      Session session,
      PreparedChain chain) {
    Verdict verdict = verifier.verify(chain, expectation);
    Transfers transfers = session.transfers();
    Optional<Measurement> measurement = Optional.empty();
    if (verdict instanceof Verdict.Pass
        && purpose instanceof Purpose.Times(Protocol protocol, Runnable afterRound)
        && !device.emulated()) {
      measurement = Optional.of(Measurement.of(chain, protocol, afterRound));
      // By now the JVM runs other code than the one judged first: what was timed is judged too.
      verdict = verifier.verify(chain, expectation);
    }
    boolean passed = verdict instanceof Verdict.Pass;
    return new Trial(
        device,
        algorithm,
        kernel(workload, algorithm),
        verdict,
        passed ? measurement : Optional.empty(),
        passed && purpose instanceof Purpose.Outputs ? chain.outputs() : Map.of(),
        chain.provenance(),
        chain.generatedCode(),
        transfers,
        chain.scratchBytes());
  }

  /**
   * Prepares the workload in a session of its own and makes something of it. Whatever a device or
   * its driver does wrong on the way becomes a verdict, for the other devices' sake, not an
   * exception.
   *
   * @param otherwise what to make of the verdict where nothing ran to its end
   */
  static <T> T attempt(
      Installation.Candidate candidate,
      Workload workload,
      String algorithm,
      Body<T> body,
      Function<Verdict, T> otherwise) {
    Optional<Refusal> refusal = refusal(candidate, workload, algorithm);
    if (refusal.isPresent()) {
      return otherwise.apply(new Verdict.Refused(refusal.get()));
    }
    return guarded(
        () -> {
          try (Session session = candidate.backend().open(candidate.device())) {
            return prepared(candidate, session, workload, algorithm, body);
          }
        },
        otherwise);
  }

  /** Prepares the workload in that session and makes something of it. */
  static <T> T prepared(
      Installation.Candidate candidate,
      Session session,
      Workload workload,
      String algorithm,
      Body<T> body) {
    Planner planner = new Planner(candidate.backend(), candidate.device());
    try (PreparedChain chain =
        PreparedChain.prepare(
            session,
            workload.chain(),
            operation -> plan(planner, workload, operation, algorithm),
            workload.inputs())) {
      return body.of(session, chain);
    }
  }

  /** Makes a verdict of whatever goes wrong with a device. */
  static <T> T guarded(Supplier<T> work, Function<Verdict, T> otherwise) {
    try {
      return work.get();
    } catch (UnsupportedProblemException e) {
      return otherwise.apply(new Verdict.Refused(e.refusal()));
    } catch (KernelBuildException | DeviceException e) {
      return otherwise.apply(failure(String.valueOf(e.getMessage())));
    } catch (OutOfMemoryError e) {
      return otherwise.apply(
          new Verdict.Refused(
              new Refusal(
                  "hostMemory",
                  "the JVM's heap of "
                      + Runtime.getRuntime().maxMemory()
                      + " bytes ran out; HEDDLE_JAVA_OPTS=-Xmx... raises it")));
    } catch (LinkageError e) {
      return otherwise.apply(failure("a library is missing or damaged: " + e));
    } catch (RuntimeException e) {
      StackTraceElement[] trace = e.getStackTrace();
      return otherwise.apply(
          failure(
              "a fault of the backend's own: " + e + (trace.length > 0 ? " at " + trace[0] : "")));
    }
  }

  /** The refused trial of what the backend declares not to support, or empty where it would run. */
  static Optional<Trial> refused(
      Installation.Candidate candidate, Workload workload, String algorithm) {
    return refusal(candidate, workload, algorithm)
        .map(refusal -> without(candidate, workload, algorithm, new Verdict.Refused(refusal)));
  }

  private static Verdict failure(String reason) {
    return new Verdict.Fail(reason, List.of());
  }

  /** A trial that has nothing but a verdict. */
  private static Trial without(
      Installation.Candidate candidate, Workload workload, String algorithm, Verdict verdict) {
    return new Trial(
        candidate.device(),
        algorithm,
        kernel(workload, algorithm),
        verdict,
        Optional.empty(),
        Map.of(),
        List.of(),
        List.of(),
        Transfers.NONE,
        0);
  }

  static String kernel(Workload workload, String algorithm) {
    return Plan.of(algorithm).kernelName(workload.focus());
  }

  /** The limit that keeps a device from running the workload, as its backend declares it. */
  static Optional<Refusal> refusal(
      Installation.Candidate candidate, Workload workload, String algorithm) {
    Planner planner = new Planner(candidate.backend(), candidate.device());
    for (Chain.Step step : workload.chain().steps()) {
      try {
        Optional<Refusal> refusal =
            candidate
                .backend()
                .refusal(
                    candidate.device(),
                    step.operation(),
                    plan(planner, workload, step.operation(), algorithm));
        if (refusal.isPresent()) {
          return refusal;
        }
      } catch (UnsupportedProblemException e) {
        return Optional.of(e.refusal());
      }
    }
    return Optional.empty();
  }

  private static Plan plan(
      Planner planner, Workload workload, Operation operation, String algorithm) {
    return operation.equals(workload.focus())
        ? planner.plan(operation, algorithm)
        : planner.plan(operation);
  }
}
