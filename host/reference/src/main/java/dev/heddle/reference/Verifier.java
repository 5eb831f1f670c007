package dev.heddle.reference;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.PreparedChain;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Judges results by a policy. */
public final class Verifier {
  private final TolerancePolicy policy;

  /** A verifier with that policy. */
  public Verifier(TolerancePolicy policy) {
    this.policy = policy;
  }

  /** Poisons what the chain writes, runs it once and judges outputs and guard bands. */
  public Verdict verify(PreparedChain chain, Expectation expectation) {
    chain.poison();
    chain.run();
    return judge(expectation, chain.outputs(), chain.brokenGuards());
  }

  /**
   * Judges outputs that are on the host.
   *
   * @param brokenGuards tensors around which a guard band was overwritten
   * @throws IllegalArgumentException when an expected output is missing or has another size
   */
  public Verdict judge(
      Expectation expectation, Map<String, HostTensor> outputs, List<String> brokenGuards) {
    List<Verdict.Judged> judged = new ArrayList<>();
    List<String> reasons = new ArrayList<>();
    for (String tensor : brokenGuards) {
      reasons.add("wrote outside '" + tensor + "'");
    }
    for (ExpectedTensor expected : expectation.tensors()) {
      HostTensor output = outputs.get(expected.name());
      if (output == null) {
        throw new IllegalArgumentException("no output '" + expected.name() + "'");
      }
      ErrorMeasures measures = ErrorMeasures.of(expected, output);
      Verdict.Judged one =
          new Verdict.Judged(expected.name(), measures, policy.errorRatio(expected, measures));
      judged.add(one);
      if (!one.passes()) {
        reasons.add(
            expected.name()
                + expected.shape().position(measures.worst())
                + " is "
                + (float) measures.got()
                + ", expected "
                + (float) measures.expected()
                + " ("
                + shortfall(one, expected.dtype())
                + ")");
      }
    }
    return reasons.isEmpty()
        ? new Verdict.Pass(judged)
        : new Verdict.Fail(String.join("; ", reasons), judged);
  }

  private static String shortfall(Verdict.Judged judged, DType dtype) {
    double error = judged.measures().maxAbs();
    if (Double.isNaN(error)) {
      return "what is not finite never passes";
    }
    return Double.isNaN(judged.errorRatio())
        ? String.format(
            Locale.ROOT,
            "error %.3g; plain %s overflows here, so there is no bound",
            error,
            dtype.label())
        : String.format(Locale.ROOT, "error %.3g, %.3g of the bound", error, judged.errorRatio());
  }
}
