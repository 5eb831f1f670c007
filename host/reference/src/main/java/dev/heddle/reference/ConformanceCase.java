package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * One question that every device has to answer right or refuse: a chain and what its tensors hold,
 * all of it data.
 *
 * @param name names it among all cases of one storage type; a word that needs no quotes in a shell
 * @param focus the operation of the chain whose algorithm is chosen
 * @param chain what is computed
 * @param inputs what the chain's inputs hold
 */
public record ConformanceCase(String name, Operation focus, Chain chain, CaseInputs inputs) {
  private static final Pattern NAME = Pattern.compile("[a-zA-Z0-9,/+._-]+");

  /**
   * Checks name and focus.
   *
   * @throws IllegalArgumentException when the name would need quotes, or the focus is no step
   */
  public ConformanceCase {
    if (!NAME.matcher(name).matches()) {
      throw new IllegalArgumentException(
          "case name '" + name + "'; letters, digits and ,/+._- are allowed");
    }
    if (chain.steps().stream().noneMatch(step -> step.operation().equals(focus))) {
      throw new IllegalArgumentException(
          "case " + name + ": " + focus.name() + " is no step of its chain");
    }
  }

  /** A case of one operation. */
  public static ConformanceCase of(String name, Operation operation, CaseInputs inputs) {
    return new ConformanceCase(name, operation, Chain.of(operation), inputs);
  }

  /** Storage type of the operands. */
  public DType dtype() {
    return focus.dtype();
  }

  /** What the case has that a device may lack or get wrong. */
  public Set<Feature> features() {
    return Feature.of(this);
  }

  /**
   * Whether the case is one whole attention problem on normal numbers under the default scale: the
   * kind of input that the tests of attention libraries are made of.
   */
  public boolean isOrdinaryAttention() {
    return chain.steps().size() == 1
        && focus instanceof AttentionProblem
        && !features().contains(Feature.DIFFICULT_VALUES);
  }

  /** The input tensors, new ones at every call. */
  public Map<String, HostTensor> tensors() {
    return inputs.draw(chain.inputs());
  }

  /** As {@code fp16 attention/1,1,1,7,13,13,7/none}. */
  @Override
  public String toString() {
    return dtype().label() + " " + name;
  }
}
