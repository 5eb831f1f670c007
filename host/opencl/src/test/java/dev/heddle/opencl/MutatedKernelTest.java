package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
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
                "")));
  }

  private static Faulty attention(
      String algorithm, String name, String original, String replacement) {
    return new Faulty(
        CAUSAL,
        algorithm,
        new Mutation(name, "attention_" + algorithm + ".cl", original, replacement));
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
    return Stream.of(CAUSAL, LINEAR, HEADS)
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
