package dev.heddle.cuda;

import static dev.heddle.cuda.PtxChange.Outcome.DEADLOCK;
import static dev.heddle.cuda.PtxChange.Outcome.MEMBER_MASK;
import static dev.heddle.cuda.PtxChange.Outcome.OUT_OF_BOUNDS;
import static dev.heddle.cuda.PtxChange.Outcome.PASS;
import static dev.heddle.cuda.PtxChange.Outcome.RACE;
import static dev.heddle.cuda.PtxChange.Outcome.REFUSED;
import static dev.heddle.cuda.PtxChange.Outcome.UNFINISHED_COPY;
import static dev.heddle.cuda.PtxChange.Outcome.UNINITIALISED;
import static dev.heddle.cuda.PtxChange.Outcome.WRONG;
import static dev.heddle.cuda.PtxEdit.remove;
import static dev.heddle.cuda.PtxEdit.replace;
import static dev.heddle.cuda.PtxTrial.APPEND;
import static dev.heddle.cuda.PtxTrial.BAND;
import static dev.heddle.cuda.PtxTrial.BIASED;
import static dev.heddle.cuda.PtxTrial.BLIND;
import static dev.heddle.cuda.PtxTrial.DECODING;
import static dev.heddle.cuda.PtxTrial.HEADS;
import static dev.heddle.cuda.PtxTrial.INFINITE;
import static dev.heddle.cuda.PtxTrial.KEY_LENGTHS;
import static dev.heddle.cuda.PtxTrial.LINEAR;
import static dev.heddle.cuda.PtxTrial.NEGATIVE;
import static dev.heddle.cuda.PtxTrial.OPTIONS;
import static dev.heddle.cuda.PtxTrial.RECURRENT;
import static dev.heddle.cuda.PtxTrial.ROTARY;
import static dev.heddle.cuda.PtxTrial.STEEP;

import dev.heddle.core.DType;
import dev.heddle.cuda.PtxChange.Rung;
import java.util.stream.Stream;

/** Deliberate faults in the kernels' PTX, and changes that are none and say why. */
final class PtxFaults {
  private PtxFaults() {}

  // ---- words that changes share

  private static final String WAIT = "cp\\.async\\.wait_group";
  private static final String COMMIT = "cp\\.async\\.commit_group";
  static final String BARRIER = "bar\\.(sync|warp\\.sync|red)\\b";

  /** A barrier that is in that text of the sources. */
  private static PtxEdit noBarrier(String source) {
    return remove(BARRIER).from(source);
  }

  /** The wait before a barrier left out. */
  private static PtxEdit noWait(PtxEdit barrier) {
    return remove(WAIT).before(barrier);
  }

  /** The wait before a barrier for all but so many groups. */
  private static PtxEdit waitForAllBut(int pending, PtxEdit barrier) {
    return replace(WAIT + " \\d+", "cp.async.wait_group " + pending).before(barrier);
  }

  /** A shuffle that takes another lane's value. */
  private static PtxEdit shuffleBy(int distance, String source) {
    return replace("(shfl\\.sync\\.bfly\\.b32 \\S+ %r\\d+), %?\\w+,", "$1, " + distance + ",")
        .from(source);
  }

  /** A shuffle that only half of the warp is named for. */
  private static PtxEdit shuffleOfHalfAWarp(String source) {
    return replace("(?<members>shfl\\.sync\\..*, )%?[-\\w]+;", "${members}65535;").from(source);
  }

  /** Reads, writes or computes on although the guard says that there is nothing there. */
  private static PtxEdit noGuard(String source) {
    return remove("@!?%p\\d+ bra").from(source);
  }

  /** A fused multiply-add that forgets to add. */
  private static PtxEdit noAddition(String source) {
    return replace("fma\\.rn\\.f32 (%f\\d+), (%f\\d+), (%f\\d+), %f\\d+;", "mul.f32 $1, $2, $3;")
        .from(source);
  }

  private static PtxEdit comparison(String from, String to, String source) {
    return replace("setp\\." + from + "\\.", "setp." + to + ".").from(source);
  }

  /** Where {@code key} is compared with the end of what a row sees, one more passes. */
  private static PtxEdit keyTooMany(String source) {
    return comparison("ge", "gt", source).every();
  }

  private static final String ALL_VISIBLE = "const int all_visible = key >= shared_begin";

  private static PtxEdit edgesForInnerTiles() {
    return replace("and\\.pred", "or.pred").from(ALL_VISIBLE);
  }

  private static PtxEdit innerTilesForEdges() {
    return replace("and\\.pred (%p\\d+), (%p\\d+), %p\\d+", "xor.pred $1, $2, $2")
        .from(ALL_VISIBLE);
  }

  /** A query head that reads the keys and values of another one. */
  private static PtxEdit otherHead(String source) {
    return replace("div\\.s32", "rem.s32").from(source).nth(1);
  }

  /** Differences of exponents the other way round. */
  private static PtxEdit upsideDown(String source) {
    return replace("sub\\.f32 (%f\\d+), (%f\\d+), (%f\\d+)", "sub.f32 $1, $3, $2")
        .from(source)
        .every();
  }

  private static PtxEdit notTransposed() {
    return replace("\\.trans\\.", ".").nth(0);
  }

  /** A product that adds to its neighbour's sum. */
  private static PtxEdit otherAccumulator() {
    return replace("(mma\\.sync.*\\{)(%f\\d+), (%f\\d+), (%f\\d+, %f\\d+\\};)", "$1$3, $2, $4");
  }

  // ---- attention_flash_mma

  private static final String MMA_PROLOGUE = "__syncthreads(); const int lane";
  private static final String MMA_KEYS = "__syncthreads(); start_step(step + STAGES - 1";
  private static final String MMA_VALUES = "__syncthreads(); start_step(step + STAGES, key";
  private static final String MMA_EDGE = "__syncthreads_or(tame_own_values(";
  private static final String MMA_HIDE = "if (j < first_key || j >= end_key) s[r][c][e]";
  private static final String MMA_PRODUCT = "\"+f\"(d[3]) : \"r\"(a[0])";

  private static Stream<PtxChange> flashMma(DType dtype) {
    Rung rung = new Rung("flash_mma", "attention_flash_mma", dtype);
    return Stream.of(
        rung.change("barrier before the walk", RACE, BAND, noBarrier(MMA_PROLOGUE)),
        rung.change("barrier before the keys", RACE, BAND, noBarrier(MMA_KEYS)),
        rung.change("barrier before the values", RACE, BAND, noBarrier(MMA_VALUES)),
        rung.change(
            "barrier before the values of an edge",
            RACE,
            BAND,
            replace("bar\\.red\\.or\\.pred (%p\\d+), 0, (%p\\d+);", "mov.pred $1, $2;")
                .from(MMA_EDGE)
                .every()),
        rung.change(
            "barrier before rows overwrite queries",
            RACE,
            BLIND,
            noBarrier("if (HEAD_DIM == HEAD_DIM_V) { __syncwarp();")),
        rung.change(
            "barrier before rows are written",
            RACE,
            BAND,
            noBarrier("__syncwarp(); const int panel")),
        rung.change(
            "an edge's values without the warps that see nothing of it",
            RACE,
            BAND,
            replace("bar\\.red\\.or\\.pred (%p\\d+), 0, (%p\\d+);", "mov.pred $1, $2;")
                .from(MMA_EDGE)
                .nth(1)),
        rung.change(
            "infinite values left where rows that do not see them multiply by 0",
            WRONG,
            INFINITE,
            remove("st\\.shared\\.v4").from("*chunk = {x.x & ~wild_bits(x.x)").every()),
        rung.change(
            "infinite values told only if every thread has some",
            WRONG,
            INFINITE,
            replace("bar\\.red\\.or", "bar.red.and").from(MMA_EDGE).every()),
        rung.change(
            "infinite values added to rows that do not see them",
            WRONG,
            INFINITE,
            replace("and\\.pred", "or.pred")
                .from("if (j >= FIRST_KEY(args, row) && j < END_KEY(args, row)) {")
                .every()),
        rung.change(
            "a barrier for more threads than there are",
            DEADLOCK,
            BAND,
            replace("bar\\.sync 0;", "bar.sync 0, 512;").from(MMA_KEYS)),
        rung.change("wait for queries", UNFINISHED_COPY, BAND, noWait(noBarrier(MMA_PROLOGUE))),
        rung.change("wait for keys", UNFINISHED_COPY, BAND, noWait(noBarrier(MMA_KEYS))),
        rung.change("wait for values", UNFINISHED_COPY, BAND, noWait(noBarrier(MMA_VALUES))),
        rung.change(
            "wait for values of an edge",
            UNFINISHED_COPY,
            BAND,
            noWait(remove("bar\\.red").nth(0))),
        rung.change(
            "wait for keys of the step before",
            UNFINISHED_COPY,
            BAND,
            waitForAllBut(2, noBarrier(MMA_KEYS))),
        rung.change(
            "wait for values of the step before",
            UNFINISHED_COPY,
            BAND,
            waitForAllBut(2, noBarrier(MMA_VALUES))),
        rung.change(
            "copies of keys are no group",
            UNFINISHED_COPY,
            BAND,
            remove(COMMIT).before(noBarrier(MMA_VALUES))),
        rung.change(
            "copies of the first steps are one group",
            UNFINISHED_COPY,
            BAND,
            remove(COMMIT).nth(0)),
        rung.change(
            "only half of a chunk is copied",
            WRONG,
            BAND,
            replace("(selp\\.b32 %r\\d+), 16, 0", "$1, 8, 0").every()),
        rung.change(
            "a row too many is copied",
            OUT_OF_BOUNDS,
            BAND,
            comparison("gt", "ge", "r < own_rows_left && column + c < columns_left").every()),
        rung.change(
            "all rows beyond the last are copied",
            OUT_OF_BOUNDS,
            BAND,
            replace("(selp\\.b32 %r\\d+), 16, 0", "$1, 16, 16").every()),
        rung.change(
            "swizzle of half a panel",
            WRONG,
            BAND,
            replace("(and\\.b32 .*), 7;", "$1, 3;").from("const unsigned twist").nth(0)),
        rung.change("values not transposed", WRONG, BAND, notTransposed()),
        rung.change(
            "queries' matrices exchanged",
            WRONG,
            BAND,
            replace("(ldmatrix\\S+x4\\.shared\\S+ \\{%r\\d+, )(%r\\d+), (%r\\d+)", "$1$3, $2")
                .nth(0)),
        rung.change(
            "another fragment's accumulator",
            WRONG,
            BAND,
            otherAccumulator().from(MMA_PRODUCT).nth(0)),
        rung.change(
            "fragments of a exchanged",
            WRONG,
            BAND,
            replace("(mma\\.sync.*?\\}, \\{)(%r\\d+), (%r\\d+)", "$1$3, $2")
                .from(MMA_PRODUCT)
                .nth(0)),
        rung.change(
            "fragments of b exchanged",
            WRONG,
            BAND,
            replace("(mma\\.sync.*\\{)(%r\\d+), (%r\\d+)\\}", "$1$3, $2}")
                .from(MMA_PRODUCT)
                .nth(0)),
        rung.change(
            "fragments of the other type",
            WRONG,
            BAND,
            dtype == DType.FP16
                ? replace("f32\\.f16\\.f16\\.f32", "f32.bf16.bf16.f32").every()
                : replace("f32\\.bf16\\.bf16\\.f32", "f32.f16.f16.f32").every()),
        rung.change(
            "fragments of a shape half as deep",
            REFUSED,
            BAND,
            replace("m16n8k16", "m16n8k8").nth(0)),
        rung.change("one key too many", WRONG, BAND, keyTooMany(MMA_HIDE)),
        rung.change("first key hidden", WRONG, BAND, comparison("lt", "le", MMA_HIDE).every()),
        rung.change(
            "hidden only if before and after the band",
            WRONG,
            BAND,
            replace("or\\.pred", "and.pred").from(MMA_HIDE).every()),
        rung.change(
            "the mask shows what it hides",
            WRONG,
            BAND,
            replace("(selp\\.f32 %f\\d+), 0fFF800000, (%f\\d+)", "$1, $2, 0fFF800000")
                .from(MMA_HIDE)
                .nth(0)),
        rung.change("edges taken for inner tiles", WRONG, BAND, edgesForInnerTiles()),
        rung.change(
            "band of half of the rows",
            WRONG,
            BAND,
            replace("(add\\.s32 .*), 128;", "$1, 64;")
                .from("const int last = min(row0 + BLOCK_M, args.seqlen_q) - 1;")
                .nth(0)),
        rung.change(
            "sign of the scale lost",
            WRONG,
            NEGATIVE,
            replace("@(%p\\d+) bra", "bra").from("if (!(args.softmax_scale > 0.0f))")),
        rung.change(
            "scale doubled",
            WRONG,
            BAND,
            replace("0f3FB8AA3B", "0f4038AA3B").from("const float scale = SCORE_SCALE(args);")),
        rung.change(
            "row's largest of the wrong lanes",
            WRONG,
            STEEP,
            shuffleBy(4, "return fmax(x, __shfl_xor_sync(0xffffffffu, x, 2));").every()),
        rung.change(
            "row's sum of the wrong lanes",
            WRONG,
            BAND,
            shuffleBy(4, "return x + __shfl_xor_sync(0xffffffffu, x, 2);").every()),
        rung.change(
            "shuffle names half of its lanes",
            MEMBER_MASK,
            BAND,
            shuffleOfHalfAWarp("x += __shfl_xor_sync(0xffffffffu, x, 1);").nth(0)),
        rung.change(
            dtype == DType.FP16
                ? "rescaled if all lanes ask for it"
                : "rescaled if all lanes ask for it: only fp16 overflows where weights pass 1",
            dtype == DType.FP16 ? WRONG : PASS,
            STEEP,
            replace("vote\\.sync\\.any", "vote.sync.all")
                .from("if (__any_sync(0xffffffffu, grows))")
                .every()),
        rung.change(
            "rescaled if no lane asks for it",
            WRONG,
            BAND,
            replace("not\\.pred", "mov.pred").from("if (__any_sync(0xffffffffu, grows))").every()),
        rung.change(
            "accumulator not rescaled",
            WRONG,
            STEEP,
            remove("mul\\.f32").from("rows.acc[r][c][2 * h] *= alpha;").nth(0)),
        rung.change(
            "sum not rescaled",
            WRONG,
            STEEP,
            remove("mul\\.f32").from("rows.l_i[r][h] *= alpha;").nth(0)),
        rung.change(
            "maximum of nothing is -inf, and -inf less -inf no number",
            WRONG,
            BAND,
            replace("0fFF7FFFFF", "0fFF800000").every()),
        rung.change(
            "exponent's sign", WRONG, BAND, upsideDown("const float p0 = exp2_approximate(")),
        rung.change(
            "a score without its maximum",
            WRONG,
            BAND,
            replace("sub\\.f32 (%f\\d+), (%f\\d+), (%f\\d+)", "mov.f32 $1, $2")
                .from("const float p0 = exp2_approximate(")
                .nth(0)),
        rung.change(
            "neighbouring weights exchanged",
            WRONG,
            BAND,
            replace("(cvt\\.rn\\.b?f16x2\\.f32 %r\\d+), (%f\\d+), (?!\\2;)(%f\\d+)", "$1, $3, $2")
                .nth(0)),
        rung.change(
            "values for keys",
            WRONG,
            BAND,
            replace("(ld\\.param\\.u64 .*)_param_1\\]", "$1_param_2]").every()),
        rung.change(
            "heads of queries share the wrong keys",
            WRONG,
            BAND,
            otherHead("h / (args.heads_q / args.heads_kv)")),
        rung.change(
            "address of the output cut to 32 bits",
            OUT_OF_BOUNDS,
            BAND,
            replace("cvta\\.to\\.global\\.u64 (%rd\\d+), (%rd\\d+);", "and.b64 $1, $2, 4294967295;")
                .from("*(const uint4 *)(shared_memory + swizzled<HEAD_DIM_V>(row")),
        rung.change(
            "rows beyond the last are written",
            OUT_OF_BOUNDS,
            BAND,
            noGuard("if (end_row0 + (int)row + r >= args.seqlen_q) break;").every()),
        rung.change(
            "lse of rows beyond the last",
            OUT_OF_BOUNDS,
            BAND,
            replace("or\\.pred (%p\\d+), (%p\\d+), %p\\d+;", "mov.pred $1, $2;")
                .from("2 * M_BLOCKS && own_row < args.seqlen_q)")),
        rung.change(
            "logarithm to another base",
            WRONG,
            BAND,
            replace("0f3F317218", "0f3F800000")
                .from("any_visible ? fma(fabs(args.softmax_scale), own_m, ACCURATE_LOG(own_l))")
                .every()),
        rung.change(
            "lse of another row",
            WRONG,
            BAND,
            replace("(setp\\.eq\\.s32 .*), 3;", "$1, 0;")
                .from("if (end_lane % 4 == 2 * r + half)")));
  }

  // ---- attention_flash

  private static final String FLASH_PROLOGUE =
      "wait_for_copies<0>(); __syncthreads(); const float scale";
  private static final String FLASH_VALUES =
      "wait_for_copies<0>(); __syncthreads(); if (key + BLOCK_N < tiles_end)";
  private static final String FLASH_KEYS =
      "} wait_for_copies<0>(); __syncthreads(); } #pragma unroll";
  private static final String FLASH_HIDE =
      "if (j < first_key || j >= end_key) s[r * KEYS_EACH + c]";

  private static Stream<PtxChange> flash() {
    Rung rung = new Rung("flash", "attention_flash", DType.FP32);
    return Stream.of(
        rung.change("barrier before the walk", RACE, BAND, noBarrier(FLASH_PROLOGUE)),
        rung.change(
            "barrier after queries have been turned round",
            RACE,
            NEGATIVE,
            noBarrier("__syncthreads(); } for (int key = tiles_begin")),
        rung.change("barrier before the values", RACE, BAND, noBarrier(FLASH_VALUES)),
        rung.change("barrier before the next keys", RACE, BAND, noBarrier(FLASH_KEYS)),
        rung.change("barrier before the weights", RACE, BAND, noBarrier("__syncwarp();")),
        rung.change(
            "wait for queries and keys", UNFINISHED_COPY, BAND, noWait(noBarrier(FLASH_PROLOGUE))),
        rung.change("wait for values", UNFINISHED_COPY, BAND, noWait(noBarrier(FLASH_VALUES))),
        rung.change("wait for the next keys", UNFINISHED_COPY, BAND, noWait(noBarrier(FLASH_KEYS))),
        rung.change(
            "copies of values are no group",
            UNFINISHED_COPY,
            BAND,
            remove(COMMIT).before(noBarrier(FLASH_VALUES))),
        rung.change(
            "a product forgets those before",
            WRONG,
            BAND,
            noAddition("sum = fma(a_rx.y, b_x[c].y, sum);").nth(0)),
        rung.change("one key too many", WRONG, BAND, keyTooMany(FLASH_HIDE)),
        rung.change("edges taken for inner tiles", WRONG, BAND, edgesForInnerTiles()),
        rung.change(
            "row's largest of the wrong lanes",
            WRONG,
            BAND,
            shuffleBy(2, "x = fmax(x, __shfl_xor_sync(0xffffffffu, x, 1));").every()),
        rung.change(
            "row's sum of the wrong lanes",
            WRONG,
            BAND,
            shuffleBy(2, "x += __shfl_xor_sync(0xffffffffu, x, 1);").nth(0)),
        rung.change(
            "accumulator not rescaled",
            WRONG,
            BAND,
            remove("mul\\.f32").from("acc[r * COLUMNS_EACH + c] *= alpha;").nth(0)),
        rung.change(
            "-inf less -inf",
            WRONG,
            BAND,
            replace("selp\\.f32 (%f\\d+), 0f00000000, (%f\\d+), %p\\d+;", "mov.f32 $1, $2;")
                .from("const float m_safe = m_new == -INFINITY")
                .every()),
        rung.change(
            "sum for its reciprocal", WRONG, BAND, replace("rcp\\.rn\\.f32", "mov.f32").nth(0)),
        rung.change(
            "rows beyond the last are written",
            OUT_OF_BOUNDS,
            BAND,
            noGuard("if (row0 + row >= args.seqlen_q) continue;").every()),
        rung.change(
            "a row too many is copied",
            OUT_OF_BOUNDS,
            BAND,
            replace("(selp\\.b32 %r\\d+), 16, 0, %p\\d+", "$1, 16, 16, %p1").every()));
  }

  // ---- attention_splitkv and attention_combine

  private static final String SPLIT_KEYS = "wait_for_copies<1>(); __syncwarp(); float s[";
  private static final String SPLIT_VALUES =
      "wait_for_copies<1>(); __syncwarp(); int first_key[BLOCK_M]";

  private static Stream<PtxChange> splitKv(DType dtype) {
    Rung rung = new Rung("splitkv", "attention_splitkv", dtype);
    Rung combine = new Rung("splitkv", "attention_combine", dtype);
    return Stream.of(
        rung.change(
            "barrier before the queries",
            UNINITIALISED,
            DECODING,
            noBarrier("__syncthreads(); for (int key = key0;")),
        rung.change("barrier before the keys", RACE, DECODING, noBarrier(SPLIT_KEYS)),
        rung.change(
            "barrier after the keys",
            RACE,
            DECODING,
            noBarrier("__syncwarp(); if (next < tiles_end) { load_tile_async<K_PIECES>")),
        rung.change("barrier before the values", RACE, DECODING, noBarrier(SPLIT_VALUES)),
        rung.change(
            dtype == DType.FP32
                ? "barrier after the values"
                : "barrier after the values: in 16 bits a lane copies what it alone multiplies",
            dtype == DType.FP32 ? RACE : PASS,
            DECODING,
            noBarrier("__syncwarp(); if (next < tiles_end) { load_tile_async<V_PIECES>")),
        rung.change(
            "barrier before the warps' states",
            RACE,
            DECODING,
            noBarrier("float *const merge_l = merge_m + WARPS * BLOCK_M; __syncthreads();")),
        rung.change(
            "barrier after the warps' states",
            RACE,
            DECODING,
            noBarrier("__syncthreads(); for (int e = (int)threadIdx.x; e < BLOCK_M * HEAD_DIM_V")),
        rung.change(
            "wait for keys of the tile before",
            UNFINISHED_COPY,
            DECODING,
            waitForAllBut(2, noBarrier(SPLIT_KEYS))),
        rung.change(
            "wait for values of the tile before",
            UNFINISHED_COPY,
            DECODING,
            waitForAllBut(2, noBarrier(SPLIT_VALUES))),
        rung.change(
            "states merged with weights upside down",
            WRONG,
            DECODING,
            upsideDown("const float weight = exp2_approximate((merge_m")),
        rung.change(
            "state of a warp left out",
            WRONG,
            DECODING,
            noAddition("l = fma(weight, merge_l[w * BLOCK_M + row], l);").nth(1)),
        combine.change(
            "barrier before the largest",
            RACE,
            DECODING,
            noBarrier("if (lane == 0) largest[warp] = m; __syncthreads();")),
        combine.change(
            "barrier before the sums",
            RACE,
            DECODING,
            noBarrier("if (lane == 0) l_sums[warp] = l; __syncthreads();")),
        combine.change(
            "parts of other columns added up",
            WRONG,
            DECODING,
            shuffleBy(4, "o.x += __shfl_xor_sync(0xffffffffu, o.x, lanes);").nth(0)),
        combine.change(
            "parts combined with weights upside down",
            WRONG,
            DECODING,
            upsideDown("const float weight = exp2_approximate((partial_m")),
        combine.change(
            "a split too many is read",
            OUT_OF_BOUNDS,
            DECODING,
            replace("(add\\.s32 .*), 1;", "$1, 2;").from("const int splits_end = any_visible")),
        combine.change(
            "largest of half of the splits",
            MEMBER_MASK,
            DECODING,
            shuffleOfHalfAWarp("x = fmax(x, __shfl_xor_sync(0xffffffffu, x, lane));").nth(0)));
  }

  // ---- attention_staged and attention_naive

  private static final String REDUCE = "__syncthreads(); if (t < width)";

  private static Stream<PtxChange> inStages() {
    Rung scores = new Rung("staged", "attention_scores_staged", DType.FP32);
    Rung softmax = new Rung("staged", "attention_softmax_staged", DType.FP32);
    Rung values = new Rung("staged", "attention_values_staged", DType.FP32);
    Rung naiveScores = new Rung("naive", "attention_scores_naive", DType.FP32);
    Rung naiveSoftmax = new Rung("naive", "attention_softmax_naive", DType.FP32);
    Rung naiveValues = new Rung("naive", "attention_values_naive", DType.FP32);
    return Stream.of(
        scores.change("barrier before the product", RACE, BAND, remove(BARRIER)),
        scores.change("wait for tiles", UNFINISHED_COPY, BAND, noWait(remove(BARRIER))),
        softmax.change("barrier between warps", UNINITIALISED, BAND, noBarrier(REDUCE).nth(0)),
        softmax.change("barrier between lanes", RACE, BAND, noBarrier(REDUCE).nth(4)),
        softmax.change(
            "barrier before the result",
            RACE,
            BAND,
            noBarrier("__syncthreads(); const float result").nth(0)),
        softmax.change(
            "barrier after the result",
            RACE,
            BAND,
            noBarrier("const float result = partial[0]; __syncthreads();").nth(0)),
        softmax.change(
            "one key too many",
            WRONG,
            BAND,
            comparison("lt", "le", "const int visible = j >= first_key && j < end_key;").every()),
        values.change("barrier before the product", RACE, BAND, remove(BARRIER)),
        values.change("wait for tiles", UNFINISHED_COPY, BAND, noWait(remove(BARRIER))),
        naiveScores.change(
            "scores beyond the last",
            OUT_OF_BOUNDS,
            BAND,
            noGuard("if (j >= args.seqlen_k || i >= args.seqlen_q) return;")),
        naiveSoftmax.change(
            "one key too many",
            WRONG,
            BAND,
            comparison("lt", "le", "const int visible = j >= first_key && j < end_key;").every()),
        naiveValues.change(
            "heads of queries share the wrong values",
            WRONG,
            BAND,
            otherHead("const int h_kv = h /")));
  }

  // ---- attention's options, in the kernels that know them

  private static final String MARKED = "if (MARKED && a_rx == -INFINITY) continue;";

  /** A minimum of two numbers that is always the second, or the first, one. */
  private static PtxEdit notLess(int kept, String source) {
    return replace("min\\.s32 (%r\\d+), (%r\\d+), (%r\\d+)", "mov.u32 $1, $" + (kept + 1))
        .from(source);
  }

  /** Keys that are hidden and taken for weights of -inf. */
  private static PtxEdit marksIgnored() {
    return replace(
            "setp\\.eq\\.f32 (%p\\d+), (%f\\d+), 0fFF800000", "setp.eq.f32 $1, $2, 0f7F800000")
        .from(MARKED)
        .every();
  }

  /** The number of a key in the place of that of its block. */
  private static PtxEdit keyForBlock() {
    return replace("div\\.s32 (%r\\d+), (%r\\d+), %r\\d+", "mov.u32 $1, $2")
        .from("return !head.block_mask[row * head.block_columns")
        .every();
  }

  private static PtxEdit lengthsIgnored() {
    return notLess(2, "args.seqlen_k = min(max(key_lengths[b], 0), args.seqlen_k);");
  }

  private static PtxEdit dropoutThreshold(String comparison) {
    return replace("setp\\.lt\\.u32", "setp." + comparison)
        .from("return word >= (uint)options.dropout_threshold");
  }

  private static Stream<PtxChange> options() {
    Rung naiveSoftmax = new Rung("naive", "attention_softmax_naive", DType.FP32);
    Rung naiveValues = new Rung("naive", "attention_values_naive", DType.FP32);
    Rung softmax = new Rung("staged", "attention_softmax_staged", DType.FP32);
    Rung values = new Rung("staged", "attention_values_staged", DType.FP32);
    Rung flash = new Rung("flash", "attention_flash", DType.FP32);
    Rung splits = new Rung("splitkv", "attention_splitkv", DType.FP32);
    Rung combine = new Rung("splitkv", "attention_combine", DType.BF16);
    return Stream.of(
        splits.change("keys behind the sequence's last", WRONG, KEY_LENGTHS, lengthsIgnored()),
        combine.change("splits behind the sequence's last", WRONG, KEY_LENGTHS, lengthsIgnored()),
        naiveSoftmax.change(
            "all queries have the first one's mask",
            WRONG,
            OPTIONS,
            replace("mul\\.lo\\.s64 (%rd\\d+), .*;", "mov.u64 $1, 0;")
                .from("head.mask_stride = (size_t)options.mask_stride_q * args.seqlen_k;")),
        naiveSoftmax.change(
            "rows of the mask twice as long",
            OUT_OF_BOUNDS,
            OPTIONS,
            replace("mul\\.lo\\.s64 (%rd\\d+), (%rd\\d+), (%rd\\d+);", "mad.lo.s64 $1, $2, $3, $3;")
                .from("head.mask_stride = (size_t)options.mask_stride_q * args.seqlen_k;")),
        naiveSoftmax.change(
            "scores capped to almost nothing",
            WRONG,
            OPTIONS,
            replace("div\\.rn\\.f32 (%f\\d+), (%f\\d+), %f\\d+;", "mul.f32 $1, $2, 0f38D1B717;")
                .from("options.softcap * tanh(raw / options.softcap)")
                .every()),
        naiveSoftmax.change(
            "dropout's words compared as if they had a sign",
            WRONG,
            OPTIONS,
            dropoutThreshold("lt.s32")),
        naiveValues.change("a key for its block", OUT_OF_BOUNDS, OPTIONS, keyForBlock()),
        naiveValues.change(
            "values of hidden keys are read",
            WRONG,
            OPTIONS,
            replace("setp\\.eq\\.s16 (%p\\d+), (%rs\\d+), 0", "setp.eq.s16 $1, $2, 2")
                .from("if (head.mask && !head.mask[")
                .every()),
        softmax.change("what stays is dropped", WRONG, OPTIONS, dropoutThreshold("ge.u32")),
        softmax.change(
            "lower halves of dropout's products",
            WRONG,
            OPTIONS,
            replace("mul\\.hi\\.u32", "mul.lo.s32").from("PHILOX_ROUND(uint, __umulhi").every()),
        softmax.change(
            "a sink for every thread of the row",
            WRONG,
            OPTIONS,
            replace("or\\.pred (%p\\d+), (%p\\d+), (%p\\d+);", "mov.pred $1, $3;")
                .from("float l_i = t > 0 || head.sink == -INFINITY")),
        softmax.change(
            "scores far behind their row",
            OUT_OF_BOUNDS,
            BIASED,
            replace("st\\.global\\.f32 \\[(%rd\\d+)(?:\\+512)?\\]", "st.global.f32 [$1+65536]")
                .from("if (options.score_stage == STAGE_BIASED) score_output[j] = s;")
                .every()),
        values.change("marks ignored", WRONG, OPTIONS, marksIgnored()),
        values.change(
            "marks read without a barrier",
            RACE,
            OPTIONS,
            noBarrier("__syncthreads(); } if (key >= shared_begin")),
        flash.change("keys behind the sequence's last", WRONG, OPTIONS, lengthsIgnored()),
        flash.change(
            "masks of queries behind the last",
            OUT_OF_BOUNDS,
            OPTIONS,
            notLess(1, "const int i = min(row0 + row, last_row);").every()),
        flash.change("marks ignored", WRONG, OPTIONS, marksIgnored()),
        flash.change(
            "marks dropped",
            WRONG,
            OPTIONS,
            remove("@%p\\d+ bra").from("if (*p != -INFINITY) *p *= dropout_factor(")),
        flash.change(
            "a tile skipped of which a block shows something",
            WRONG,
            OPTIONS,
            replace("div\\.s32 (%r\\d+), %r\\d+, %r\\d+", "mov.u32 $1, -1")
                .from(
                    "!meets_block(head, options, 1, first_row, last_row, key, min(key + tile_keys")
                .nth(0)));
  }

  // ---- linear_tiled, linear_mma and heads_transpose

  private static final String LINEAR_STEP =
      "wait_for_copies<STAGES - 2>(); __syncthreads(); start_step(step + STAGES - 1);";

  private static Stream<PtxChange> layers() {
    Rung tiled = new Rung("tiled", "linear_tiled", DType.FP32);
    Rung mma = new Rung("mma", "linear_mma", DType.FP16);
    Rung heads = new Rung("transpose", "heads_transpose", DType.BF16);
    return Stream.of(
        tiled.change("barrier before the product", RACE, LINEAR, remove(BARRIER)),
        tiled.change("wait for tiles", UNFINISHED_COPY, LINEAR, noWait(remove(BARRIER))),
        tiled.change(
            "bias twice",
            WRONG,
            LINEAR,
            replace("add\\.f32 (%f\\d+), (%f\\d+), (%f\\d+)", "fma.rn.f32 $1, 0f40000000, $2, $3")
                .from("(bias && e < left ? bias[column + e] : 0.0f)")
                .nth(0)),
        tiled.change(
            "elements beyond the last",
            OUT_OF_BOUNDS,
            LINEAR,
            noGuard("if (row >= args.rows) continue;").every()),
        mma.change("barrier before the product", RACE, LINEAR, noBarrier(LINEAR_STEP)),
        mma.change(
            "barrier before results overwrite tiles",
            RACE,
            LINEAR,
            noBarrier("} __syncthreads(); #pragma unroll for (int c = 0; c < WARP_N / 8")),
        mma.change(
            "barrier before rows are written",
            RACE,
            LINEAR,
            noBarrier("__syncthreads(); storage_t *const y_corner")),
        mma.change(
            "wait for tiles of the step before",
            UNFINISHED_COPY,
            LINEAR,
            waitForAllBut(3, noBarrier(LINEAR_STEP))),
        mma.change(
            "copies are no group",
            UNFINISHED_COPY,
            LINEAR,
            remove(COMMIT).before(noBarrier(LINEAR_STEP))),
        mma.change("weights not transposed", WRONG, LINEAR, notTransposed()),
        mma.change("another fragment's accumulator", WRONG, LINEAR, otherAccumulator().nth(0)),
        mma.change(
            "swizzle of a block", WRONG, LINEAR, replace("(xor\\.b32 .*), 32;", "$1, 16;").nth(0)),
        heads.change(
            "rows beyond the last",
            OUT_OF_BOUNDS,
            HEADS,
            noGuard("if (row >= args.outer * args.inner) return;")),
        heads.change(
            "stride of the wrong axis",
            OUT_OF_BOUNDS,
            HEADS,
            replace("(mul\\.wide\\.s32 %rd\\d+), %r\\d+, (%r\\d+)", "$1, $2, $2")
                .from("const size_t target = plane + (size_t)i * args.outer + o;")),
        heads.change(
            "elements copied more than once",
            WRONG,
            HEADS,
            remove("add\\.s64 (%rd\\d+), \\1, 32")
                .from("for (int e = lane; e < args.width; e += LANES) y[e] = x[e];")
                .nth(1)));
  }

  // ---- cache_append, rotary_embedding and linear_attention_recurrent

  private static final String MOVE = "mov.f32 $1, $2;";

  private static Stream<PtxChange> tokens() {
    Rung append = new Rung("append", "cache_append", DType.BF16);
    Rung rotary = new Rung("embedding", "rotary_embedding", DType.FP16);
    Rung recurrent = new Rung("recurrent", "linear_attention_recurrent", DType.FP32);
    return Stream.of(
        append.change(
            "first element of the cache",
            WRONG,
            APPEND,
            comparison("ge", "gt", "if (e >= first && e < first + added) {")),
        append.change("length of the first sequence", WRONG, APPEND, firstOf("args.heads], 0)")),
        append.change(
            "rows of the first head",
            WRONG,
            APPEND,
            replace("add\\.s64 (%rd\\d+), %rd\\d+, (%rd\\d+);", "mov.u64 $1, $2;")
                .from("y[e] = x[e - first];")
                .nth(0)),
        rotary.change(
            "turned the other way",
            WRONG,
            ROTARY,
            replace("neg\\.f32 (%f\\d+), (%f\\d+);", MOVE).from("-(b * sin_table[i])").every()),
        rotary.change("positions of the first sequence", WRONG, ROTARY, firstOf("bh / args.heads")),
        rotary.change(
            "tokens beyond the last",
            OUT_OF_BOUNDS,
            ROTARY,
            noGuard("if (s >= args.seqlen) return;")),
        recurrent.change(
            "value not corrected",
            WRONG,
            RECURRENT,
            replace("sub\\.f32 (%f\\d+), (%f\\d+), %f\\d+;", MOVE).from("(u - found);")),
        recurrent.change(
            "state does not fade",
            WRONG,
            RECURRENT,
            replace("mul\\.f32 (%f\\d+), %f\\d+, (%f\\d+);", MOVE).from("s[d] *= gate;").every()),
        recurrent.change(
            "scale left out",
            WRONG,
            RECURRENT,
            replace("mul\\.f32 (%f\\d+), %f\\d+, (%f\\d+);", MOVE).from("o *= args.scale;")),
        recurrent.change(
            "columns beyond the last",
            OUT_OF_BOUNDS,
            RECURRENT,
            noGuard("if (column >= args.head_dim_v) return;")));
  }

  /** An index that is 0 whatever is divided. */
  private static PtxEdit firstOf(String source) {
    return replace("div\\.s32 (%r\\d+), .*;", "mov.u32 $1, 0;").from(source);
  }

  // ---- no faults: the name says why

  private static Stream<PtxChange> equivalents() {
    Rung mma = new Rung("flash_mma", "attention_flash_mma", DType.FP16);
    Rung flash = new Rung("flash", "attention_flash", DType.FP32);
    Rung softmax = new Rung("staged", "attention_softmax_staged", DType.FP32);
    return Stream.of(
        mma.change(
            "wait for everything: longer than needed",
            PASS,
            BAND,
            waitForAllBut(0, noBarrier(MMA_KEYS))),
        mma.change(
            "rescaled at every growth: more often than needed",
            PASS,
            STEEP,
            replace("(setp\\.gt\\.f32 .*), 0f41000000", "$1, 0f00000000")
                .from("* scale > RESCALE_THRESHOLD")
                .every()),
        mma.change(
            "inner tiles taken for edges: the mask hides nothing",
            PASS,
            BAND,
            innerTilesForEdges()),
        flash.change(
            "inner tiles taken for edges: the mask hides nothing",
            PASS,
            BAND,
            innerTilesForEdges()),
        softmax.change(
            "barrier after the last result: nothing is overwritten",
            PASS,
            BAND,
            noBarrier("const float result = partial[0]; __syncthreads();").nth(1)));
  }

  /** All changes. Those that pass leave the kernel right. */
  static Stream<PtxChange> all() {
    return Stream.of(
            flashMma(DType.FP16),
            flashMma(DType.BF16),
            flash(),
            splitKv(DType.FP32),
            splitKv(DType.BF16),
            inStages(),
            options(),
            layers(),
            tokens(),
            equivalents())
        .flatMap(changes -> changes);
  }
}
