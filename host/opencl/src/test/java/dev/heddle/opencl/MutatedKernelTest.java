package dev.heddle.opencl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Planner;
import dev.heddle.reference.ConformanceCase;
import dev.heddle.reference.ConformanceSuite;
import dev.heddle.reference.KernelTrial;
import dev.heddle.reference.Mutation;
import dev.heddle.reference.Verdict;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The mutation score of {@link ConformanceSuite#QUICK}: some case of it fails on every deliberate
 * fault in a kernel, judged as {@code conform} judges. On processors PoCL runs the work-items of a
 * group one after another between barriers, so that a missing barrier shows in the values.
 */
class MutatedKernelTest {
  private static final DType[] TYPES = {DType.FP32, DType.FP16, DType.BF16};
  private static final Operation ATTENTION =
      AttentionProblem.of(AttentionShape.square(1, 1, 1, 64));
  private static final String SCORES_TILES =
      "multiply_tiles(ROWS_EACH, COLUMNS_EACH, BLOCK_K, q_tile";
  private static final String RAW_SCORES = "barrier(CLK_LOCAL_MEM_FENCE);\n    " + SCORES_TILES;
  private static final Map<ConformanceCase, KernelTrial> TRIALS = new HashMap<>();
  private static final List<String> SCORE = new ArrayList<>();

  /** A fault, and the rung that has it. */
  record Faulty(String algorithm, Mutation mutation) {
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
        new Faulty(
            "flash",
            new Mutation(
                "mask one key late",
                "score_options.h",
                "in_band = j >= first_key && j < end_key;",
                "in_band = j >= first_key && j <= end_key;")),
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
        attention(
            "naive",
            "softmax without its maximum",
            "m = fmax(m, scale_sign * scores[j])",
            "m = 0.0f"),
        attention("naive", "sign of the scale lost", "sign(args.softmax_scale)", "1.0f"),
        attention(
            "naive",
            "hidden probabilities not 0",
            "scores[j] != -INFINITY : j >= first_key && j < end_key",
            "scores[j] != -INFINITY : j < end_key"),
        attention(
            "naive",
            "sum starts one key late",
            "for (int j = first_key; j < end_key; j++) l +=",
            "for (int j = first_key + 1; j < end_key; j++) l +="),
        attention(
            "naive",
            "no lse for rows without keys",
            "any_visible ? LOG_SUM_EXP(own, m, l) : -INFINITY",
            "LOG_SUM_EXP(own, m, l)"),
        attention(
            "naive",
            "stride of v for that of k",
            "v[(kv_row0 + j) * HEAD_DIM_V + d]",
            "v[(kv_row0 + j) * HEAD_DIM + d]"),
        attention(
            "staged",
            "values: tiles multiplied before they are there",
            "barrier(CLK_LOCAL_MEM_FENCE);\n    if (key >= shared_begin",
            "if (key >= shared_begin"),
        attention(
            "staged",
            "halves added before they are there",
            "barrier(CLK_LOCAL_MEM_FENCE);\n    if (t < width)",
            "if (t < width)"),
        attention(
            "staged",
            "sum overwritten while it is read",
            "partial[0];\n  // Write after read: the next reduction overwrites the result.\n"
                + "  barrier(CLK_LOCAL_MEM_FENCE);",
            "partial[0];"),
        attention(
            "staged",
            "softmax without its maximum",
            "m_i = reduce_row(1, m_i, partial);",
            "m_i = 0;"),
        attention(
            "staged",
            "hidden keys multiplied by 0",
            "if (key >= shared_begin && key + BLOCK_K <= shared_end && !hides_some(head))",
            "if (1)"),
        attention(
            "staged",
            "values' tiles end early",
            "while (key < tiles_end)",
            "while (key + BLOCK_K <= tiles_end)"),
        attention(
            "staged",
            "mask of the tile's first row for all",
            "first_key[r] = FIRST_KEY(own, row0 + ty + r * THREADS_M)",
            "first_key[r] = FIRST_KEY(own, row0)"),
        attention(
            "flash",
            "keys multiplied before they are there",
            "barrier(CLK_LOCAL_MEM_FENCE);\n    float s[",
            "float s["),
        attention(
            "flash",
            "values overwrite keys that are read",
            "barrier(CLK_LOCAL_MEM_FENCE);\n    load_tile(BLOCK_N, V_STRIDE",
            "load_tile(BLOCK_N, V_STRIDE"),
        attention(
            "flash",
            "weights multiplied before they are there",
            "barrier(CLK_LOCAL_MEM_FENCE);\n\n    // ---- acc",
            "\n    // ---- acc"),
        attention(
            "flash",
            "shares of the sum added before they are there",
            "barrier(CLK_LOCAL_MEM_FENCE);\n  for (int r = 0; r < ROWS_EACH; r++) {\n    const int row",
            "for (int r = 0; r < ROWS_EACH; r++) {\n    const int row"),
        attention(
            "flash", "softmax without its maximum", "m_new == -INFINITY ? 0.0f : m_new", "0.0f"),
        attention(
            "flash", "-inf subtracted from -inf", "m_new == -INFINITY ? 0.0f : m_new", "m_new"),
        new Faulty(
            "flash",
            new Mutation(
                "keys before the band seen",
                "score_options.h",
                "in_band = j >= first_key && ",
                "in_band = ")),
        attention(
            "flash",
            "hidden keys multiplied by 0",
            "all_visible = key >= shared_begin && key + BLOCK_N <= shared_end",
            "all_visible = 1"),
        attention(
            "flash",
            "rescaled the wrong way",
            "exp2((m_i[r] - m_safe) * scale)",
            "exp2((m_safe - m_i[r]) * scale)"),
        attention(
            "flash", "each query head has its own keys", "h / (args.heads_q / args.heads_kv)", "h"),
        attention("flash", "maximum of the tile alone", "fmax(m_i[r], m_tile)", "m_tile"),
        new Faulty(
            "flash",
            new Mutation(
                "-inf times a scale of 0",
                "attention_args.h",
                "(args).softmax_scale == 0.0f ? 1.0f : ",
                "")),
        new Faulty(
            "flash",
            new Mutation(
                "diagonal of the other alignment",
                "attention_args.h",
                "min((args).seqlen_k, (i) + (args).mask_offset",
                "min((args).seqlen_k, (i)")),
        attention(
            "flash_cpu",
            "maximum of the last key alone",
            "m_tile[c] = larger(m_tile[c], s[a][c])",
            "m_tile[c] = s[a][c]"),
        attention(
            "flash_cpu",
            "-inf subtracted from -inf",
            "select(m_new, (float16)(0.0f), m_new == -INFINITY)",
            "m_new"),
        attention(
            "flash_cpu",
            "batch left out of the keys",
            "((size_t)b * args.heads_kv + h_kv) * args.seqlen_k",
            "((size_t)h_kv) * args.seqlen_k"),
        new Faulty(
            "flash_cpu",
            new Mutation(
                "polynomial's term lost", "vector_math.h", "p = fma(p, f, 5.550332367e-2f);", "")),
        new Faulty(
            "tiled",
            new Mutation(
                "bias left out",
                "linear_tiled.cl",
                "(bias ? to_float(bias[column]) : 0.0f)",
                "0.0f")),
        new Faulty(
            "tiled",
            new Mutation(
                "columns of a tile permuted",
                "local_tiles.h",
                "tx + c * THREADS_N], acc",
                "tx * columns + c], acc")),
        new Faulty(
            "cpu",
            new Mutation(
                "panel's depth dropped",
                "linear_cpu.cl",
                "depth0 < args.in_features; depth0",
                "depth0 + BLOCK_K <= args.in_features; depth0")),
        new Faulty(
            "cpu",
            new Mutation(
                "last rows' stride",
                "linear_cpu.cl",
                "min(i + a, rows - 1)",
                "min(i + a, rows - 2)")),
        new Faulty(
            "tiled",
            new Mutation(
                "stride of x for that of the weights",
                "linear_tiled.cl",
                "(size_t)depth * args.out_features",
                "(size_t)depth * args.in_features")),
        new Faulty(
            "tiled",
            new Mutation(
                "no tail guard on the columns",
                "linear_tiled.cl",
                "row < args.rows && column < args.out_features",
                "row < args.rows")),
        new Faulty(
            "cpu",
            new Mutation(
                "bias of the first block for all",
                "linear_cpu.cl",
                "bias[column0 + o]",
                "bias[o]")),
        new Faulty(
            "cpu",
            new Mutation(
                "panel replaces the sum",
                "linear_cpu.cl",
                "VECTORS + c] += sum",
                "VECTORS + c] = sum")),
        new Faulty(
            "transpose",
            new Mutation(
                "batch left out",
                "heads_transpose.cl",
                "(size_t)b * args.outer",
                "(size_t)0 * args.outer")),
        new Faulty(
            "transpose",
            new Mutation(
                "axes not exchanged",
                "heads_transpose.cl",
                "(size_t)i * args.outer + o",
                "(size_t)o * args.inner + i")),
        new Faulty(
            "transpose",
            new Mutation(
                "no tail guard",
                "heads_transpose.cl",
                "if (e >= args.width || row >= args.outer * args.inner) return;",
                "")));
  }

  /**
   * Barriers that PoCL's order of work-items does not need: their lack is a data race that Oclgrind
   * finds, or memory read that no one has written.
   */
  static Stream<Faulty> races() {
    return Stream.of(
        new Faulty(
            "tiled",
            new Mutation(
                "tiles multiplied before they are there",
                "linear_tiled.cl",
                "barrier(CLK_LOCAL_MEM_FENCE);\n    multiply_tiles",
                "multiply_tiles")),
        new Faulty(
            "tiled",
            new Mutation(
                "tiles overwritten while they are read",
                "linear_tiled.cl",
                "barrier(CLK_LOCAL_MEM_FENCE);\n  }",
                "}")),
        attention(
            "staged", "scores: tiles multiplied before they are there", RAW_SCORES, SCORES_TILES),
        attention(
            "staged",
            "scores: tiles overwritten while they are read",
            "k_tile, B_STRIDE, acc);\n    // Write after read: the next tiles overwrite what slower"
                + " work-items may still be reading.\n    barrier(CLK_LOCAL_MEM_FENCE);",
            "k_tile, B_STRIDE, acc);"),
        attention(
            "staged",
            "values: tiles overwritten while they are read",
            "acc, key, first_key, end_key);\n    }\n    // Write after read: the next tiles overwrite"
                + " what slower work-items may still be reading.\n    barrier(CLK_LOCAL_MEM_FENCE);",
            "acc, key, first_key, end_key);\n    }"),
        attention(
            "staged",
            "sum read before it is there",
            "barrier(CLK_LOCAL_MEM_FENCE);\n  const float result",
            "const float result"),
        attention(
            "flash",
            "keys overwrite values that are read",
            "barrier(CLK_LOCAL_MEM_FENCE);\n    key = visible_tile",
            "key = visible_tile"));
  }

  /** What is read beyond a tensor, and never used: only memory checks find it. */
  static Stream<Faulty> overreads() {
    return Stream.of(
        new Faulty(
            "flash",
            new Mutation(
                "rows beyond the tensor loaded",
                "local_tiles.h",
                "row < rows_left && column < columns_left;  ",
                "column < columns_left;  ")),
        attention(
            "flash_cpu",
            "keys beyond the last read",
            "masked ? min(j + a, n_keys - 1) : j + a",
            "j + a"));
  }

  /** Changes that change no result, each with the reason why; no test can fail on them. */
  static Stream<Faulty> equivalents() {
    return Stream.of(
        // The odd stride spreads rows over the banks of local memory and has no other purpose.
        attention("staged", "tiles without padding", "(BLOCK_K + 1)", "(BLOCK_K)"),
        attention("flash", "tiles without padding", "(HEAD_DIM + 1)", "(HEAD_DIM)"),
        // Keys are compared with the band by their own numbers, wherever the tiles begin.
        attention(
            "flash",
            "tiles begin at the first key",
            "FIRST_KEY(own, row0) / BLOCK_N * BLOCK_N",
            "FIRST_KEY(own, row0)"),
        attention(
            "staged",
            "tiles begin at the first key",
            "FIRST_KEY(own, row0) / BLOCK_K * BLOCK_K",
            "FIRST_KEY(own, row0)"),
        // A tile ends early only where the last row's keys do, and no row sees more than the last.
        attention(
            "flash_cpu",
            "end of a tile not looked at beside the band's",
            " & (int16)(j + a) < n_keys);",
            ");"));
  }

  private static Faulty attention(
      String algorithm, String name, String original, String replacement) {
    return new Faulty(
        algorithm, new Mutation(name, "attention_" + algorithm + ".cl", original, replacement));
  }

  @ParameterizedTest
  @MethodSource("faults")
  void theQuickSuiteCatchesIt(Faulty faulty) {
    OpenClBackend backend = new OpenClBackend(faulty.mutation.files(OpenClBackend.RESOURCES), true);
    Optional<ConformanceCase> caught = firstFailure(backend, faulty.algorithm, TYPES);
    assertThat(caught).as("the case that fails").isPresent();
    SCORE.add(faulty.algorithm + " | " + faulty + " | " + caught.orElseThrow());
    assertThat(backend.liveObjects().total()).isZero();
  }

  @ParameterizedTest
  @MethodSource("equivalents")
  void whatChangesNoResultPasses(Faulty faulty) {
    OpenClBackend backend = new OpenClBackend(faulty.mutation.files(OpenClBackend.RESOURCES), true);
    assertThat(firstFailure(backend, faulty.algorithm, DType.FP32)).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"naive", "staged", "flash", "flash_cpu", "tiled", "cpu", "transpose"})
  void theKernelWithoutAFaultPasses(String algorithm) {
    assertThat(firstFailure(new OpenClBackend(), algorithm, TYPES)).isEmpty();
  }

  /** A score of two thirds would be one, too, if faults were left out of the table. */
  @Test
  void everyRungHasFaults() {
    assertThat(faults().map(Faulty::algorithm).distinct())
        .containsExactlyInAnyOrder(
            "naive", "staged", "flash", "flash_cpu", "tiled", "cpu", "transpose");
    assertThat(faults().map(Faulty::toString)).doesNotHaveDuplicates().hasSizeGreaterThan(60);
  }

  /** A table for people: rung, fault, and the first case that fails on it. */
  @AfterAll
  static void writeTheScore() throws IOException {
    Files.write(Path.of("target", "mutation-score.txt"), SCORE);
  }

  /** The suite's first case on which the rung fails; those it refuses are no failures. */
  private static Optional<ConformanceCase> firstFailure(
      OpenClBackend backend, String algorithm, DType... types) {
    Device device = Processor.of(backend, ATTENTION);
    Planner planner = new Planner(backend, device);
    return Stream.of(types)
        .flatMap(dtype -> cases(dtype).stream())
        .filter(testCase -> backend.algorithms(device, testCase.focus()).contains(algorithm))
        .filter(testCase -> fails(backend, device, planner, testCase, algorithm))
        .findFirst();
  }

  /** Those of the commonest head dim first: most faults are met with one program compiled. */
  private static List<ConformanceCase> cases(DType dtype) {
    return ConformanceSuite.QUICK.cases(dtype).stream()
        .sorted(Comparator.comparing(testCase -> !testCase.name().contains(",64,64")))
        .toList();
  }

  private static boolean fails(
      OpenClBackend backend,
      Device device,
      Planner planner,
      ConformanceCase testCase,
      String algorithm) {
    Plan plan = backend.plan(device, testCase.focus(), algorithm);
    if (backend.refusal(device, testCase.focus(), plan).isPresent()) {
      return false;
    }
    Verdict verdict =
        TRIALS
            .computeIfAbsent(testCase, KernelTrial::of)
            .verdict(
                backend,
                device,
                operation -> operation.equals(testCase.focus()) ? plan : planner.plan(operation));
    return verdict instanceof Verdict.Fail;
  }
}
