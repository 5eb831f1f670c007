package dev.heddle.lab;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Plan;
import dev.heddle.core.Planner;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Probe;
import dev.heddle.core.Session;
import dev.heddle.reference.Expectation;
import dev.heddle.reference.FuzzCase;
import dev.heddle.reference.Relation;
import dev.heddle.reference.TolerancePolicy;
import dev.heddle.reference.Verdict;
import dev.heddle.reference.Verifier;
import dev.heddle.reference.WorstCase;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;

/**
 * Drawn problems on many devices: each result is judged against the reference, and {@linkplain
 * Relation relations} that need none are tried. What fails is shrunk to a smaller problem that
 * fails in the same way.
 *
 * <p>A policy's bound is made of the errors that a plain implementation happens to make, which on a
 * problem of a few elements may be none at all. So a result that the policy does not pass is a
 * failure only if its error is also more than {@linkplain WorstCase any order of fp32 arithmetic}
 * can lose; otherwise it counts as strained.
 *
 * @param tallies of each device
 * @param failures the first ones of each kind, shrunk
 * @param missing backends that are unavailable, with what they said
 * @param cases problems that were drawn and asked
 * @param elapsedNs how long it took, ns
 */
public record Fuzz(
    List<Tally> tallies,
    List<Failure> failures,
    Map<String, Probe.Unavailable> missing,
    long cases,
    long elapsedNs) {

  /** Failures of one kind by one algorithm that are shrunk; more are only counted. */
  private static final int MOST_SHRUNK = 2;

  /** Problems that are tried while one failure is shrunk. */
  private static final int MOST_TRIES = 500;

  /**
   * What is asked of whom.
   *
   * @param seed of the drawn problems
   * @param only this one problem and no drawn ones, where given
   * @param durationNs no problem is begun after so long, ns
   * @param dtypes storage types; drawn problems of others are passed over
   * @param selection which devices
   * @param algorithm the algorithm, or every one that a device has
   * @param policy the rule that judges
   */
  public record Request(
      long seed,
      Optional<FuzzCase> only,
      long durationNs,
      Set<DType> dtypes,
      Selection selection,
      Optional<String> algorithm,
      TolerancePolicy policy) {
    /**
     * Freezes the set.
     *
     * @throws IllegalArgumentException when there is no storage type
     */
    public Request {
      dtypes = Set.copyOf(dtypes);
      if (dtypes.isEmpty()) {
        throw new IllegalArgumentException("a storage type is needed");
      }
    }
  }

  /**
   * How a device has done; one problem under one algorithm counts as one.
   *
   * @param device the device
   * @param passed right, the strained ones included
   * @param strained those that the policy does not pass, though fp32 may be as far off
   * @param failed wrong
   * @param refused declared not to be supported
   * @param busyNs time spent on it, ns
   */
  public record Tally(
      Device device, int passed, int strained, int failed, int refused, long busyNs) {
    private Tally and(Answer answer, long ns) {
      return switch (answer) {
        case Answer.Right right ->
            new Tally(
                device,
                passed + 1,
                strained + (right.strained ? 1 : 0),
                failed,
                refused,
                busyNs + ns);
        case Answer.Wrong wrong ->
            new Tally(device, passed, strained, failed + 1, refused, busyNs + ns);
        case Answer.Refused no ->
            new Tally(device, passed, strained, failed, refused + 1, busyNs + ns);
      };
    }

    /** Problems that were run each second. */
    public double perSecond() {
      return busyNs == 0 ? 0 : (passed + failed) / (busyNs * 1e-9);
    }
  }

  /**
   * A problem that a device gets wrong.
   *
   * @param drawn the problem as it was drawn
   * @param smallest a smaller one that is wrong in the same way, and that no single step makes
   *     smaller
   * @param device the device
   * @param algorithm of attention
   * @param message what is wrong with the smallest, one sentence
   */
  public record Failure(
      FuzzCase drawn, FuzzCase smallest, Device device, String algorithm, String message) {}

  private sealed interface Answer {
    record Right(boolean strained) implements Answer {}

    /** What was wrong: the kind that shrinking keeps, and a sentence. */
    record Wrong(String kind, String message) implements Answer {}

    record Refused() implements Answer {}
  }

  private record Place(Installation.Candidate candidate, String algorithm) {}

  /** Freezes the collections. */
  public Fuzz {
    tallies = List.copyOf(tallies);
    failures = List.copyOf(failures);
    missing = java.util.Collections.unmodifiableMap(new LinkedHashMap<>(missing));
  }

  /**
   * Asks every selected device one drawn problem after another.
   *
   * @param progress told what is being done, in a few words
   * @throws IllegalArgumentException when the selection names what does not exist, or no selected
   *     device has the algorithm
   * @throws NothingToRunException when the selected backend is unavailable, or there is no device
   */
  public static Fuzz run(Installation installation, Request request, Consumer<String> progress) {
    long start = System.nanoTime();
    List<Installation.Candidate> candidates = installation.candidates(request.selection);
    if (candidates.isEmpty()) {
      throw new NothingToRunException("no backend has a device; see heddle devices");
    }
    requireKnown(candidates, request);
    Map<Installation.Candidate, Tally> tallies = new LinkedHashMap<>();
    candidates.forEach(c -> tallies.put(c, new Tally(c.device(), 0, 0, 0, 0, 0)));
    List<Failure> failures = new ArrayList<>();
    Map<String, Integer> kinds = new HashMap<>();
    long cases = 0;
    long index = 0;
    do {
      FuzzCase testCase = request.only.orElse(FuzzCase.draw(request.seed, index));
      index++;
      if (!request.dtypes.contains(testCase.dtype())) {
        continue;
      }
      cases++;
      for (Installation.Candidate candidate : candidates) {
        for (Place place : places(candidate, testCase, request)) {
          String where = " on " + candidate.device().id() + " by " + place.algorithm;
          progress.accept("case " + cases + ", " + testCase + where);
          long since = System.nanoTime();
          Answer answer = ask(place, testCase, request.policy);
          tallies.computeIfPresent(
              candidate, (key, tally) -> tally.and(answer, System.nanoTime() - since));
          if (answer instanceof Answer.Wrong wrong
              && kinds.merge(where + wrong.kind, 1, Integer::sum) <= MOST_SHRUNK) {
            progress.accept("shrinking " + testCase + where);
            failures.add(
                request.only.isPresent()
                    ? failure(testCase, testCase, place, wrong)
                    : shrunk(testCase, place, wrong, request.policy));
          }
        }
      }
    } while (request.only.isEmpty() && System.nanoTime() - start < request.durationNs);
    return new Fuzz(
        List.copyOf(tallies.values()),
        failures,
        installation.missing(request.selection),
        cases,
        System.nanoTime() - start);
  }

  private static void requireKnown(List<Installation.Candidate> candidates, Request request) {
    if (request.algorithm.isEmpty()) {
      return;
    }
    AttentionProblem any = FuzzCase.draw(0, 0).problem().withOptions(AttentionOptions.NONE);
    List<String> known =
        candidates.stream()
            .flatMap(c ->
                DType.FLOATING.stream()
                    .flatMap(
                        dtype -> c.backend().algorithms(c.device(), any.withDtype(dtype)).stream()))
            .distinct()
            .toList();
    if (!known.contains(request.algorithm.get())) {
      throw Comparison.unknown(request.algorithm.get(), known);
    }
  }

  private static List<Place> places(
      Installation.Candidate candidate, FuzzCase testCase, Request request) {
    return candidate.backend().algorithms(candidate.device(), testCase.problem()).stream()
        .filter(rung -> request.algorithm.isEmpty() || request.algorithm.get().equals(rung))
        .map(rung -> new Place(candidate, rung))
        .toList();
  }

  private static Failure failure(
      FuzzCase drawn, FuzzCase smallest, Place place, Answer.Wrong wrong) {
    return new Failure(drawn, smallest, place.candidate.device(), place.algorithm, wrong.message);
  }

  /**
   * Goes from a failing case to the first simpler one that fails alike, as long as there is one.
   */
  private static Failure shrunk(
      FuzzCase drawn, Place place, Answer.Wrong first, TolerancePolicy policy) {
    FuzzCase smallest = drawn;
    Answer.Wrong wrong = first;
    int tries = 0;
    boolean simpler = true;
    while (simpler) {
      simpler = false;
      for (FuzzCase candidate : smallest.simpler()) {
        if (tries++ < MOST_TRIES
            && ask(place, candidate, policy) instanceof Answer.Wrong again
            && again.kind.equals(wrong.kind)) {
          smallest = candidate;
          wrong = again;
          simpler = true;
          break;
        }
      }
    }
    return failure(drawn, smallest, place, wrong);
  }

  private static Answer ask(Place place, FuzzCase testCase, TolerancePolicy policy) {
    AttentionProblem problem = testCase.problem();
    Map<String, HostTensor> inputs = testCase.tensors();
    Workload workload =
        new Workload(testCase.toString(), Optional.empty(), problem, Chain.of(problem), inputs);
    return Trial.attempt(
        place.candidate,
        workload,
        place.algorithm,
        (session, chain) -> answer(place, testCase, inputs, session, chain, policy),
        verdict ->
            verdict instanceof Verdict.Fail(String message, List<Verdict.Judged> tensors)
                ? new Answer.Wrong("device", message)
                : new Answer.Refused());
  }

  private static Answer answer(
      Place place,
      FuzzCase testCase,
      Map<String, HostTensor> inputs,
      Session session,
      PreparedChain chain,
      TolerancePolicy policy) {
    Verifier.Observation seen = Verifier.Observation.of(chain);
    Expectation expectation = Expectation.of(Chain.of(testCase.problem()), inputs);
    Verdict verdict = new Verifier(policy).judge(expectation, seen);
    boolean strained = false;
    if (verdict instanceof Verdict.Fail(String message, List<Verdict.Judged> tensors)) {
      Optional<String> exceeded =
          WorstCase.exceeded(testCase.problem(), inputs, expectation, seen.outputs());
      if (exceeded.isPresent() || !seen.brokenGuards().isEmpty()) {
        return new Answer.Wrong(
            "reference", message + exceeded.map(more -> "; " + more).orElse(""));
      }
      strained = true;
    }
    for (Relation relation : Relation.values()) {
      Optional<String> violation =
          relation.check(
              testCase,
              (operation, tensors) -> {
                Planner planner = new Planner(place.candidate.backend(), place.candidate.device());
                Plan plan =
                    operation instanceof AttentionProblem
                        ? planner.plan(operation, place.algorithm)
                        : planner.plan(operation);
                try (PreparedChain run =
                    PreparedChain.prepare(session, Chain.of(operation), step -> plan, tensors)) {
                  Verifier.Observation result = Verifier.Observation.of(run);
                  if (!result.brokenGuards().isEmpty()) {
                    throw new IllegalStateException("wrote outside " + result.brokenGuards());
                  }
                  return result.outputs();
                }
              });
      if (violation.isPresent()) {
        return new Answer.Wrong(relation.name(), violation.get());
      }
    }
    return new Answer.Right(strained);
  }

  /** The command that asks one device a failure's smallest problem again. */
  public static String command(Failure failure, TolerancePolicy policy) {
    return Conformance.command(
        "--fuzz-case " + failure.smallest,
        failure.device,
        Optional.of(failure.algorithm),
        Optional.of(policy.name()));
  }
}
