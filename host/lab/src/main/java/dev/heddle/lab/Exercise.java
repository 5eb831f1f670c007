package dev.heddle.lab;

import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Refusal;
import dev.heddle.reference.ConformanceCase;
import dev.heddle.reference.Expectation;
import dev.heddle.reference.TolerancePolicy;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/** Something to put to devices. */
sealed interface Exercise {

  /**
   * A question with all it takes to ask it and to judge the answers.
   *
   * @param question what reports tell of it
   * @param focus the operation whose algorithm is chosen
   * @param workload what is run; asked for where some device may run it
   * @param expectation what its outputs should be; asked for where some device runs it
   * @param outputs what of a run's outputs is judged
   * @param rule the rule that judges, by the one that was asked for
   */
  record Task(
      Question question,
      Operation focus,
      Supplier<Workload> workload,
      Function<Workload, Expectation> expectation,
      UnaryOperator<Map<String, HostTensor>> outputs,
      UnaryOperator<TolerancePolicy> rule)
      implements Exercise {

    /** A case of a suite, judged by the oracle. */
    static Task of(ConformanceCase testCase) {
      return new Task(
          Question.of(testCase),
          testCase.focus(),
          () ->
              new Workload(
                  testCase.toString(),
                  Optional.empty(),
                  testCase.focus(),
                  testCase.chain(),
                  testCase.tensors()),
          workload -> Expectation.of(workload.chain(), workload.inputs()),
          UnaryOperator.identity(),
          UnaryOperator.identity());
    }
  }

  /**
   * A question that no device is asked, since Heddle has no operation for it.
   *
   * @param question what reports tell of it
   * @param refusal the limit
   * @param kernel what would have computed it
   */
  record Declined(Question question, Refusal refusal, String kernel) implements Exercise {}

  /**
   * What was to be a question and is none.
   *
   * @param what what is wrong with what
   */
  record Broken(Conformance.Unusable what) implements Exercise {}
}
