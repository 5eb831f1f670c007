package dev.heddle.lab;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.reference.ErrorMeasures;
import dev.heddle.reference.ExpectedTensor;
import dev.heddle.reference.FuzzCase;
import dev.heddle.reference.PlantedBackend;
import dev.heddle.reference.PlantedBackend.Fault;
import dev.heddle.reference.Policies;
import dev.heddle.reference.ReferenceBackend;
import dev.heddle.reference.TolerancePolicy;
import dev.heddle.reference.Verdict;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class FuzzTest {
  private static final long SECOND = 1_000_000_000;

  private static Fuzz run(Backend backend, Optional<FuzzCase> only, Set<DType> dtypes) {
    return run(backend, only, dtypes, new ArrayList<>());
  }

  private static Fuzz run(
      Backend backend, Optional<FuzzCase> only, Set<DType> dtypes, List<String> progress) {
    return Fuzz.run(
        Installation.of(List.of(backend)),
        new Fuzz.Request(
            7, only, SECOND, dtypes, Selection.ALL, Optional.empty(), Policies.all().getFirst()),
        progress::add);
  }

  private static Fuzz run(Fault fault) {
    return run(new PlantedBackend("planted", fault), Optional.empty(), Set.copyOf(DType.FLOATING));
  }

  @Test
  void theReferenceHasNoFailure() {
    Fuzz fuzz = run(new ReferenceBackend(), Optional.empty(), Set.copyOf(DType.FLOATING));
    assertThat(fuzz.failures()).isEmpty();
    Fuzz.Tally tally = fuzz.tallies().getFirst();
    assertThat(tally.failed()).isZero();
    // Its flash keeps no scores that could be an output.
    assertThat(tally.passed() + tally.refused()).isEqualTo((int) (3 * fuzz.cases()));
    assertThat(tally.refused()).isLessThan(tally.passed() / 3);
    assertThat(tally.perSecond()).isPositive();
  }

  @ParameterizedTest
  @EnumSource(names = {"WRONG_VALUE", "NAN", "NOT_WRITTEN", "THROWS", "BREAKS"})
  void aFaultIsFoundAndShrunkToASmallProblemThatFailsAgain(Fault fault) {
    Fuzz fuzz = run(fault);
    assertThat(fuzz.tallies().getFirst().failed()).isPositive();
    FuzzCase first = fuzz.failures().getFirst().smallest();
    assertThat(first.problem().shape().toString()).isEqualTo("1,1,1,1,1,1,1");
    assertThat(first.problem().mask().isNone()).isTrue();
    for (Fuzz.Failure failure : fuzz.failures()) {
      // A relation may need two keys, or a row that sees none; under options, keys enough that some
      // are seen in each of the parts that it compares.
      boolean plain = failure.smallest().problem().options().isNone();
      assertThat(failure.smallest().problem().shape().scores().elements())
          .as("scores of %s: %s", failure.smallest(), failure.message())
          .isLessThan(plain ? 20 : 200);
      Fuzz again =
          run(
              new PlantedBackend("planted", fault),
              Optional.of(FuzzCase.parse(failure.smallest().toString())),
              Set.copyOf(DType.FLOATING));
      assertThat(again.failures()).hasSize(1);
      assertThat(again.failures().getFirst().message()).isEqualTo(failure.message());
      assertThat(Fuzz.command(failure, Policies.all().getFirst()))
          .isEqualTo(
              "./heddle conform --fuzz-case "
                  + failure.smallest()
                  + " --backend planted --device 0 --algorithm naive --policy flash-attention");
    }
  }

  /**
   * A rule that nothing meets: what is within the worst case passes all the same, and is counted.
   */
  @Test
  void whatOnlyThePolicyRejectsIsStrainedAndNoFailure() {
    TolerancePolicy strict =
        new TolerancePolicy() {
          @Override
          public String name() {
            return "strict";
          }

          @Override
          public String derivation() {
            return "nothing passes";
          }

          @Override
          public Verdict.Judged judge(ExpectedTensor expected, HostTensor got) {
            ErrorMeasures measures = ErrorMeasures.of(expected, got);
            return new Verdict.Judged(
                expected.name(), measures, new Verdict.Element(0, 0, 0), "error", 1, 0);
          }
        };
    Fuzz fuzz =
        Fuzz.run(
            Installation.of(List.of(new PlantedBackend("planted", Fault.NONE, Fault.WRONG_VALUE))),
            new Fuzz.Request(
                7,
                Optional.of(FuzzCase.draw(7, 0)),
                0,
                Set.copyOf(DType.FLOATING),
                Selection.ALL,
                Optional.empty(),
                strict),
            doing -> {});
    assertThat(fuzz.tallies().getFirst().strained()).isOne();
    assertThat(fuzz.tallies().getFirst().passed()).isOne();
    assertThat(fuzz.tallies().getLast().strained()).isZero();
    assertThat(fuzz.tallies().getLast().failed()).isOne();
  }

  @Test
  void theSameSeedAsksTheSameProblems() {
    List<String> first = new ArrayList<>();
    List<String> second = new ArrayList<>();
    run(new ReferenceBackend(), Optional.empty(), Set.of(DType.FP16), first);
    run(new ReferenceBackend(), Optional.empty(), Set.of(DType.FP16), second);
    int both = Math.min(first.size(), second.size());
    assertThat(both).isPositive();
    assertThat(first.subList(0, both)).isEqualTo(second.subList(0, both));
    assertThat(first).allMatch(doing -> doing.contains(" fp16/"));
  }

  @Test
  void whatIsRefusedCountsAsRefused() {
    Fuzz.Tally tally = run(Fault.REFUSES).tallies().getFirst();
    assertThat(tally.refused()).isPositive();
    assertThat(tally.passed() + tally.failed()).isZero();
    assertThat(tally.perSecond()).isZero();
  }

  @Test
  void algorithmsThatDoNotExist() {
    assertThatThrownBy(() ->
            Fuzz.run(
                Installation.of(List.of(new ReferenceBackend())),
                new Fuzz.Request(
                    7,
                    Optional.empty(),
                    SECOND,
                    Set.of(DType.FP32),
                    Selection.ALL,
                    Optional.of("quick"),
                    Policies.all().getFirst()),
                doing -> {}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'quick'; there are naive, staged, flash");
    assertThatThrownBy(() ->
            Fuzz.run(
                Installation.of(List.of()),
                new Fuzz.Request(
                    7,
                    Optional.empty(),
                    SECOND,
                    Set.of(DType.FP32),
                    Selection.ALL,
                    Optional.empty(),
                    Policies.all().getFirst()),
                doing -> {}))
        .isInstanceOf(NothingToRunException.class);
  }
}
