package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.HostTensor;
import dev.heddle.core.Refusal;
import dev.heddle.core.UnsupportedProblemException;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class RelationTest {
  private static final List<FuzzCase> CASES =
      LongStream.range(0, 150).mapToObj(i -> FuzzCase.draw(20, i)).toList();

  private static final FuzzCase EVERY_OPTION =
      FuzzCase.parse(
          "fp32/1,1,1,5,9,8,8/none/scale=1.0/normal,normal,normal/1/key_lengths+mask_k+bias_qk"
              + "+blocks_2x4+alibi+softcap_30.0+sinks+dropout_0.5_3+scores_raw/few,normal");

  private static final String ALL_ADDING =
      "/bias_qk+alibi+softcap_30.0+sinks+scores_biased/nothing,normal";

  /** How many of the cases break each relation. */
  private static Map<Relation, Integer> broken(Relation fault) {
    Map<Relation, Integer> broken = new EnumMap<>(Relation.class);
    for (FuzzCase testCase : CASES) {
      for (Relation relation : Relation.values()) {
        relation
            .check(testCase, new CrookedDevice(Optional.of(fault), testCase))
            .ifPresent(wrong -> broken.merge(relation, 1, Integer::sum));
      }
    }
    return broken;
  }

  @Test
  void everyRelationHoldsOfTheReference() {
    for (FuzzCase testCase : CASES) {
      for (Relation relation : Relation.values()) {
        assertThat(relation.check(testCase, new CrookedDevice(Optional.empty(), testCase)))
            .as("%s, %s", testCase, relation)
            .isEmpty();
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void aFaultThatBreaksOneRelationIsSeenByThatOneAlone(Relation relation) {
    Map<Relation, Integer> broken = broken(relation);
    assertThat(broken).containsOnlyKeys(relation);
    assertThat(broken.get(relation)).isGreaterThan(5);
  }

  @ParameterizedTest
  @EnumSource
  void nanBreaksEveryRelation(Relation relation) {
    assertThat(
            relation.check(
                EVERY_OPTION,
                (operation, inputs) -> {
                  Map<String, HostTensor> outputs =
                      new CrookedDevice(Optional.empty(), EVERY_OPTION).run(operation, inputs);
                  outputs.values().forEach(tensor -> tensor.set(3, Float.NaN));
                  return outputs;
                }))
        .hasValueSatisfying(wrong -> assertThat(wrong).contains(relation.label(), "NaN"));
  }

  @ParameterizedTest
  @EnumSource
  void whatADeviceRefusesIsNoViolation(Relation relation) {
    assertThat(
            relation.check(
                EVERY_OPTION,
                (operation, inputs) -> {
                  throw new UnsupportedProblemException(new Refusal("planted", "all"));
                }))
        .isEmpty();
  }

  /** A bound that forgives everything would be none. */
  @Test
  void theBoundsOfOrdinaryProblemsAreSmall() {
    List<String> loose = new ArrayList<>();
    for (String dtype : List.of("fp32", "fp16", "bf16")) {
      for (String options : List.of("", ALL_ADDING)) {
        FuzzCase testCase =
            FuzzCase.parse(
                dtype + "/1,1,1,9,65,64,64/none/scale=0.125/normal,normal,normal/1" + options);
        WorstCase bound = WorstCase.of(testCase.problem(), testCase.tensors());
        double most = Map.of("fp32", 1e-3, "fp16", 1e-2, "bf16", 5e-2).get(dtype);
        for (double error : bound.out()) {
          if (error > most) {
            loose.add(dtype + " out " + error);
          }
        }
        for (double error : bound.lse()) {
          if (error > 1e-3) {
            loose.add(dtype + " lse " + error);
          }
        }
        for (double error : bound.scoreOutput()) {
          if (error > 1e-3) {
            loose.add(dtype + " score_output " + error);
          }
        }
        assertThat(WorstCase.ofOnes(testCase.problem())).isLessThan(most);
      }
    }
    assertThat(loose).isEmpty();
  }
}
