package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Blocks;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionOptions.Dropout;
import dev.heddle.core.AttentionOptions.ScoreStage;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.UpdateRule;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.RotaryEmbedding.Pairing;
import dev.heddle.reference.KernelTrial;
import dev.heddle.reference.Mutation;
import dev.heddle.reference.Verdict;
import java.util.Map;
import java.util.Objects;
import java.util.function.IntToDoubleFunction;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every deliberate fault in a kernel fails its verdict, and the kernel without it passes. */
class MutatedKernelTest {
  private static final Operation CAUSAL =
      AttentionProblem.of(new AttentionShape(2, 4, 2, 131, 150, 40, 33))
          .withMask(new BandMask(70, 9, BandMask.Alignment.BOTTOM_RIGHT));
  private static final Operation LINEAR = new LinearProblem(67, 203, 85, true, DType.FP32);
  private static final Operation HEADS = new HeadsTranspose(2, 13, 5, 33, DType.FP32);

  private static final Operation APPEND = new CacheAppend(3, 2, 37, 5, 33, DType.FP32);
  private static final Operation INTERLEAVED =
      new RotaryEmbedding(2, 3, 19, 45, 38, Pairing.INTERLEAVED, 30, DType.FP32);
  private static final Operation HALF_SPLIT =
      new RotaryEmbedding(2, 3, 19, 45, 38, Pairing.HALF_SPLIT, 30, DType.FP32);
  private static final AttentionShape TOKENS = new AttentionShape(2, 4, 2, 23, 23, 21, 37);
  private static final Operation GATED_DELTA =
      LinearAttention.of(TOKENS, UpdateRule.GATED_DELTA)
          .withDecayPerDim(true)
          .withInitialState(true);
  private static final Operation NORMALISED =
      LinearAttention.of(TOKENS, UpdateRule.GATED).withInitialState(true).kernelised();
  private static final Operation SHARED_BETA =
      LinearAttention.of(TOKENS, UpdateRule.DELTA).withBetaShared(true);

  /** All options that flash has, with a bias and slopes that differ from head to head. */
  private static final AttentionProblem OPTIONS =
      AttentionProblem.of(new AttentionShape(2, 4, 2, 71, 90, 40, 33))
          .withMask(new BandMask(60, 9, BandMask.Alignment.BOTTOM_RIGHT))
          .withOptions(
              AttentionOptions.NONE
                  .withKeyLengths(true)
                  .withMask(Broadcast.FULL)
                  .withBias(new Broadcast(false, true, true))
                  .withAlibi(true)
                  .withSoftcap(2)
                  .withSinks(true)
                  .withBlocks(new Blocks(8, 16, true, true))
                  .withDropout(new Dropout(0.6f, 11)));

  private static final Operation SCORES =
      OPTIONS.withOptions(OPTIONS.options().withScoreOutput(ScoreStage.RAW));

  /** A fault, and the rung that has it. */
  record Faulty(Operation operation, String algorithm, Mutation mutation) {
    @Override
    public String toString() {
      return mutation.toString();
    }
  }

  static Stream<Faulty> faults() {
    return Stream.concat(plainFaults(), optionFaults());
  }

  private static Stream<Faulty> plainFaults() {
    return Stream.of(
        attention("naive", "scale left out", "exp(scale * (", "exp(("),
        attention(
            "naive",
            "one key too many",
            "j < end_key; j++) {\n    if",
            "j <= end_key; j++) {\n    if"),
        attention(
            "naive",
            "query heads share the wrong key head",
            "h / (args.heads_q / args.heads_kv)",
            "h % args.heads_kv"),
        attention(
            "naive", "no tail guard", "if (d >= HEAD_DIM_V || i >= args.seqlen_q) return;", ""),
        attention("naive", "weights not divided by their sum", "- m_safe)) / l", "- m_safe))"),
        attention(
            "naive",
            "a write beside the scores, which only their guard band shows",
            "scores[q_row * args.seqlen_k + j] = s;",
            "scores[q_row * args.seqlen_k + j] = s;\n  if (q_row + j == 0) scores[-1] = s;"),
        attention(
            "staged",
            "a hidden key adds to the sum",
            "if (j >= first_key && j < end_key) l_i",
            "if (j >= first_key && j <= end_key) l_i"),
        attention(
            "staged",
            "depth beyond the head dimension",
            "depth < HEAD_DIM; depth += BLOCK_K",
            "depth + BLOCK_K <= HEAD_DIM; depth += BLOCK_K"),
        attention(
            "staged",
            "rows and columns exchanged",
            "acc[r * COLUMNS_EACH + c];\n      }\n    }\n  }\n}\n\n// ---- softmax",
            "acc[c * COLUMNS_EACH + r];\n      }\n    }\n  }\n}\n\n// ---- softmax"),
        attention(
            "staged",
            "no tail guard on the columns",
            "row < args.seqlen_q && column < HEAD_DIM_V",
            "row < args.seqlen_q"),
        attention(
            "staged", "sum of weights not combined", "l_i = reduce_row(0, l_i, partial);", ""),
        attention(
            "flash", "accumulator not rescaled", "acc[r * COLUMNS_EACH + c] *= alpha[r];", ";"),
        attention("flash", "sum not rescaled", "l_i[r] *= alpha[r];", ""),
        options(
            CAUSAL,
            "flash",
            "mask one key late",
            "in_band = j >= first_key && j < end_key;",
            "in_band = j >= first_key && j <= end_key;"),
        attention("flash", "scale left out", "SCORE_SCALE(own);", "LOG2_E;"),
        attention(
            "flash",
            "last tile skipped",
            "while (key < tiles_end)",
            "while (key + BLOCK_N < tiles_end)"),
        attention(
            "flash",
            "tiles start one late",
            "FIRST_KEY(own, row0) / BLOCK_N * BLOCK_N",
            "(FIRST_KEY(own, row0) / BLOCK_N + 1) * BLOCK_N"),
        attention(
            "flash",
            "batch left out of the keys",
            "((size_t)b * args.heads_kv + h_kv) * args.seqlen_k",
            "((size_t)h_kv) * args.seqlen_k"),
        attention(
            "flash",
            "no tail guard on the rows",
            "row0 + row >= args.seqlen_q)",
            "row0 + row >= args.seqlen_q + 8)"),
        attention(
            "flash",
            "lse in units of log2",
            "LOG_SUM_EXP(own, m_i[r], l)",
            "m_i[r] * scale + log2(l)"),
        attention("flash_cpu", "accumulator not rescaled", "* alpha[c];", ";"),
        attention(
            "flash_cpu",
            "sum not rescaled",
            "fma(l_i[c], alpha[c], l_tile[c])",
            "l_i[c] + l_tile[c]"),
        attention(
            "flash_cpu",
            "mask one key early",
            "j_key < end_key[c] & (int16)",
            "j_key < end_key[c] - 1 & (int16)"),
        attention(
            "flash_cpu",
            "masked tiles taken for full ones",
            "key + BLOCK_N <= shared_end",
            "key <= shared_end"),
        attention("flash_cpu", "sign of the scale lost", "* q_sign", "* -q_sign"),
        attention(
            "flash_cpu",
            "rows beyond the last stored",
            "r < rows; r++) {\n    const float l",
            "r < min(rows + 8, BLOCK_M); r++) {\n    const float l"),
        attention(
            "flash_cpu",
            "last columns shifted",
            "min((d) + (a), HEAD_DIM_V - 1)",
            "min((d) + (a), HEAD_DIM_V - 2)"),
        new Faulty(
            CAUSAL,
            "flash_cpu",
            new Mutation(
                "polynomial's term lost", "vector_math.h", "p = fma(p, f, 5.550332367e-2f);", "")),
        new Faulty(
            LINEAR,
            "tiled",
            new Mutation(
                "bias left out",
                "linear_tiled.cl",
                "(bias ? to_float(bias[column]) : 0.0f)",
                "0.0f")),
        new Faulty(
            LINEAR,
            "tiled",
            new Mutation(
                "columns of a tile permuted",
                "local_tiles.h",
                "tx + c * THREADS_N], acc",
                "tx * columns + c], acc")),
        new Faulty(
            LINEAR,
            "cpu",
            new Mutation(
                "panel's depth dropped",
                "linear_cpu.cl",
                "depth0 < args.in_features; depth0",
                "depth0 + BLOCK_K <= args.in_features; depth0")),
        new Faulty(
            LINEAR,
            "cpu",
            new Mutation(
                "last rows' stride",
                "linear_cpu.cl",
                "min(i + a, rows - 1)",
                "min(i + a, rows - 2)")),
        new Faulty(
            HEADS,
            "transpose",
            new Mutation(
                "axes not exchanged",
                "heads_transpose.cl",
                "(size_t)i * args.outer + o",
                "(size_t)o * args.inner + i")),
        new Faulty(
            HEADS,
            "transpose",
            new Mutation(
                "no tail guard",
                "heads_transpose.cl",
                "if (e >= args.width || row >= args.outer * args.inner) return;",
                "")),
        append("length of the first sequence", "lengths[bh / args.heads]", "lengths[0]"),
        append("one element too many", "e < first + added", "e <= first + added"),
        append("one element too few", "e >= first && e", "e > first && e"),
        append("rows of the first head", "x += (size_t)bh * added;", ""),
        append(
            "last element left out", "THREADS * EACH, elements)", "THREADS * EACH, elements - 1)"),
        rotary(HALF_SPLIT, "turned the other way", "-(b * sin", "(b * sin"),
        rotary(INTERLEAVED, "pairs of the other kind", "args.interleaved ? 2 : 1", "1"),
        rotary(HALF_SPLIT, "partner is the neighbour", "args.interleaved ? 1 : pairs", "1"),
        rotary(INTERLEAVED, "positions of the first sequence", "(bh / args.heads)", "0"),
        rotary(HALF_SPLIT, "angles of the token's index", "clamp(positions[token]", "clamp(s"),
        rotary(HALF_SPLIT, "last pair left out", "i < pairs; i", "i < pairs - 1; i"),
        rotary(HALF_SPLIT, "rest of the head left out", "store_same(y[e], x[e]);", ";"),
        rotary(INTERLEAVED, "no tail guard", "if (s >= args.seqlen) return;", ""),
        linear(
            GATED_DELTA,
            "decay no logarithm",
            "gate = exp(to_float(decay_t[d]))",
            "gate = to_float(decay_t[d])"),
        linear(GATED_DELTA, "one decay for all", "to_float(decay_t[d])", "to_float(decay_t[0])"),
        linear(
            GATED_DELTA, "found before it fades", "s[d] *= gate;", "s[d] *= beta ? 1.0f : gate;"),
        linear(GATED_DELTA, "value not corrected", "(u - found)", "u"),
        linear(GATED_DELTA, "beta left out", "to_float(beta[t]) * ", ""),
        linear(SHARED_BETA, "beta of another head", "args.beta_heads == 1 ? 0 : h_kv", "h_kv"),
        linear(GATED_DELTA, "query heads share the wrong state", "(size_t)h_kv * group", "h_kv"),
        linear(GATED_DELTA, "state begins at zero", "if (initial_state) {", "if (0) {"),
        linear(GATED_DELTA, "scale left out", "o *= args.scale;", ""),
        linear(
            GATED_DELTA, "last token left out", "t < args.seqlen; t++", "t < args.seqlen - 1; t++"),
        linear(
            GATED_DELTA,
            "no tail guard",
            "c < min(columns, COLUMNS); c++) store",
            "c < COLUMNS; c++) store"),
        linear(NORMALISED, "not divided", "o /= sum;", ""),
        linear(NORMALISED, "normaliser does not fade", "z[d] *= gate;", ""),
        linear(NORMALISED, "normaliser begins at zero", "initial_normaliser ?", "0 ?"),
        linear(NORMALISED, "normaliser not written", "if (column == 0)", "if (0)"),
        linear(NORMALISED, "exponential everywhere", "x > 0.0f ?", "0 ?"),
        linear(
            NORMALISED,
            "feature map on keys alone",
            "feature(to_float(q[q_row * HEAD_DIM + d]), args.elu_plus_one)",
            "to_float(q[q_row * HEAD_DIM + d])"));
  }

  /** Faults in what the options do: of the shared formulas, each on a rung where it runs. */
  private static Stream<Faulty> optionFaults() {
    return Stream.of(
        options(
            SCORES,
            "naive",
            "softcap after the bias",
            "? biased(head, capped, i, j)",
            "? softcapped(options, biased(head, raw, i, j))"),
        options(SCORES, "naive", "ALiBi's sign", "fma(-head.slope", "fma(head.slope"),
        options(
            OPTIONS,
            "flash",
            "ALiBi from another diagonal",
            "i + head.own.mask_offset - j",
            "i + head.own.mask_offset + 1 - j"),
        options(
            SCORES,
            "staged",
            "mask as wide as its sequence",
            "options.mask_stride_q * args.seqlen_k",
            "options.mask_stride_q * head->own.seqlen_k"),
        options(
            OPTIONS,
            "flash_cpu",
            "heads share the first one's bias",
            "(size_t)h * options.bias_stride_h",
            "(size_t)0 * options.bias_stride_h"),
        options(
            SCORES, "naive", "one key too many", "max(key_lengths[b],", "max(key_lengths[b] + 1,"),
        options(
            OPTIONS,
            "flash_cpu",
            "diagonal of the longest sequence for all",
            "if (options.bottom_right)",
            "if (!options.bottom_right)"),
        options(
            SCORES,
            "naive",
            "rows of blocks for columns",
            "j / options.block_keys]",
            "j / options.block_rows]"),
        options(
            OPTIONS,
            "flash",
            "tiles with a hidden block skipped",
            "!meets_block(head, options, 1, first_row",
            "meets_block(head, options, 0, first_row"),
        options(
            SCORES, "staged", "dropout by half of the words", "j % 2 == 0 ? even : odd", "even"),
        options(
            OPTIONS,
            "flash",
            "dropout's threshold read with a sign",
            "word >= (uint)options",
            "(int)word >= (int)options"),
        options(SCORES, "staged", "one sink for all heads", "sinks[h]", "sinks[0]"),
        options(
            SCORES,
            "naive",
            "score of another stage",
            "score_output[j] = raw",
            "score_output[j] = s"),
        optional(
            SCORES,
            "naive",
            "hidden values multiplied",
            "if (hides(head, options, i, j)) continue;",
            ""),
        optional(
            SCORES,
            "staged",
            "hidden values multiplied",
            "if (hides_some(head)) mark_hidden",
            "if (!OPTIONS) mark_hidden"),
        optional(
            SCORES,
            "staged",
            "lse without the sink",
            "LOG_SUM_EXP(own, m_i, l_i)",
            "LOG_SUM_EXP(own, m_i, l_i - exp(head.sink - m_i))"),
        optional(
            OPTIONS,
            "flash",
            "sink missing from the sum",
            "!= -INFINITY ? 1.0f : 0.0f",
            "!= 0.0f ? 0.0f : 0.0f"),
        optional(
            OPTIONS,
            "flash_cpu",
            "sink missing from the maximum",
            "m_i[c] = head.sink",
            "m_i[c] = -INFINITY"),
        optional(OPTIONS, "flash_cpu", "keys of a bias in the lanes", "transpose16(added);", ""),
        optional(OPTIONS, "flash_cpu", "one word for four keys", "words[a] >=", "words[0] >="),
        optional(
            OPTIONS,
            "flash_cpu",
            "hidden values multiplied",
            "select(p, s, s == -INFINITY) : p",
            "p : p"));
  }

  private static Faulty options(
      Operation operation, String algorithm, String name, String original, String replacement) {
    return new Faulty(
        operation, algorithm, new Mutation(name, "score_options.h", original, replacement));
  }

  private static Faulty optional(
      Operation operation, String algorithm, String name, String original, String replacement) {
    return new Faulty(
        operation,
        algorithm,
        new Mutation(name, "attention_" + algorithm + ".cl", original, replacement));
  }

  private static Faulty attention(
      String algorithm, String name, String original, String replacement) {
    return optional(CAUSAL, algorithm, name, original, replacement);
  }

  private static Faulty append(String name, String original, String replacement) {
    return new Faulty(
        APPEND, "append", new Mutation(name, "cache_append.cl", original, replacement));
  }

  private static Faulty rotary(
      Operation operation, String name, String original, String replacement) {
    return new Faulty(
        operation, "embedding", new Mutation(name, "rotary_embedding.cl", original, replacement));
  }

  private static Faulty linear(
      Operation operation, String name, String original, String replacement) {
    return new Faulty(
        operation,
        "recurrent",
        new Mutation(name, "linear_attention_recurrent.cl", original, replacement));
  }

  @ParameterizedTest
  @MethodSource("faults")
  void aFaultFailsItsVerdict(Faulty faulty) {
    OpenClBackend backend = new OpenClBackend(faulty.mutation.files(OpenClBackend.RESOURCES), true);
    Verdict verdict = verdict(backend, faulty.operation, faulty.algorithm);
    assertThat(verdict).isInstanceOf(Verdict.Fail.class);
    assertThat(backend.liveObjects().total()).isZero();
  }

  @ParameterizedTest
  @MethodSource("rungs")
  void theKernelWithoutItPasses(Operation operation, String algorithm) {
    assertThat(verdict(new OpenClBackend(), operation, algorithm)).isInstanceOf(Verdict.Pass.class);
  }

  static Stream<org.junit.jupiter.params.provider.Arguments> rungs() {
    return Stream.of(
            CAUSAL,
            OPTIONS,
            SCORES,
            LINEAR,
            HEADS,
            APPEND,
            INTERLEAVED,
            HALF_SPLIT,
            GATED_DELTA,
            NORMALISED,
            SHARED_BETA)
        .flatMap(operation ->
            faults()
                .filter(faulty -> faulty.operation.equals(operation))
                .map(Faulty::algorithm)
                .distinct()
                .map(algorithm ->
                    org.junit.jupiter.params.provider.Arguments.of(operation, algorithm)));
  }

  private static Verdict verdict(OpenClBackend backend, Operation operation, String algorithm) {
    Device device = Processor.of(backend, CAUSAL);
    return KernelTrial.of(operation, MutatedKernelTest::hideSome)
        .verdict(backend, device, backend.plan(device, operation, algorithm));
  }

  /** Gives what hides keys values that hide some, and the value of one that nobody sees NaN. */
  private static void hideSome(Map<String, HostTensor> inputs) {
    int hiddenKey = 5;
    inputs.computeIfPresent(
        "key_lengths", (name, lengths) -> HostTensor.of(lengths.shape(), new int[] {59, 90}));
    inputs.computeIfPresent("block_mask", (name, blocks) -> set(blocks, i -> i % 5 < 2 ? 0 : 1));
    inputs.computeIfPresent(
        "bias",
        (name, bias) -> set(bias, i -> i % 11 == 3 ? Float.NEGATIVE_INFINITY : bias.get(i)));
    if (inputs.containsKey("mask")) {
      int keys = OPTIONS.shape().seqlenK();
      int width = OPTIONS.shape().headDimV();
      set(
          Objects.requireNonNull(inputs.get("mask")),
          i -> i % 7 == 0 || i % keys == hiddenKey ? 0 : 1);
      HostTensor v = Objects.requireNonNull(inputs.get("v"));
      set(v, i -> i / width % keys == hiddenKey ? Float.NaN : v.get(i));
    }
  }

  private static HostTensor set(HostTensor tensor, IntToDoubleFunction values) {
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, (float) values.applyAsDouble(i));
    }
    return tensor;
  }
}
