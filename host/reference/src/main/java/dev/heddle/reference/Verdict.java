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
   * One element of a tensor.
   *
   * @param index row-major
   * @param expected its value by the oracle
   * @param got its value as computed
   */
  record Element(int index, double expected, double got) {
    /** The element with the largest error. */
    static Element worst(ErrorMeasures measures) {
      return new Element(measures.worst(), measures.expected(), measures.got());
    }
  }

  /**
   * One tensor against the oracle.
   *
   * @param tensor its name in the chain
   * @param measures how far it is off
   * @param worst the element that is nearest to the bound or furthest beyond it; by a rule that
   *     judges the tensor as a whole, the one with the largest error
   * @param measure what the policy bounds, as {@link #ERROR}
   * @param error that measure's value
   * @param bound what the policy allows of it; not finite where it has no bound
   */
  record Judged(
      String tensor,
      ErrorMeasures measures,
      Element worst,
      String measure,
      double error,
      double bound) {
    /** An element's absolute error. */
    public static final String ERROR = "error";

    /**
     * The error as a share of what the policy allows: 0 for no error, whatever the bound, and NaN
     * for an error where there is no bound.
     */
    public double errorRatio() {
      if (error == 0) {
        return 0;
      }
      return Double.isFinite(bound) ? error / bound : Double.NaN;
    }

    /** Whether the error is within the bound; NaN is not. */
    public boolean passes() {
      return errorRatio() <= 1;
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
