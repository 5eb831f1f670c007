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

  /**
   * What one run of a chain left behind.
   *
   * @param outputs the chain's outputs
   * @param brokenGuards tensors around which a guard band was overwritten
   */
  public record Observation(Map<String, HostTensor> outputs, List<String> brokenGuards) {
    /** Poisons what the chain writes, runs it once, and reads outputs and guard bands. */
    public static Observation of(PreparedChain chain) {
      chain.poison();
      chain.run();
      return new Observation(chain.outputs(), chain.brokenGuards());
    }
  }

  /** Poisons what the chain writes, runs it once and judges outputs and guard bands. */
  public Verdict verify(PreparedChain chain, Expectation expectation) {
    return judge(expectation, Observation.of(chain));
  }

  /**
   * Judges what a run left behind.
   *
   * @throws IllegalArgumentException when an expected output is missing or has another size
   */
  public Verdict judge(Expectation expectation, Observation observation) {
    return judge(expectation, observation.outputs, observation.brokenGuards);
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
      Verdict.Judged one = policy.judge(expected, output);
      judged.add(one);
      if (!one.passes()) {
        reasons.add(
            expected.name()
                + expected.shape().position(one.worst().index())
                + " is "
                + (float) one.worst().got()
                + ", expected "
                + (float) one.worst().expected()
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
    String error = String.format(Locale.ROOT, "%s %.3g", judged.measure(), judged.error());
    if (Double.isNaN(judged.error())) {
      return "what is not finite never passes";
    }
    return Double.isNaN(judged.errorRatio())
        ? error + "; plain " + dtype.label() + " overflows here, so there is no bound"
        : String.format(
            Locale.ROOT, "%s, %.3g of the bound %.3g", error, judged.errorRatio(), judged.bound());
  }
}
