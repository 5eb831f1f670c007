package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.Chain;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Planner;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Probe;
import dev.heddle.core.Session;
import java.util.Arrays;
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
                  isOne(tensor(inputs, "v")) && !isOne(tensor(testCase.tensors(), "v"));
              case CAUSAL_AS_WINDOW ->
                  problem.mask().equals(BandMask.causal(problem.mask().alignment()))
                      && !problem.mask().equals(testCase.problem().mask());
              case SPLIT_KEYS, PROBABILITIES -> false;
            };
        if (spoilt) {
          scale(out);
        }
        if (relation == Relation.SPLIT_KEYS) {
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
