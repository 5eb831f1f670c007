package dev.heddle.reference;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.Chain;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Planner;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Probe;
import dev.heddle.core.Session;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/**
 * The reference with a fault that breaks one relation and no other, to test that the relation sees
 * it.
 *
 * @param fault the relation that does not hold; empty for a sound device
 * @param testCase the case that is tried: what a relation asks besides may be spoilt
 */
record CrookedDevice(Optional<Relation> fault, FuzzCase testCase) implements Relation.Evaluator {
  private static final double OFF = 1.1;

  @Override
  public Map<String, HostTensor> run(Operation operation, Map<String, HostTensor> inputs) {
    ReferenceBackend oracle = new ReferenceBackend();
    if (!(oracle.probe() instanceof Probe.Available found)) {
      throw new IllegalStateException("the reference is always available");
    }
    try (Session session = oracle.open(found.devices().getFirst());
        PreparedChain chain =
            PreparedChain.prepare(
                session,
                Chain.of(operation),
                new Planner(oracle, session.device())::plan,
                inputs)) {
      Map<String, HostTensor> outputs = Verifier.Observation.of(chain).outputs();
      fault.ifPresent(relation -> spoil(relation, operation, inputs, outputs));
      return outputs;
    }
  }

  private void spoil(
      Relation relation,
      Operation operation,
      Map<String, HostTensor> inputs,
      Map<String, HostTensor> outputs) {
    switch (operation) {
      case AttentionProblem problem -> {
        HostTensor out = tensor(outputs, "out");
        HostTensor lse = tensor(outputs, "lse");
        boolean spoilt =
            switch (relation) {
              case PERMUTED_KEYS -> hasOtherKeys(inputs);
              case ROW_SUMS ->
                  // The identity is 1 everywhere, too, where it has one element.
                  isOne(tensor(inputs, "v"))
                      && !isOne(tensor(testCase.tensors(), "v"))
                      && problem.shape().seqlenK() > 1;
              case CAUSAL_AS_WINDOW ->
                  problem.mask().right() == 0
                      && problem.mask().left()
                          == problem.shape().seqlenQ() + problem.shape().seqlenK();
              case CAUSAL_AS_MASK ->
                  problem.mask().isNone()
                      && problem.options().equals(options().withMask(Broadcast.FULL))
                      && isOther("mask", inputs);
              case MASK_AS_BIAS ->
                  options().mask().isPresent()
                      && problem.options().equals(biased(AttentionOption.MASK))
                      && isOther("bias", inputs);
              case ALIBI_AS_BIAS ->
                  options().alibi()
                      && problem.options().equals(biased(AttentionOption.ALIBI))
                      && isOther("bias", inputs);
              case BLOCKS_AS_MASK ->
                  options().blocks().isPresent()
                      && problem
                          .options()
                          .equals(
                              options()
                                  .without(AttentionOption.BLOCK_MASK)
                                  .withMask(Broadcast.FULL))
                      && isOther("mask", inputs);
              case KEY_LENGTHS_AS_FEWER_KEYS ->
                  hasFewerKeys(problem)
                      && options().keyLengths()
                      && !problem.options().keyLengths();
              case SINK_AS_KEY ->
                  options().sinks()
                      && problem.options().equals(options().withSinks(false))
                      && !isWholeOfSplit(problem);
              case SPLIT_KEYS, PROBABILITIES -> false;
            };
        if (spoilt) {
          scale(out);
        }
        if (relation == Relation.SPLIT_KEYS
            && hasFewerKeys(problem)
            && problem.options().keyLengths() == options().keyLengths()) {
          for (int i = 0; i < lse.size(); i++) {
            lse.set(i, lse.get(i) + 1f / problem.shape().seqlenK());
          }
        }
      }
      case AttentionStage stage -> {
        if (relation == Relation.PROBABILITIES && stage.stage() == AttentionStage.Stage.SOFTMAX) {
          scale(tensor(outputs, "probabilities"));
        }
      }
      default -> throw new IllegalArgumentException(operation.name());
    }
  }

  private AttentionOptions options() {
    return testCase.problem().options().withoutScoreOutput();
  }

  private AttentionOptions biased(AttentionOption instead) {
    return options().without(instead).withBias(Broadcast.FULL);
  }

  private boolean hasFewerKeys(AttentionProblem problem) {
    return problem.shape().seqlenK() < testCase.problem().shape().seqlenK();
  }

  /** Keys split have no sinks either: nothing else tells the two relations' problems apart. */
  private static boolean isWholeOfSplit(AttentionProblem problem) {
    AttentionOptions options = problem.options();
    return problem.mask().isNone()
        && options.blocks().isEmpty()
        && !options.alibi()
        && options.dropout().isNone();
  }

  /** Whether the operands are the case's and that tensor is not. */
  private boolean isOther(String name, Map<String, HostTensor> inputs) {
    Map<String, HostTensor> own = testCase.tensors();
    for (String operand : List.of("q", "k", "v")) {
      if (!Arrays.equals(tensor(inputs, operand).toDoubles(), tensor(own, operand).toDoubles())) {
        return false;
      }
    }
    HostTensor other = own.get(name);
    return other == null || !Arrays.equals(tensor(inputs, name).toDoubles(), other.toDoubles());
  }

  /** Whether there are as many keys as in the case, but not the same or not in its order. */
  private boolean hasOtherKeys(Map<String, HostTensor> inputs) {
    double[] keys = tensor(inputs, "k").toDoubles();
    double[] own = tensor(testCase.tensors(), "k").toDoubles();
    return keys.length == own.length && !Arrays.equals(keys, own);
  }

  private static HostTensor tensor(Map<String, HostTensor> tensors, String name) {
    return Objects.requireNonNull(tensors.get(name));
  }

  private static boolean isOne(HostTensor v) {
    for (int i = 0; i < v.size(); i++) {
      if (v.get(i) != 1) {
        return false;
      }
    }
    return true;
  }

  private static void scale(HostTensor tensor) {
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, (float) (tensor.get(i) * OFF));
    }
  }
}
