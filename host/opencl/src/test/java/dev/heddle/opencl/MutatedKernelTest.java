package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.UpdateRule;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.RotaryEmbedding.Pairing;
import dev.heddle.reference.KernelTrial;
import dev.heddle.reference.Mutation;
import dev.heddle.reference.Verdict;
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

  /** A fault, and the rung that has it. */
  record Faulty(Operation operation, String algorithm, Mutation mutation) {
    @Override
    public String toString() {
      return mutation.toString();
    }
  }

  static Stream<Faulty> faults() {
    return Stream.of(
        attention("naive", "scale left out", "exp(scale * (", "exp(("),
        attention(
            "naive",
            "one key too many",
            "j < end_key; j++) {\n    o",
            "j <= end_key; j++) {\n    o"),
        attention(
            "naive",
            "query heads share the wrong key head",
            "h / (args.heads_q / args.heads_kv)",
            "h % args.heads_kv"),
        attention(
            "naive", "no tail guard", "if (d >= HEAD_DIM_V || i >= args.seqlen_q) return;", ""),
        attention("naive", "weights not divided by their sum", "- m)) / l", "- m))"),
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
        attention("flash", "mask one key late", "j >= end_key[r])", "j > end_key[r])"),
        attention("flash", "scale left out", "SCORE_SCALE(args);", "LOG2_E;"),
        attention(
            "flash", "last tile skipped", "key < tiles_end; key", "key + BLOCK_N < tiles_end; key"),
        attention(
            "flash",
            "tiles start one late",
            "FIRST_KEY(args, row0) / BLOCK_N * BLOCK_N",
            "(FIRST_KEY(args, row0) / BLOCK_N + 1) * BLOCK_N"),
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
            "LOG_SUM_EXP(args, m_i[r], l)",
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
            "r < rows; r++) {\n    const int any",
            "r < min(rows + 8, BLOCK_M); r++) {\n    const int any"),
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

  private static Faulty attention(
      String algorithm, String name, String original, String replacement) {
    return new Faulty(
        CAUSAL,
        algorithm,
        new Mutation(name, "attention_" + algorithm + ".cl", original, replacement));
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
    return KernelTrial.of(operation)
        .verdict(backend, device, backend.plan(device, operation, algorithm));
  }
}
