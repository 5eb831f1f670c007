package dev.heddle.vector;

import static dev.heddle.vector.Lanes.LANES;
import static dev.heddle.vector.Lanes.PANEL;
import static dev.heddle.vector.Lanes.STRIP;
import static dev.heddle.vector.Lanes.broadcast;
import static dev.heddle.vector.Lanes.load;
import static dev.heddle.vector.Lanes.roundUp;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import org.jspecify.annotations.Nullable;

/**
 * {@code attention_flash}: attention in one pass over the keys with an online softmax, transposed
 * so that every lane is a query.
 *
 * <pre>
 *                     query block: PANEL queries, one per lane
 *                     Q^T [HEAD_DIM][PANEL]
 *                            |
 *   K strips ----------> S^T [BLOCK_N][PANEL]    S^T = K Q^T
 *   [4 keys][HEAD_DIM]       |                   masked, then m_i, P^T = exp(S^T - m_i), l_i
 *                            v                   lane by lane: no sum or maximum across lanes
 *   V strips ----------> O^T [HEAD_DIM_V][PANEL] O^T = alpha O^T + V^T P^T
 *   [4 dims][SEQLEN_K]
 * </pre>
 *
 * <p>A task is one query block; it reads the packed K and V of its head tile by tile. Both products
 * take their strips from K and V, packed once per run for all query blocks, and their panel from
 * what the same core has just written, which stays in L1. The keys that no query of the block sees
 * are never read: tiles start at the first visible key and end at the last.
 *
 * <p>Extra memory: K and V packed, {@code O(SEQLEN_K)}, and a state per core of {@code O(1)}.
 *
 * <p>Source: T. Dao, FlashAttention-2 (2023), algorithm 1; the online softmax is from M. Milakov
 * and N. Gimelshein (2018).
 */
final class FlashAttention implements HostSession.Kernel {
  /** Keys per tile: P^T then takes 32 KiB of L1 with AVX-512. */
  static final int BLOCK_N = 128;

  /** Keys per packing task; a multiple of {@link Lanes#STRIP}. */
  private static final int PACK_KEYS = 128;

  /** Rows of O^T whose products wait in L1 to be added. */
  private static final int CHUNK = 4 * STRIP;

  private final AttentionProblem problem;
  private final AttentionShape shape;
  private final ScoreOptions options;
  private final Workers workers;
  private final Span q;
  private final Span k;
  private final Span v;
  private final Span out;
  private final @Nullable Span lse;
  private final int headDim;
  private final int headDimV;
  private final int paddedKeys;
  private final int paddedHeadDimV;
  private final float[][] kStrips;
  private final float[][] vStrips;

  /** Per key-value head, the keys whose values are packed as zeros and added one by one. */
  private final WildRows[] wildValues;

  private final int rowsPerUnit;
  private final int units;
  private final int[] heaviestFirst;
  private final State[] states;

  FlashAttention(AttentionProblem problem, Map<String, Span> tensors, Workers workers) {
    this.problem = problem;
    this.shape = problem.shape();
    this.options = new ScoreOptions(problem, tensors);
    this.workers = workers.forFlops(problem.flops());
    q = Tensors.get(tensors, "q");
    k = Tensors.get(tensors, "k");
    v = Tensors.get(tensors, "v");
    out = Tensors.get(tensors, "out");
    lse = tensors.get("lse");
    headDim = shape.headDim();
    headDimV = shape.headDimV();
    paddedKeys = roundUp(shape.seqlenK(), STRIP);
    paddedHeadDimV = roundUp(headDimV, STRIP);
    int headsKv = shape.batch() * shape.headsKv();
    kStrips = new float[headsKv][paddedKeys * headDim];
    vStrips = new float[headsKv][paddedKeys * paddedHeadDimV];
    wildValues =
        Stream.generate(() -> new WildRows(shape.seqlenK()))
            .limit(headsKv)
            .toArray(WildRows[]::new);
    rowsPerUnit = rowsPerUnit(shape);
    units = shape.batch() * shape.headsQ() * shape.seqlenQ() / rowsPerUnit;
    states = Stream.generate(State::new).limit(this.workers.count()).toArray(State[]::new);
    heaviestFirst = heaviestFirst();
  }

  /**
   * Query rows that are cut into blocks together. The query heads of a group lie one after another
   * and read the same keys, so heads with few queries share a block.
   */
  private static int rowsPerUnit(AttentionShape shape) {
    return shape.seqlenQ() >= PANEL ? shape.seqlenQ() : shape.seqlenQ() * shape.groupSize();
  }

  /** Memory beyond inputs and outputs, bytes: linear in the sequence lengths. */
  static long scratchBytes(AttentionProblem problem, int workers) {
    AttentionShape shape = problem.shape();
    long paddedKeys = roundUp(shape.seqlenK(), STRIP);
    long paddedHeadDimV = roundUp(shape.headDimV(), STRIP);
    long packed =
        paddedKeys * (shape.headDim() + paddedHeadDimV) * Float.BYTES
            + WildRows.bytes(shape.seqlenK());
    long order = (long) Math.ceilDiv(rowsPerUnit(shape), PANEL) * Integer.BYTES;
    long state =
        (shape.headDim() + BLOCK_N + CHUNK + paddedHeadDimV + State.VECTORS) * PANEL * Float.BYTES
            + ScoreTile.elements(problem) * Float.BYTES
            + 2L * PANEL * Integer.BYTES;
    return (long) shape.batch() * shape.headsKv() * packed + order + workers * state;
  }

  /** Elements of the longest array: a head's packed keys or values, or a worker's Q^T or O^T. */
  static long longestArray(AttentionShape shape) {
    long rows = Math.max(roundUp(shape.seqlenK(), STRIP), PANEL);
    return rows * Math.max(shape.headDim(), roundUp(shape.headDimV(), STRIP));
  }

  @Override
  public long scratchBytes() {
    long bytes = (long) heaviestFirst.length * Integer.BYTES;
    for (int head = 0; head < kStrips.length; head++) {
      bytes += ((long) kStrips[head].length + vStrips[head].length) * Float.BYTES;
      bytes += WildRows.bytes(shape.seqlenK());
    }
    return bytes + Stream.of(states).mapToLong(State::bytes).sum();
  }

  /** Tiles that the last run computed. */
  long tilesOfLastRun() {
    return Stream.of(states).mapToLong(state -> state.tiles).sum();
  }

  @Override
  public void run() {
    for (State state : states) {
      state.tiles = 0;
    }
    int packs = Math.ceilDiv(shape.seqlenK(), PACK_KEYS);
    workers.run(
        kStrips.length * packs, (worker, task) -> pack(task / packs, task % packs * PACK_KEYS));
    workers.run(
        units * heaviestFirst.length,
        (worker, task) -> attend(states[worker], task % units, heaviestFirst[task / units]));
  }

  /**
   * Query blocks of a unit by falling number of keys, so that no long task starts last. The band
   * alone decides: what the options' tensors hold is not known yet.
   */
  private int[] heaviestFirst() {
    int blocks = Math.ceilDiv(rowsPerUnit, PANEL);
    State state = states[0];
    ScoreOptions band = new ScoreOptions(problem.withOptions(AttentionOptions.NONE), Map.of());
    int[] keys = IntStream.range(0, blocks).map(block -> state.bind(band, 0, block)).toArray();
    return IntStream.range(0, blocks)
        .boxed()
        .sorted(Comparator.comparingInt(block -> -keys[block]))
        .mapToInt(Integer::intValue)
        .toArray();
  }

  private void pack(int headKv, int firstKey) {
    int keys = Math.min(PACK_KEYS, shape.seqlenK() - firstKey);
    int firstRow = headKv * shape.seqlenK() + firstKey;
    Packing.rowsToStrips(
        k.array(),
        k.offset() + firstRow * headDim,
        headDim,
        keys,
        headDim,
        kStrips[headKv],
        firstKey * headDim);
    int values = v.offset() + firstRow * headDimV;
    Packing.columnsToStrips(
        v.array(), values, keys, headDimV, vStrips[headKv], paddedKeys, firstKey);
    WildRows wild = wildValues[headKv];
    wild.scan(v.array(), values, headDimV, keys, headDimV, firstKey);
    int end = firstKey + keys;
    for (int key = wild.next(firstKey, end); key < end; key = wild.next(key + 1, end)) {
      Packing.zeroStripRow(vStrips[headKv], headDimV, paddedKeys, key);
    }
  }

  private void attend(State state, int unit, int block) {
    state.bind(options, unit, block);
    Packing.rowsToPanel(
        q.array(),
        q.offset() + state.firstRow * headDim,
        headDim,
        state.rows,
        headDim,
        problem.softmaxScale(),
        state.qPanel,
        0);
    int headKv = shape.kvHead(state.firstRow / shape.seqlenQ());
    int tile = state.options.start(state.beginKey, state.endKey);
    while (tile < state.endKey) {
      int keys = state.options.keys(tile, state.endKey);
      state.tiles++;
      for (int j = 0; j < keys; j += STRIP) {
        MicroKernel.multiply(
            kStrips[headKv],
            (tile + j) * headDim,
            state.qPanel,
            0,
            state.width,
            headDim,
            state.scores,
            j * PANEL,
            PANEL);
      }
      if (options.isNone()) {
        state.hide(tile, keys);
        state.softmax(keys);
      } else {
        state.softmaxWithOptions(tile, keys);
      }
      for (int e = 0; e < paddedHeadDimV; e += CHUNK) {
        int dims = Math.min(CHUNK, paddedHeadDimV - e);
        for (int d = 0; d < dims; d += STRIP) {
          MicroKernel.multiply(
              vStrips[headKv],
              (e + d) * paddedKeys + tile * STRIP,
              state.scores,
              0,
              state.width,
              keys,
              state.product,
              d * PANEL,
              PANEL);
        }
        state.accumulate(e, dims);
      }
      addWildValues(state, headKv, tile, keys);
      tile = state.options.start(tile + keys, state.endKey);
    }
    finish(state);
  }

  /** Adds the values that the product took as zeros to the queries that see them. */
  private void addWildValues(State state, int headKv, int tile, int keys) {
    int end = Math.min(tile + keys, shape.seqlenK());
    WildRows wild = wildValues[headKv];
    for (int key = wild.next(tile, end); key < end; key = wild.next(key + 1, end)) {
      int row = v.offset() + (headKv * shape.seqlenK() + key) * headDimV;
      for (int lane = 0; lane < state.rows; lane++) {
        if (!state.options.query(lane).hides(key)) {
          float p = state.scores[(key - tile) * PANEL + lane];
          for (int e = 0; e < headDimV; e++) {
            state.acc[e * PANEL + lane] += p * v.array()[row + e];
          }
        }
      }
    }
  }

  private void finish(State state) {
    for (int lane = 0; lane < state.rows; lane++) {
      int row = state.firstRow + lane;
      float l = state.l[lane];
      boolean empty = !(l > 0) && !state.options.query(lane).seesAny();
      float inverse = 1 / l;
      int to = out.offset() + row * headDimV;
      for (int e = 0; e < headDimV; e++) {
        out.array()[to + e] = empty ? 0 : state.acc[e * PANEL + lane] * inverse;
      }
      Rounding.round(problem.dtype(), out.array(), to, headDimV);
      if (lse != null) {
        // Of a row that sees nothing: -inf, or its sink, of which l is 1.
        lse.array()[lse.offset() + row] = (float) (state.m[lane] + Math.log(l));
      }
    }
  }

  /** What one worker needs for one query block: a row of {@link Lanes#PANEL} lanes per quantity. */
  private final class State {
    /** Rows in the arrays below from m on. */
    static final int VECTORS = 9;

    final float[] qPanel = new float[headDim * PANEL];
    final float[] scores = new float[BLOCK_N * PANEL];
    final float[] product = new float[CHUNK * PANEL];
    final float[] acc = new float[paddedHeadDimV * PANEL];
    final float[] m = new float[PANEL];
    final float[] l = new float[PANEL];
    final float[] alpha = new float[2 * PANEL]; // a second row because exp takes rows in pairs
    final float[] reference = new float[PANEL];
    final float[] sum = new float[PANEL];
    final float[] zeros = new float[PANEL];
    final float[] firstInTile = new float[PANEL];
    final float[] endInTile = new float[PANEL];
    final int[] first = new int[PANEL];
    final int[] end = new int[PANEL];
    final ScoreTile options = new ScoreTile(problem, FlashAttention.this.options);
    int firstRow;
    int rows;
    int width;
    int beginKey;
    int endKey;
    int maxFirst;
    int minEnd;
    long tiles;

    long bytes() {
      long floats =
          Stream.of(
                  qPanel,
                  scores,
                  product,
                  acc,
                  m,
                  l,
                  alpha,
                  reference,
                  sum,
                  zeros,
                  firstInTile,
                  endInTile)
              .mapToLong(array -> array.length)
              .sum();
      return (floats + options.elements()) * Float.BYTES
          + ((long) first.length + end.length) * Integer.BYTES;
    }

    /** Turns to a query block; returns how many keys it has to look at. */
    int bind(ScoreOptions from, int unit, int block) {
      firstRow = unit * rowsPerUnit + block * PANEL;
      rows = Math.min(PANEL, rowsPerUnit - block * PANEL);
      width = Lanes.tileWidth(rows);
      int minFirst = shape.seqlenK();
      maxFirst = 0;
      minEnd = shape.seqlenK();
      endKey = 0;
      options.bind(from, firstRow, rows, width);
      for (int lane = 0; lane < PANEL; lane++) {
        ScoreOptions.Row query = options.query(lane);
        first[lane] = query.first;
        end[lane] = query.end;
        // A sink is a key with a score of its own and no value.
        m[lane] = query.sink();
        if (first[lane] < end[lane]) {
          minFirst = Math.min(minFirst, first[lane]);
          endKey = Math.max(endKey, end[lane]);
        }
        maxFirst = Math.max(maxFirst, first[lane]);
        minEnd = Math.min(minEnd, end[lane]);
      }
      beginKey = minFirst - minFirst % STRIP;
      Arrays.fill(l, from.hasSinks() ? 1 : 0);
      Arrays.fill(acc, 0);
      return Math.max(0, endKey - beginKey);
    }

    /**
     * As {@link #hide} and {@link #softmax}, with what the options do before, between and after.
     */
    void softmaxWithOptions(int tile, int keys) {
      int real = Math.min(keys, shape.seqlenK() - tile);
      options.change(scores, tile, keys, real);
      hide(tile, keys);
      options.hide(scores, tile, real);
      softmax(keys);
      options.drop(scores, tile, real);
    }

    /** Sets scores of hidden pairs to -inf; a tile that every query sees whole costs nothing. */
    void hide(int tile, int keys) {
      if (tile >= maxFirst && tile + keys <= minEnd) {
        return;
      }
      for (int lane = 0; lane < PANEL; lane++) {
        // Relative to the tile the positions are small, so fp32 holds them exactly.
        firstInTile[lane] = Math.clamp((long) first[lane] - tile, 0, keys);
        endInTile[lane] = Math.clamp((long) end[lane] - tile, 0, keys);
      }
      int headRows = Math.clamp((long) maxFirst - tile, 0, keys);
      int tailRow = Math.clamp((long) minEnd - tile, headRows, keys);
      for (int c = 0; c < width; c += LANES) {
        hideRows(c, 0, headRows);
        hideRows(c, tailRow, keys);
      }
    }

    private void hideRows(int c, int from, int to) {
      FloatVector visibleFrom = load(firstInTile, c);
      FloatVector visibleTo = load(endInTile, c);
      for (int j = from; j < to; j++) {
        FloatVector key = broadcast(j);
        FloatVector shown = load(scores, c + j * PANEL);
        shown
            .blend(
                Float.NEGATIVE_INFINITY,
                key.compare(VectorOperators.LT, visibleFrom)
                    .or(key.compare(VectorOperators.GE, visibleTo)))
            .intoArray(scores, c + j * PANEL);
      }
    }

    /** Turns the tile's scores into P^T and brings m, l and alpha up to date. */
    void softmax(int keys) {
      for (int c = 0; c < width; c += LANES) {
        maximum(c, keys);
      }
      for (int c = 0; c < width; c += LANES) {
        Exp.expAndSum(alpha, c, 2, zeros, sum, c);
        Exp.expAndSum(scores, c, keys, reference, sum, c);
        load(l, c).fma(load(alpha, c), load(sum, c)).intoArray(l, c);
      }
    }

    /**
     * Updates m. Compares and blends: NaN never becomes the maximum, it reaches l and O through
     * exp. Where m is still -inf, 0 is subtracted in its place, for -inf - -inf would be NaN.
     */
    private void maximum(int c, int keys) {
      FloatVector even = broadcast(Float.NEGATIVE_INFINITY);
      FloatVector odd = even;
      for (int j = 0; j < keys; j += 2) {
        FloatVector x = load(scores, c + j * PANEL);
        even = even.blend(x, x.compare(VectorOperators.GT, even));
        FloatVector y = load(scores, c + j * PANEL + PANEL);
        odd = odd.blend(y, y.compare(VectorOperators.GT, odd));
      }
      FloatVector before = load(m, c);
      FloatVector now = even.blend(odd, odd.compare(VectorOperators.GT, even));
      now = now.blend(before, before.compare(VectorOperators.GT, now));
      now.intoArray(m, c);
      FloatVector finite = now.blend(0, now.compare(VectorOperators.EQ, Float.NEGATIVE_INFINITY));
      finite.intoArray(reference, c);
      before.sub(finite).intoArray(alpha, c);
    }

    /** {@code acc = alpha * acc + product} for some rows of O^T. */
    void accumulate(int fromRow, int dims) {
      for (int c = 0; c < width; c += LANES) {
        FloatVector a = load(alpha, c);
        for (int d = 0; d < dims; d++) {
          int at = c + (fromRow + d) * PANEL;
          load(acc, at).fma(a, load(product, c + d * PANEL)).intoArray(acc, at);
        }
      }
    }
  }
}
