package dev.heddle.reference;

import dev.heddle.core.Refusal;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/** What is said of a result. */
public sealed interface Verdict {

  /** {@code pass}, {@code fail} or {@code refused}. */
  String label();

  /** Why it is not a pass, one sentence; empty for a pass. */
  Optional<String> reason();

  /** Each output that was judged. */
  List<Judged> tensors();

  /** The output that is nearest to its bound, or furthest beyond it. */
  default Optional<Judged> worst() {
    // The comparison puts NaN above everything.
    return tensors().stream().max(Comparator.comparingDouble(Judged::errorRatio));
  }

  /**
   * One tensor against the oracle.
   *
   * @param tensor its name in the chain
   * @param measures how far it is off
   * @param errorRatio the error as a share of what the policy allows
   */
  record Judged(String tensor, ErrorMeasures measures, double errorRatio) {
    /** Whether the error is within the bound; NaN is not. */
    public boolean passes() {
      return errorRatio <= 1;
    }
  }

  /**
   * Every tensor is within its bound and nothing was written outside.
   *
   * @param tensors each output
   */
  record Pass(List<Judged> tensors) implements Verdict {
    /** Freezes the list. */
    public Pass {
      tensors = List.copyOf(tensors);
    }

    @Override
    public String label() {
      return "pass";
    }

    @Override
    public Optional<String> reason() {
      return Optional.empty();
    }
  }

  /**
   * Something is wrong.
   *
   * @param message one sentence with the worst element, or the buffer that was overrun
   * @param tensors each output
   */
  record Fail(String message, List<Judged> tensors) implements Verdict {
    /** Freezes the list. */
    public Fail {
      tensors = List.copyOf(tensors);
    }

    @Override
    public String label() {
      return "fail";
    }

    @Override
    public Optional<String> reason() {
      return Optional.of(message);
    }
  }

  /**
   * The backend declares not to support the problem.
   *
   * @param refusal the limit
   */
  record Refused(Refusal refusal) implements Verdict {
    @Override
    public String label() {
      return "refused";
    }

    @Override
    public Optional<String> reason() {
      return Optional.of(refusal.toString());
    }

    @Override
    public List<Judged> tensors() {
      return List.of();
    }
  }
}
