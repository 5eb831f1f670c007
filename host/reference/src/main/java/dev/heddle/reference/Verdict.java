package dev.heddle.reference;

import dev.heddle.core.Refusal;
import java.util.List;

/** What is said of a result. */
public sealed interface Verdict {

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
  }

  /**
   * Something is wrong.
   *
   * @param reason one sentence with the worst element, or the buffer that was overrun
   * @param tensors each output
   */
  record Fail(String reason, List<Judged> tensors) implements Verdict {
    /** Freezes the list. */
    public Fail {
      tensors = List.copyOf(tensors);
    }
  }

  /**
   * The backend declares not to support the problem.
   *
   * @param refusal the limit
   */
  record Refused(Refusal refusal) implements Verdict {}
}
