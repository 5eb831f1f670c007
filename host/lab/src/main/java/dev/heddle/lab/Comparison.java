package dev.heddle.lab;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.Device;
import dev.heddle.core.Probe;
import dev.heddle.reference.Expectation;
import dev.heddle.reference.TolerancePolicy;
import dev.heddle.reference.Verifier;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Consumer;

/**
 * One workload on many devices.
 *
 * @param workload what ran
 * @param policy the rule that judged
 * @param sampled whether the oracle computed a sample of the rows only
 * @param hostPeakFlops measured fp32 FMA peak of the host's cores, flop/s; empty where none was
 *     measured, as for a workload in another type
 * @param ownPeakFlops such peaks of the devices with cores of their own, by their id
 * @param trials one for each device and algorithm
 * @param peer what another program made of the problem, in turn with the trials; empty where none
 *     was asked
 * @param missing backends that are unavailable, with what they said
 */
public record Comparison(
    Workload workload,
    TolerancePolicy policy,
    boolean sampled,
    OptionalDouble hostPeakFlops,
    Map<String, Double> ownPeakFlops,
    List<Trial> trials,
    Optional<Peer.Result> peer,
    Map<String, Probe.Unavailable> missing) {

  /** Freezes the collections. */
  public Comparison {
    ownPeakFlops = Map.copyOf(ownPeakFlops);
    trials = List.copyOf(trials);
    missing = java.util.Collections.unmodifiableMap(new LinkedHashMap<>(missing));
  }

  /** As {@link #run} by the standard protocol and without a peer. */
  public static Comparison run(
      Installation installation,
      Workload workload,
      Selection selection,
      Optional<String> algorithm,
      TolerancePolicy policy,
      Consumer<String> progress) {
    return run(
        installation,
        workload,
        selection,
        algorithm,
        policy,
        Protocol.STANDARD,
        Optional.empty(),
        progress);
  }

  /**
   * Verifies and times the workload on every selected device.
   *
   * @param algorithm the focus's algorithm, or every one that the device has
   * @param peer a program that times the same problem after each round of each timed trial
   * @param progress told of each trial before it starts, in a few words
   * @throws IllegalArgumentException when the selection names what does not exist, no selected
   *     device has the algorithm, or a peer is to time what is no single attention problem
   * @throws NothingToRunException when a selected backend is unavailable
   */
  public static Comparison run(
      Installation installation,
      Workload workload,
      Selection selection,
      Optional<String> algorithm,
      TolerancePolicy policy,
      Protocol protocol,
      Optional<Peer> peer,
      Consumer<String> progress) {
    Runnable afterRound = peer.map(asked -> afterRound(asked, workload, protocol)).orElse(() -> {});
    List<Installation.Candidate> candidates = installation.candidates(selection);
    requireKnown(candidates, workload, algorithm);
    record Planned(Installation.Candidate candidate, String rung, Optional<Trial> refused) {}
    List<Planned> plans = new ArrayList<>();
    for (Installation.Candidate candidate : candidates) {
      for (String rung : rungs(candidate, workload)) {
        if (algorithm.isEmpty() || algorithm.get().equals(rung)) {
          plans.add(new Planned(candidate, rung, Trial.refused(candidate, workload, rung)));
        }
      }
    }
    Map<String, Probe.Unavailable> missing = installation.missing(selection);
    if (plans.stream().allMatch(plan -> plan.refused.isPresent())) {
      List<Trial> refused = plans.stream().flatMap(plan -> plan.refused.stream()).toList();
      return new Comparison(
          workload,
          policy,
          false,
          OptionalDouble.empty(),
          Map.of(),
          refused,
          peer.map(Peer::result),
          missing);
    }
    // The peak is that of fp32 multiply-adds: no ceiling for units of another type.
    boolean peaks = workload.isFp32();
    progress.accept("computing the reference in double precision");
    Expectation expectation = Expectation.of(workload.chain(), workload.inputs());
    OptionalDouble peakBefore = OptionalDouble.empty();
    if (peaks) {
      progress.accept("measuring the processor's peak");
      peakBefore = installation.hostPeakFlops();
    }
    Verifier verifier = new Verifier(policy);
    Trial.Purpose times = new Trial.Purpose.Times(protocol, afterRound);
    List<Trial> trials = new ArrayList<>();
    for (Planned plan : plans) {
      progress.accept(plan.candidate.device().id() + " " + plan.rung);
      trials.add(
          plan.refused.isPresent()
              ? plan.refused.get()
              : Trial.run(plan.candidate, workload, plan.rung, expectation, verifier, times));
    }
    Map<String, Double> ownPeaks = new LinkedHashMap<>();
    if (peaks) {
      progress.accept("measuring the processor's peak again");
      OptionalDouble peakAfter = installation.hostPeakFlops();
      // A peak is a ceiling: what disturbed one of the two measurements does not count.
      if (peakBefore.isPresent() && peakAfter.isPresent()) {
        peakBefore = OptionalDouble.of(Math.max(peakBefore.getAsDouble(), peakAfter.getAsDouble()));
      }
      for (Planned plan : plans) {
        Installation.Candidate candidate = plan.candidate;
        if (plan.refused.isEmpty() && !candidate.isHost()) {
          String id = candidate.device().id();
          if (!ownPeaks.containsKey(id)) {
            progress.accept("measuring the peak of " + id);
            candidate.peakFlops().ifPresent(peak -> ownPeaks.put(id, peak));
          }
        }
      }
    }
    return new Comparison(
        workload,
        policy,
        expectation.sampled(),
        peakBefore,
        ownPeaks,
        trials,
        peer.map(Peer::result),
        missing);
  }

  private static Runnable afterRound(Peer peer, Workload workload, Protocol protocol) {
    if (workload.chain().steps().size() == 1
        && workload.focus() instanceof AttentionProblem problem) {
      return () -> peer.round(problem, protocol);
    }
    throw new IllegalArgumentException("a peer times one attention problem and nothing else");
  }

  /**
   * Rate of a trial by the workload's own FLOP count, flop/s; empty when it was not timed or has no
   * products to count.
   */
  public OptionalDouble flopsPerSecond(Trial trial) {
    Optional<Measurement> measured = trial.measurement();
    double flops = workload.chain().flops();
    return measured.isPresent() && flops > 0
        ? OptionalDouble.of(flops / (measured.get().medianNs() * 1e-9))
        : OptionalDouble.empty();
  }

  /**
   * The measured fp32 FMA peak of the cores that a trial ran on, flop/s; empty where none was
   * measured, and for what other units than those may have computed.
   */
  public OptionalDouble peakFlops(Trial trial) {
    Device device = trial.device();
    if (device.emulated() || !workload.isFp32()) {
      return OptionalDouble.empty();
    }
    if (device.kind() == Device.Kind.CPU) {
      return hostPeakFlops;
    }
    Double own = ownPeakFlops.get(device.id());
    return own == null ? OptionalDouble.empty() : OptionalDouble.of(own);
  }

  /**
   * Share of {@link #peakFlops} that a trial reached; empty when it was not timed. By the device's
   * clock where it has one, as the peak itself is measured: on the host's, a short kernel's share
   * would be mostly that of launching it.
   */
  public OptionalDouble peakShare(Trial trial) {
    OptionalDouble peak = peakFlops(trial);
    Optional<Measurement> measured = trial.measurement();
    double flops = workload.chain().flops();
    if (peak.isEmpty() || measured.isEmpty() || flops == 0) {
      return OptionalDouble.empty();
    }
    long ns = measured.get().deviceMedianNs().orElse(measured.get().medianNs());
    return OptionalDouble.of(flops / (ns * 1e-9) / peak.getAsDouble());
  }

  private static List<String> rungs(Installation.Candidate candidate, Workload workload) {
    return candidate.backend().algorithms(candidate.device(), workload.focus());
  }

  private static void requireKnown(
      List<Installation.Candidate> candidates, Workload workload, Optional<String> algorithm) {
    if (algorithm.isEmpty()) {
      return;
    }
    List<String> known =
        candidates.stream().flatMap(c -> rungs(c, workload).stream()).distinct().toList();
    if (!known.contains(algorithm.get())) {
      throw unknown(algorithm.get(), known);
    }
  }

  /** Says that no selected device has such an algorithm. */
  static IllegalArgumentException unknown(String algorithm, List<String> known) {
    return new IllegalArgumentException(
        "no selected device has the algorithm '"
            + algorithm
            + "'; there are "
            + String.join(", ", known.stream().distinct().toList()));
  }
}
