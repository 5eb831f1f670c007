package dev.heddle.lab;

import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.reference.Verdict;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Predicate;

/**
 * A session that attempts on a device share as long as they are right, so that a kernel is built
 * once for all that need it. After one that is wrong the next has a new session: a device that died
 * in one is whole again in the next. Used by one thread at a time.
 */
final class SharedSession {
  private final Installation.Candidate candidate;
  private Optional<Session> open = Optional.empty();

  SharedSession(Installation.Candidate candidate) {
    this.candidate = candidate;
  }

  Installation.Candidate candidate() {
    return candidate;
  }

  /**
   * Prepares the workload and makes something of it, as {@link Trial#attempt} does.
   *
   * @param wrong whether what was made of it is a failure
   */
  <T> T attempt(
      Workload workload,
      String algorithm,
      Trial.Body<T> body,
      Function<Verdict, T> otherwise,
      Predicate<T> wrong) {
    Optional<Refusal> refusal = Trial.refusal(candidate, workload, algorithm);
    if (refusal.isPresent()) {
      return otherwise.apply(new Verdict.Refused(refusal.get()));
    }
    T made =
        Trial.guarded(
            () -> {
              if (open.isEmpty()) {
                open = Optional.of(candidate.backend().open(candidate.device()));
              }
              return Trial.prepared(candidate, open.get(), workload, algorithm, body);
            },
            otherwise);
    if (wrong.test(made)) {
      // What goes wrong in closing a session after a failure says nothing new.
      close();
    }
    return made;
  }

  /** Closes the session, if one is open; the failure is that of closing it. */
  Optional<Verdict> close() {
    Optional<Session> closing = open;
    open = Optional.empty();
    return Trial.guarded(
        () -> {
          closing.ifPresent(Session::close);
          return Optional.empty();
        },
        Optional::of);
  }
}
