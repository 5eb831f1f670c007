package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Blocks;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionOptions.Dropout;
import dev.heddle.core.AttentionOptions.ScoreStage;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Philox;
import dev.heddle.core.Shape;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** What the options mean, by arithmetic written out a second time, element by element. */
class OptionsOracleTest {
  private static final ScalarOperations EXACT = new ScalarOperations(Precision.FP64);
  private static final AttentionShape SHAPE = new AttentionShape(3, 4, 2, 5, 9, 6, 3);
  private static final AttentionOptions NONE = AttentionOptions.NONE;
  private static final AttentionOptions EVERY =
      NONE.withKeyLengths(true)
          .withMask(new Broadcast(true, false, true))
          .withBias(new Broadcast(false, true, true))
          .withBlocks(new Blocks(2, 4, true, true))
          .withAlibi(true)
          .withSoftcap(1.5f)
          .withSinks(true)
          .withDropout(new Dropout(0.4f, 77));

  private static List<AttentionProblem> problems() {
    return ConformanceSuite.options(DType.FP32).stream()
        .map(testCase -> (AttentionProblem) testCase.focus())
        .toList();
  }

  /** Each case of the suite, in all three algorithms of the reference. */
  @Test
  void theFormulaElementByElement() {
    for (ConformanceCase testCase : ConformanceSuite.options(DType.FP32)) {
      AttentionProblem problem = (AttentionProblem) testCase.focus();
      Map<String, double[]> inputs = doubles(testCase.tensors());
      Map<String, double[]> outputs = EXACT.evaluate(problem, inputs);
      Plainly plainly = new Plainly(problem, inputs);
      assertClose(testCase.name() + " out", get(outputs, "out"), plainly.out);
      if (problem.lse()) {
        assertClose(testCase.name() + " lse", get(outputs, "lse"), plainly.lse);
      }
      if (problem.options().scoreOutput().isPresent()) {
        assertClose(testCase.name() + " scores", get(outputs, "score_output"), plainly.scores);
      } else {
        Map<String, double[]> flash = ScalarFlash.attention(problem, inputs);
        assertClose(testCase.name() + " flash out", get(flash, "out"), plainly.out);
        assertClose(testCase.name() + " flash lse", get(flash, "lse"), plainly.lse);
      }
      Map<String, double[]> staged = new HashMap<>(inputs);
      for (AttentionStage.Stage stage : AttentionStage.Stage.values()) {
        staged.putAll(EXACT.evaluate(new AttentionStage(stage, problem), staged));
      }
      assertClose(testCase.name() + " staged out", get(staged, "out"), plainly.out);
    }
    assertThat(problems()).hasSizeGreaterThan(40);
  }

  /** The formulas of the options, with loops and nothing else. */
  private static final class Plainly {
    private final double[] out;
    private final double[] lse;
    private final double[] scores;

    Plainly(AttentionProblem problem, Map<String, double[]> inputs) {
      AttentionShape s = problem.shape();
      AttentionOptions o = problem.options();
      BandMask band = problem.mask();
      out = new double[s.batch() * s.headsQ() * s.seqlenQ() * s.headDimV()];
      lse = new double[s.batch() * s.headsQ() * s.seqlenQ()];
      scores = new double[lse.length * s.seqlenK()];
      int row = 0;
      for (int b = 0; b < s.batch(); b++) {
        for (int h = 0; h < s.headsQ(); h++) {
          for (int i = 0; i < s.seqlenQ(); i++, row++) {
            int n = o.keyLengths() ? (int) get(inputs, "key_lengths")[b] : s.seqlenK();
            int offset = band.alignment() == Alignment.TOP_LEFT ? 0 : n - s.seqlenQ();
            int kv = b * s.headsKv() + h / (s.headsQ() / s.headsKv());
            double[] weights = new double[s.seqlenK()];
            double[] logits = new double[s.seqlenK()];
            boolean[] hidden = new boolean[s.seqlenK()];
            double sum = o.sinks() ? Math.exp(get(inputs, "sinks")[h]) : 0;
            for (int j = 0; j < s.seqlenK(); j++) {
              double raw = 0;
              for (int d = 0; d < s.headDim(); d++) {
                raw +=
                    get(inputs, "q")[row * s.headDim() + d]
                        * get(inputs, "k")[(kv * s.seqlenK() + j) * s.headDim() + d];
              }
              raw *= problem.softmaxScale();
              double capped = o.softcap() == 0 ? raw : o.softcap() * Math.tanh(raw / o.softcap());
              double logit = capped;
              hidden[j] =
                  j >= n
                      || (band.left() != BandMask.UNBOUNDED && j < i + offset - band.left())
                      || (band.right() != BandMask.UNBOUNDED && j > i + offset + band.right());
              if (o.mask().isPresent()) {
                hidden[j] |= broadcast(get(inputs, "mask"), o.mask().get(), s, b, h, i, j) == 0;
              }
              if (o.bias().isPresent()) {
                double bias = broadcast(get(inputs, "bias"), o.bias().get(), s, b, h, i, j);
                hidden[j] |= bias == Double.NEGATIVE_INFINITY;
                logit += bias;
              }
              if (o.blocks().isPresent()) {
                Blocks blocks = o.blocks().get();
                int rows = (s.seqlenQ() + blocks.rows() - 1) / blocks.rows();
                int columns = (s.seqlenK() + blocks.keys() - 1) / blocks.keys();
                int bb = blocks.batch() ? b : 0;
                int hh = blocks.heads() ? h : 0;
                int heads = blocks.heads() ? s.headsQ() : 1;
                int at =
                    ((bb * heads + hh) * rows + i / blocks.rows()) * columns + j / blocks.keys();
                hidden[j] |= get(inputs, "block_mask")[at] == 0;
              }
              if (o.alibi()) {
                logit -= get(inputs, "alibi_slopes")[h] * Math.abs(i + offset - j);
              }
              logits[j] = hidden[j] ? Double.NEGATIVE_INFINITY : logit;
              weights[j] = hidden[j] ? 0 : Math.exp(logit);
              sum += weights[j];
              scores[row * s.seqlenK() + j] =
                  switch (o.scoreOutput().orElse(ScoreStage.RAW)) {
                    case RAW -> raw;
                    case SOFTCAPPED -> capped;
                    case BIASED -> logits[j];
                    case PROBABILITIES -> 0;
                  };
            }
            lse[row] = Math.log(sum);
            for (int j = 0; j < s.seqlenK(); j++) {
              if (hidden[j]) {
                continue;
              }
              double p = weights[j] / sum;
              if (o.scoreOutput().equals(Optional.of(ScoreStage.PROBABILITIES))) {
                scores[row * s.seqlenK() + j] = p;
              }
              if (!o.dropout().isNone()) {
                int[] words = new int[4];
                Philox.words(j / 4, i, b * s.headsQ() + h, 0, o.dropout().seed(), words);
                double uniform = Integer.toUnsignedLong(words[j % 4]) / 0x1p32;
                boolean kept = uniform >= o.dropout().probability();
                p = kept ? p / (1 - o.dropout().probability()) : 0;
              }
              for (int d = 0; d < s.headDimV(); d++) {
                out[row * s.headDimV() + d] +=
                    p * get(inputs, "v")[(kv * s.seqlenK() + j) * s.headDimV() + d];
              }
            }
          }
        }
      }
    }

    private static double broadcast(
        double[] values, Broadcast layout, AttentionShape s, int b, int h, int i, int j) {
      int heads = layout.heads() ? s.headsQ() : 1;
      int rows = layout.rows() ? s.seqlenQ() : 1;
      int bb = layout.batch() ? b : 0;
      int hh = layout.heads() ? h : 0;
      int ii = layout.rows() ? i : 0;
      return values[((bb * heads + hh) * rows + ii) * s.seqlenK() + j];
    }
  }

  @Test
  void aRowOfEverySequenceWithoutKeysIsItsSink() {
    AttentionProblem problem =
        AttentionProblem.of(SHAPE).withOptions(NONE.withKeyLengths(true).withSinks(true));
    Map<String, HostTensor> inputs = CaseInputs.NORMAL.draw(problem.inputs());
    inputs.put("key_lengths", HostTensor.of(Shape.of(3), new int[] {9, 0, 1}));
    Map<String, double[]> outputs = EXACT.evaluate(problem, doubles(inputs));
    double[] lse = get(outputs, "lse");
    for (int h = 0; h < 4; h++) {
      for (int i = 0; i < 5; i++) {
        assertThat(lse[(4 + h) * 5 + i]).isCloseTo(get(doubles(inputs), "sinks")[h], within(1e-12));
      }
    }
    int row = 5 * 4 * 3;
    assertThat(Arrays.copyOfRange(get(outputs, "out"), row, 2 * row)).containsOnly(0);
    assertThat(Arrays.copyOfRange(get(outputs, "out"), 0, row)).doesNotContain(0);
  }

  @Test
  void theFormulasSurviveNarrowArithmetic() {
    for (Precision precision : Precision.values()) {
      theFormulasSurvive(precision, EVERY);
      // Where scores stay in the unit of the exponentials, a sink has to be brought to it.
      theFormulasSurvive(precision, NONE.withKeyLengths(true).withSinks(true));
    }
  }

  private static void theFormulasSurvive(Precision precision, AttentionOptions options) {
    AttentionProblem problem = AttentionProblem.of(SHAPE).withOptions(options);
    Map<String, HostTensor> inputs =
        CaseInputs.NORMAL.then(new CaseInputs.Integers("key_lengths", 1, 9)).draw(problem.inputs());
    Map<String, double[]> exact = EXACT.evaluate(problem, doubles(inputs));
    Map<String, double[]> narrow =
        new ScalarOperations(precision).evaluate(problem, doubles(inputs));
    for (String name : List.of("out", "lse")) {
      double[] expected = get(exact, name);
      double[] got = get(narrow, name);
      for (int i = 0; i < expected.length; i++) {
        assertThat(ErrorMeasures.difference(expected[i], got[i]))
            .as("%s %s[%d]", precision, name, i)
            .isLessThan(2e-6);
      }
    }
  }

  private static Map<String, double[]> doubles(Map<String, HostTensor> tensors) {
    Map<String, double[]> wide = new HashMap<>();
    tensors.forEach((name, tensor) -> wide.put(name, tensor.toDoubles()));
    return wide;
  }

  private static double[] get(Map<String, double[]> tensors, String name) {
    return Objects.requireNonNull(tensors.get(name), name);
  }

  private static void assertClose(String what, double[] got, double[] expected) {
    assertThat(got).hasSameSizeAs(expected);
    for (int i = 0; i < expected.length; i++) {
      double error = ErrorMeasures.difference(expected[i], got[i]);
      assertThat(error).as("%s[%d]: %s, not %s", what, i, got[i], expected[i]).isLessThan(1e-6);
    }
  }
}
