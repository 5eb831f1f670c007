package dev.heddle.lab;

import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.Planner;
import dev.heddle.core.Probe;
import dev.heddle.core.Provenance;
import dev.heddle.core.Refusal;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.reference.ConformanceCase;
import dev.heddle.reference.Expectation;
import dev.heddle.reference.Feature;
import dev.heddle.reference.TolerancePolicy;
import dev.heddle.reference.Verdict;
import dev.heddle.reference.Verifier;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Predicate;

/**
 * Many cases on many devices: whether each computes attention correctly.
 *
 * <p>The reference is judged like the others. It is the oracle's own formulas, so that {@code
 * naive} passing says little, but it rounds to the storage type, and {@code staged} and {@code
 * flash} are code of their own; and where everything fails, a reference that fails too says that
 * the fault is Heddle's.
 *
 * @param suite what the cases are called together
 * @param policies the rules that judged; the first one's verdicts count, the others' are opinions
 * @param devices the devices that were asked
 * @param answers one for each case, device and algorithm
 * @param missing backends that are unavailable, with what they said
 * @param start when it began
 * @param elapsedNs how long it took, ns
 */
public record Conformance(
    String suite,
    List<TolerancePolicy> policies,
    List<Device> devices,
    List<Answer> answers,
    Map<String, Probe.Unavailable> missing,
    Instant start,
    long elapsedNs) {

  /**
   * What is asked of whom.
   *
   * @param suite what the cases are called together
   * @param cases the cases, of one storage type or of several
   * @param selection which devices
   * @param algorithm the algorithm of each case's focus, or every one that a device has
   * @param policies the rules that judge, at least one; the first one's verdicts count
   */
  public record Request(
      String suite,
      List<ConformanceCase> cases,
      Selection selection,
      Optional<String> algorithm,
      List<TolerancePolicy> policies) {
    /**
     * Freezes the lists.
     *
     * @throws IllegalArgumentException when there is no case or no policy
     */
    public Request {
      cases = List.copyOf(cases);
      policies = List.copyOf(policies);
      if (cases.isEmpty() || policies.isEmpty()) {
        throw new IllegalArgumentException("a case and a policy are needed");
      }
    }
  }

  /**
   * A case on a device under one algorithm.
   *
   * @param testCase the case
   * @param device the device
   * @param algorithm the algorithm of the case's focus; empty where the device has none
   * @param kernel name of the focus's kernel
   * @param verdicts one by each policy
   * @param provenance of each step; empty where nothing ran
   * @param elapsedNs how long it took, compilation included, ns
   */
  public record Answer(
      ConformanceCase testCase,
      Device device,
      Optional<String> algorithm,
      String kernel,
      List<Verdict> verdicts,
      List<Provenance> provenance,
      long elapsedNs) {
    /** Freezes the lists. */
    public Answer {
      verdicts = List.copyOf(verdicts);
      provenance = List.copyOf(provenance);
    }

    /** The verdict that counts. */
    public Verdict verdict() {
      return verdicts.getFirst();
    }

    /** Whether the result, or the attempt at one, is wrong. */
    public boolean failed() {
      return verdict() instanceof Verdict.Fail;
    }
  }

  /**
   * How many answers were what.
   *
   * @param passed within the bounds
   * @param failed wrong
   * @param refused declared not to be supported
   */
  public record Counts(int passed, int failed, int refused) {
    /** All of them. */
    public int total() {
      return passed + failed + refused;
    }
  }

  /** Freezes the collections. */
  public Conformance {
    policies = List.copyOf(policies);
    devices = List.copyOf(devices);
    answers = List.copyOf(answers);
    missing = java.util.Collections.unmodifiableMap(new LinkedHashMap<>(missing));
  }

  /**
   * Asks every selected device every case.
   *
   * @param progress told of each step before it starts, in a few words
   * @throws IllegalArgumentException when the selection names what does not exist, or no selected
   *     device has the algorithm
   * @throws NothingToRunException when the selected backend is unavailable, or there is no device
   */
  public static Conformance run(
      Installation installation, Request request, Consumer<String> progress) {
    Instant start = Instant.now();
    long startNs = System.nanoTime();
    List<Installation.Candidate> candidates = installation.candidates(request.selection);
    if (candidates.isEmpty()) {
      throw new NothingToRunException("no backend has a device; see heddle devices");
    }
    requireKnown(candidates, request);
    List<Answer> answers = new ArrayList<>();
    int asked = 0;
    for (ConformanceCase testCase : request.cases) {
      asked++;
      String doing = asked + " of " + request.cases.size() + ", " + testCase;
      answers.addAll(ask(candidates, testCase, request, at -> progress.accept(doing + at)));
    }
    return new Conformance(
        request.suite,
        request.policies,
        candidates.stream().map(Installation.Candidate::device).toList(),
        answers,
        installation.missing(request.selection),
        start,
        System.nanoTime() - startNs);
  }

  private static void requireKnown(List<Installation.Candidate> candidates, Request request) {
    if (request.algorithm.isEmpty()) {
      return;
    }
    List<String> known =
        candidates.stream()
            .flatMap(candidate ->
                request.cases.stream().flatMap(testCase -> rungs(candidate, testCase).stream()))
            .distinct()
            .toList();
    if (!known.contains(request.algorithm.get())) {
      throw Comparison.unknown(request.algorithm.get(), known);
    }
  }

  private static List<String> rungs(Installation.Candidate candidate, ConformanceCase testCase) {
    return candidate.backend().algorithms(candidate.device(), testCase.focus());
  }

  /** One case on every device; the oracle's answer is computed if one of them runs it. */
  private static List<Answer> ask(
      List<Installation.Candidate> candidates,
      ConformanceCase testCase,
      Request request,
      Consumer<String> progress) {
    Workload workload =
        new Workload(
            testCase.toString(),
            Optional.empty(),
            testCase.focus(),
            testCase.chain(),
            testCase.tensors());
    List<Answer> answers = new ArrayList<>();
    Optional<Expectation> expectation = Optional.empty();
    for (Installation.Candidate candidate : candidates) {
      List<String> rungs = rungs(candidate, testCase);
      if (rungs.isEmpty()) {
        answers.add(withoutRung(candidate, testCase, request.policies));
      }
      for (String rung : rungs) {
        if (request.algorithm.isPresent() && !request.algorithm.get().equals(rung)) {
          continue;
        }
        progress.accept(" on " + candidate.device().id() + " by " + rung);
        if (expectation.isEmpty() && Trial.refusal(candidate, workload, rung).isEmpty()) {
          expectation = Optional.of(Expectation.of(workload.chain(), workload.inputs()));
        }
        answers.add(answer(candidate, testCase, workload, rung, expectation, request.policies));
      }
    }
    return answers;
  }

  private static Answer answer(
      Installation.Candidate candidate,
      ConformanceCase testCase,
      Workload workload,
      String rung,
      Optional<Expectation> expectation,
      List<TolerancePolicy> policies) {
    long startNs = System.nanoTime();
    record Judgement(List<Verdict> verdicts, List<Provenance> provenance) {}
    Judgement judgement =
        Trial.attempt(
            candidate,
            workload,
            rung,
            (session, chain) -> {
              Verifier.Observation seen = Verifier.Observation.of(chain);
              return new Judgement(
                  policies.stream()
                      .map(policy -> new Verifier(policy).judge(expectation.orElseThrow(), seen))
                      .toList(),
                  chain.provenance());
            },
            verdict -> new Judgement(same(verdict, policies), List.of()));
    return new Answer(
        testCase,
        candidate.device(),
        Optional.of(rung),
        Trial.kernel(workload, rung),
        judgement.verdicts,
        judgement.provenance,
        System.nanoTime() - startNs);
  }

  /** The answer of a device that has no algorithm at all for the case's focus: a refusal. */
  private static Answer withoutRung(
      Installation.Candidate candidate, ConformanceCase testCase, List<TolerancePolicy> policies) {
    Refusal refusal;
    try {
      new Planner(candidate.backend(), candidate.device()).plan(testCase.focus());
      throw new IllegalStateException("a plan without an algorithm");
    } catch (UnsupportedProblemException e) {
      refusal = e.refusal();
    }
    return new Answer(
        testCase,
        candidate.device(),
        Optional.empty(),
        testCase.focus().name(),
        same(new Verdict.Refused(refusal), policies),
        List.of(),
        0);
  }

  /** What does not depend on a tolerance is the same by every policy. */
  private static List<Verdict> same(Verdict verdict, List<TolerancePolicy> policies) {
    return policies.stream().map(policy -> verdict).toList();
  }

  /** The policy whose verdicts count. */
  public TolerancePolicy policy() {
    return policies.getFirst();
  }

  /** The storage types that were asked, in their order. */
  public List<DType> dtypes() {
    return DType.FLOATING.stream()
        .filter(dtype -> answers.stream().anyMatch(a -> a.testCase.dtype() == dtype))
        .toList();
  }

  /** The features that some case has, in their order. */
  public List<Feature> features() {
    return Arrays.stream(Feature.values())
        .filter(feature -> answers.stream().anyMatch(a -> a.testCase.features().contains(feature)))
        .toList();
  }

  /** All answers, by the verdict that counts. */
  public Counts counts() {
    return counts(0, answer -> true);
  }

  /** One cell of the matrix. */
  public Counts counts(Feature feature, DType dtype, Device device) {
    return counts(
        0,
        answer ->
            answer.device.equals(device)
                && answer.testCase.dtype() == dtype
                && answer.testCase.features().contains(feature));
  }

  /** What a policy, which must be one of those that judged, makes of a device's answers. */
  public Counts counts(TolerancePolicy by, Device device) {
    return counts(policies.indexOf(by), answer -> answer.device.equals(device));
  }

  /**
   * The same of {@linkplain ConformanceCase#isOrdinaryAttention ordinary attention} alone, which is
   * what projects publish their rules for.
   */
  public Counts ordinaryCounts(TolerancePolicy by, Device device) {
    return counts(
        policies.indexOf(by),
        answer -> answer.device.equals(device) && answer.testCase.isOrdinaryAttention());
  }

  private Counts counts(int policy, Predicate<Answer> which) {
    int passed = 0;
    int failed = 0;
    int refused = 0;
    for (Answer answer : answers) {
      if (which.test(answer)) {
        switch (answer.verdicts.get(policy)) {
          case Verdict.Pass pass -> passed++;
          case Verdict.Fail fail -> failed++;
          case Verdict.Refused no -> refused++;
        }
      }
    }
    return new Counts(passed, failed, refused);
  }

  /** The wrong answers, in the order in which they were given. */
  public List<Answer> failures() {
    return answers.stream().filter(Answer::failed).toList();
  }

  /**
   * How often a device refused for each reason; reasons that differ only in their numbers count as
   * one, under the first one's words.
   */
  public Map<String, Integer> refusals(Device device) {
    Map<String, String> words = new LinkedHashMap<>();
    Map<String, Integer> counts = new LinkedHashMap<>();
    for (Answer answer : answers) {
      if (answer.device.equals(device) && answer.verdict() instanceof Verdict.Refused refused) {
        String reason = refused.refusal().toString();
        String first = words.computeIfAbsent(reason.replaceAll("[0-9]+", "#"), key -> reason);
        counts.merge(first, 1, Integer::sum);
      }
    }
    return counts;
  }

  /** The command that asks one device this one case again. */
  public String command(Answer answer) {
    return command(
        "--case " + answer.testCase.name() + " --dtype " + answer.testCase.dtype().label(),
        answer.device,
        answer.algorithm,
        policy());
  }

  /** The command that asks one device what the options name. */
  static String command(
      String options, Device device, Optional<String> algorithm, TolerancePolicy policy) {
    StringBuilder command = new StringBuilder();
    if (device.backend().equals("cuda") && device.emulated()) {
      command.append("HEDDLE_CUDA=emulator ");
    }
    command
        .append("./heddle conform ")
        .append(options)
        .append(" --backend ")
        .append(device.backend())
        .append(" --device ")
        .append(device.index());
    algorithm.ifPresent(rung -> command.append(" --algorithm ").append(rung));
    return command.append(" --policy ").append(policy.name()).toString();
  }
}
