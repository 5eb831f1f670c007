package dev.heddle.lab;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.HostTensor;
import dev.heddle.reference.Expectation;
import dev.heddle.reference.TolerancePolicy;
import dev.heddle.reference.Verifier;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/** Attention on a user's own tensors, by one device, verified. */
public final class Attend {
  /** Longest sequence of the rehearsal by which a device is chosen. */
  private static final int REHEARSAL_SEQLEN = 512;

  private final Installation installation;
  private final TolerancePolicy policy;
  private final Consumer<String> progress;

  /**
   * The use case.
   *
   * @param progress told what happens, in a few words
   */
  public Attend(Installation installation, TolerancePolicy policy, Consumer<String> progress) {
    this.installation = installation;
    this.policy = policy;
    this.progress = progress;
  }

  /**
   * Runs the problem on the selected device, or on the fastest that supports it.
   *
   * @param inputs q, k and v
   * @param algorithm attention's algorithm, or the highest rung that the device supports
   * @throws IllegalArgumentException when the selection or the algorithm names what does not exist,
   *     or the values overflow fp32
   * @throws NothingToRunException when no selected device supports the problem
   */
  public Trial run(
      AttentionProblem problem,
      Map<String, HostTensor> inputs,
      Selection selection,
      Optional<String> algorithm) {
    Workload workload = Workload.of(problem, inputs, "the tensors given");
    List<Choice> choices = choices(problem, selection, algorithm);
    Choice choice = choices.size() == 1 ? choices.getFirst() : fastest(choices, problem);
    progress.accept("attention by " + choice + "; computing the reference in double precision");
    Expectation expectation = Expectation.of(workload.chain(), workload.inputs());
    expectation
        .overflowing()
        .ifPresent(tensor -> {
          throw new IllegalArgumentException(
              "with these values attention overflows "
                  + tensor.dtype().label()
                  + ": a plain evaluation gives no finite "
                  + tensor.name());
        });
    return choice.trial(workload, expectation, new Verifier(policy), new Trial.Purpose.Outputs());
  }

  private record Choice(Installation.Candidate candidate, String algorithm) {
    Trial trial(
        Workload workload, Expectation expectation, Verifier verifier, Trial.Purpose purpose) {
      return Trial.run(candidate, workload, algorithm, expectation, verifier, purpose);
    }

    @Override
    public String toString() {
      return candidate.device().id()
          + " "
          + algorithm
          + " ("
          + candidate.device().displayName()
          + ")";
    }
  }

  /**
   * The best supporting rung of each device; the oracle and emulators only where nothing else is.
   */
  private List<Choice> choices(
      AttentionProblem problem, Selection selection, Optional<String> algorithm) {
    List<Choice> choices = new ArrayList<>();
    List<String> refusals = new ArrayList<>();
    List<String> known = new ArrayList<>();
    for (Installation.Candidate candidate : installation.candidates(selection)) {
      List<String> ladder = candidate.backend().algorithms(candidate.device(), problem);
      known.addAll(ladder);
      Optional<String> refusal = Optional.empty();
      boolean runs = false;
      for (String rung : ladder.reversed()) {
        if (algorithm.isPresent() && !algorithm.get().equals(rung)) {
          continue;
        }
        var plan = candidate.backend().plan(candidate.device(), problem, rung);
        var declared = candidate.backend().refusal(candidate.device(), problem, plan);
        if (declared.isEmpty()) {
          choices.add(new Choice(candidate, rung));
          runs = true;
          break;
        }
        if (refusal.isEmpty()) {
          refusal = Optional.of(candidate.device().id() + " " + rung + ": " + declared.get());
        }
      }
      if (!runs) {
        refusal.ifPresent(refusals::add);
      }
    }
    if (choices.isEmpty()) {
      if (refusals.isEmpty() && algorithm.isPresent()) {
        throw Comparison.unknown(algorithm.get(), known);
      }
      throw new NothingToRunException(
          "no device supports this problem: " + String.join("; ", refusals));
    }
    List<Choice> serious =
        choices.stream()
            .filter(c -> !c.candidate.device().emulated())
            .filter(c -> !c.candidate.backend().id().equals("reference"))
            .toList();
    return serious.isEmpty() ? List.of(choices.getFirst()) : serious;
  }

  /** The one that passes a cut-down problem of the same kind in the shortest time. */
  private Choice fastest(List<Choice> choices, AttentionProblem problem) {
    AttentionShape shape = problem.shape();
    AttentionShape small =
        new AttentionShape(
            1,
            shape.groupSize() * Math.min(shape.headsKv(), 2),
            Math.min(shape.headsKv(), 2),
            Math.min(shape.seqlenQ(), REHEARSAL_SEQLEN),
            Math.min(shape.seqlenK(), REHEARSAL_SEQLEN),
            shape.headDim(),
            shape.headDimV());
    Workload rehearsal = Workload.random(problem.withShape(small), 0);
    progress.accept("choosing the fastest device by " + rehearsal.description());
    Expectation expectation = Expectation.of(rehearsal.chain(), rehearsal.inputs());
    record Rehearsed(Choice choice, long medianNs) {}
    List<Rehearsed> passed = new ArrayList<>();
    for (Choice choice : choices) {
      choice
          .trial(rehearsal, expectation, new Verifier(policy), Trial.Purpose.Times.STANDARD)
          .measurement()
          .ifPresent(m -> passed.add(new Rehearsed(choice, m.medianNs())));
    }
    return passed.stream()
        .min(Comparator.comparingLong(Rehearsed::medianNs))
        .map(Rehearsed::choice)
        .orElseThrow(() ->
            new NothingToRunException(
                "no device passes " + rehearsal.description() + "; see heddle compare"));
  }
}
