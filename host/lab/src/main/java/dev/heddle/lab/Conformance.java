package dev.heddle.lab;

import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Planner;
import dev.heddle.core.Probe;
import dev.heddle.core.Provenance;
import dev.heddle.core.Refusal;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.reference.ConformanceCase;
import dev.heddle.reference.Expectation;
import dev.heddle.reference.TolerancePolicy;
import dev.heddle.reference.Verdict;
import dev.heddle.reference.Verifier;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.function.Supplier;

/**
 * Many cases on many devices: whether each computes attention correctly.
 *
 * <p>The reference is judged like the others. It is the oracle's own formulas, so that {@code
 * naive} passing says little, but it rounds to the storage type, and {@code staged} and {@code
 * flash} are code of their own; and where everything fails, a reference that fails too says that
 * the fault is Heddle's.
 *
 * @param suite what the cases are called together
 * @param subject what a row of the matrix is: a feature or a case
 * @param policies the rules that judged; the first one's verdicts count, the others' are opinions
 * @param devices the devices that were asked
 * @param answers one for each case, device and algorithm
 * @param unusable what was to be a case and could not be read
 * @param missing backends that are unavailable, with what they said
 * @param start when it began
 * @param elapsedNs how long it took, ns
 */
public record Conformance(
    String suite,
    Subject subject,
    List<TolerancePolicy> policies,
    List<Device> devices,
    List<Answer> answers,
    List<Unusable> unusable,
    Map<String, Probe.Unavailable> missing,
    Instant start,
    long elapsedNs) {

  /** What a row of the matrix is. */
  public enum Subject {
    /** Something that cases have. */
    FEATURE,
    /** A case. */
    CASE;

    /** Name for people. */
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /**
   * What was to be a case and could not be read: no device is to blame.
   *
   * @param name what it is called
   * @param reason one line that names file and value
   */
  public record Unusable(String name, String reason) {}

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
   * @param question the case
   * @param device the device
   * @param algorithm the algorithm of the case's focus; empty where the device has none
   * @param kernel name of the focus's kernel
   * @param verdicts one by each policy
   * @param provenance of each step; empty where nothing ran
   * @param elapsedNs how long it took, compilation included, ns
   */
  public record Answer(
      Question question,
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

    /** The same with another verdict by every policy. */
    private Answer but(Verdict verdict) {
      List<Verdict> all = verdicts.stream().map(each -> verdict).toList();
      return new Answer(question, device, algorithm, kernel, all, provenance, elapsedNs);
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
    unusable = List.copyOf(unusable);
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
    List<Supplier<Exercise>> exercises = new ArrayList<>();
    for (ConformanceCase testCase : request.cases) {
      exercises.add(() -> Exercise.Task.of(testCase));
    }
    return run(
        installation,
        new Asking(
            request.suite, Subject.FEATURE, request.selection, request.algorithm, request.policies),
        exercises,
        progress);
  }

  /**
   * What all exercises have in common.
   *
   * @param suite what they are called together
   * @param subject what a row of the matrix is
   * @param selection which devices
   * @param algorithm the algorithm of each one's focus, or every one that a device has
   * @param policies the rules that judge, at least one; the first one's verdicts count
   */
  record Asking(
      String suite,
      Subject subject,
      Selection selection,
      Optional<String> algorithm,
      List<TolerancePolicy> policies) {}

  /** Puts exercises to every selected device, each made when its turn comes. */
  static Conformance run(
      Installation installation,
      Asking asking,
      List<? extends Supplier<? extends Exercise>> exercises,
      Consumer<String> progress) {
    Instant start = Instant.now();
    long startNs = System.nanoTime();
    List<Installation.Candidate> candidates = installation.candidates(asking.selection);
    if (candidates.isEmpty()) {
      throw new NothingToRunException("no backend has a device; see heddle devices");
    }
    List<Answer> answers = new ArrayList<>();
    List<Unusable> unusable = new ArrayList<>();
    Set<String> known = new LinkedHashSet<>();
    List<SharedSession> sessions = candidates.stream().map(SharedSession::new).toList();
    Optional<String> type = Optional.empty();
    int asked = 0;
    try (ExecutorService threads = Executors.newFixedThreadPool(candidates.size())) {
      for (Supplier<? extends Exercise> exercise : exercises) {
        asked++;
        String doing = asked + " of " + exercises.size();
        switch (exercise.get()) {
          case Exercise.Task task -> {
            if (!type.equals(Optional.of(task.question().type()))) {
              // Kernels of one storage type are of no use to another, and take memory.
              close(sessions, answers);
              type = Optional.of(task.question().type());
            }
            candidates.forEach(candidate -> known.addAll(rungs(candidate, task.focus())));
            progress.accept(doing + ", " + task.question());
            answers.addAll(ask(threads, sessions, task, asking));
          }
          case Exercise.Declined declined ->
              candidates.forEach(candidate ->
                  answers.add(
                      refused(
                          declined.question(),
                          candidate.device(),
                          declined.kernel(),
                          declined.refusal(),
                          asking.policies)));
          case Exercise.Broken broken -> unusable.add(broken.what());
        }
      }
    } finally {
      close(sessions, answers);
    }
    if (asking.algorithm.isPresent()
        && !known.isEmpty()
        && !known.contains(asking.algorithm.get())) {
      throw Comparison.unknown(asking.algorithm.get(), List.copyOf(known));
    }
    return new Conformance(
        asking.suite,
        asking.subject,
        asking.policies,
        candidates.stream().map(Installation.Candidate::device).toList(),
        answers,
        unusable,
        installation.missing(asking.selection),
        start,
        System.nanoTime() - startNs);
  }

  private static List<String> rungs(Installation.Candidate candidate, Operation focus) {
    return candidate.backend().algorithms(candidate.device(), focus);
  }

  /** Closes what is open; where that goes wrong, the device's last answer is that it did. */
  private static void close(List<SharedSession> sessions, List<Answer> answers) {
    for (SharedSession session : sessions) {
      session
          .close()
          .ifPresent(verdict -> {
            for (int i = answers.size() - 1; i >= 0; i--) {
              if (answers.get(i).device.equals(session.candidate().device())) {
                answers.set(i, answers.get(i).but(verdict));
                break;
              }
            }
          });
    }
  }

  /**
   * One case on every device, each by a thread of its own: one may compile while another computes.
   * What the case needs is made once, if one of them runs it.
   */
  private static List<Answer> ask(
      ExecutorService threads, List<SharedSession> sessions, Exercise.Task task, Asking asking) {
    Optional<Workload> workload = Optional.empty();
    Optional<Expectation> expectation = Optional.empty();
    for (SharedSession session : sessions) {
      for (String rung : asked(session, task, asking)) {
        Workload made = workload.orElseGet(task.workload());
        workload = Optional.of(made);
        if (expectation.isEmpty() && Trial.refusal(session.candidate(), made, rung).isEmpty()) {
          expectation = Optional.of(task.expectation().apply(made));
        }
      }
    }
    List<Future<List<Answer>>> pending = new ArrayList<>();
    for (SharedSession session : sessions) {
      Optional<Workload> given = workload;
      Optional<Expectation> right = expectation;
      pending.add(
          threads.submit(() -> {
            if (rungs(session.candidate(), task.focus()).isEmpty()) {
              return List.of(withoutRung(session.candidate(), task, asking.policies));
            }
            return asked(session, task, asking).stream()
                .map(rung -> answer(session, task, given.orElseThrow(), rung, right, asking))
                .toList();
          }));
    }
    return pending.stream().map(Conformance::result).flatMap(List::stream).toList();
  }

  private static <T> T result(Future<T> pending) {
    try {
      return pending.get();
    } catch (ExecutionException e) {
      throw new IllegalStateException(e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("interrupted");
    }
  }

  private static List<String> asked(SharedSession session, Exercise.Task task, Asking asking) {
    return rungs(session.candidate(), task.focus()).stream()
        .filter(rung -> asking.algorithm.isEmpty() || asking.algorithm.get().equals(rung))
        .toList();
  }

  private static Answer answer(
      SharedSession session,
      Exercise.Task task,
      Workload workload,
      String rung,
      Optional<Expectation> expectation,
      Asking asking) {
    long startNs = System.nanoTime();
    record Judgement(List<Verdict> verdicts, List<Provenance> provenance) {}
    Judgement judgement =
        session.attempt(
            workload,
            rung,
            (opened, chain) -> {
              Verifier.Observation seen = Verifier.Observation.of(chain);
              Map<String, HostTensor> outputs = task.outputs().apply(seen.outputs());
              return new Judgement(
                  asking.policies.stream()
                      .map(policy ->
                          new Verifier(task.rule().apply(policy))
                              .judge(expectation.orElseThrow(), outputs, seen.brokenGuards()))
                      .toList(),
                  chain.provenance());
            },
            verdict -> new Judgement(same(verdict, asking.policies), List.of()),
            made -> made.verdicts.stream().anyMatch(Verdict.Fail.class::isInstance));
    return new Answer(
        task.question(),
        session.candidate().device(),
        Optional.of(rung),
        Trial.kernel(workload, rung),
        judgement.verdicts,
        judgement.provenance,
        System.nanoTime() - startNs);
  }

  /** The answer of a device that has no algorithm at all for the case's focus: a refusal. */
  private static Answer withoutRung(
      Installation.Candidate candidate, Exercise.Task task, List<TolerancePolicy> policies) {
    try {
      new Planner(candidate.backend(), candidate.device()).plan(task.focus());
      throw new IllegalStateException("a plan without an algorithm");
    } catch (UnsupportedProblemException e) {
      return refused(
          task.question(), candidate.device(), task.focus().name(), e.refusal(), policies);
    }
  }

  private static Answer refused(
      Question question,
      Device device,
      String kernel,
      Refusal refusal,
      List<TolerancePolicy> policies) {
    return new Answer(
        question,
        device,
        Optional.empty(),
        kernel,
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

  /** The storage types that were asked: those of operands in their order, then others. */
  public List<String> types() {
    List<String> types =
        new ArrayList<>(
            answers.stream().map(answer -> answer.question.type()).distinct().sorted().toList());
    List<String> operands = DType.FLOATING.stream().map(DType::label).toList();
    types.sort(
        Comparator.comparingInt(
            type -> operands.contains(type) ? operands.indexOf(type) : operands.size()));
    return types;
  }

  /** The rows of the matrix, in their order. */
  public List<Question.Row> rows() {
    return answers.stream()
        .flatMap(answer -> answer.question.rows().stream())
        .distinct()
        .sorted()
        .toList();
  }

  /** The storage types in which a row has answers. */
  public List<String> types(Question.Row row) {
    return types().stream()
        .filter(type ->
            answers.stream()
                .anyMatch(answer ->
                    answer.question.type().equals(type) && answer.question.rows().contains(row)))
        .toList();
  }

  /** All answers, by the verdict that counts. */
  public Counts counts() {
    return counts(0, answer -> true);
  }

  /** One cell of the matrix. */
  public Counts counts(Question.Row row, String type, Device device) {
    return counts(
        0,
        answer ->
            answer.device.equals(device)
                && answer.question.type().equals(type)
                && answer.question.rows().contains(row));
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
        policies.indexOf(by), answer -> answer.device.equals(device) && answer.question.ordinary());
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
    return command(answer.question.options(), answer.device, answer.algorithm, judging());
  }

  /** The option that names the rule; ONNX's tests bring theirs. */
  private Optional<String> judging() {
    return subject == Subject.CASE ? Optional.empty() : Optional.of(policy().name());
  }

  /** The command that asks one device what the options name. */
  static String command(
      String options, Device device, Optional<String> algorithm, Optional<String> policy) {
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
    policy.ifPresent(name -> command.append(" --policy ").append(name));
    return command.toString();
  }
}
