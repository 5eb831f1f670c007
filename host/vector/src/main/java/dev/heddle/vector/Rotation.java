package dev.heddle.vector;

import static dev.heddle.vector.Lanes.LANES;
import static dev.heddle.vector.Lanes.SPECIES;
import static dev.heddle.vector.Lanes.load;

import dev.heddle.core.HostSession;
import dev.heddle.core.HostSession.Span;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.RotaryEmbedding.Pairing;
import java.util.Map;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorShuffle;

/** {@code rotary_embedding}: turns pairs of elements, a vector of pairs at a time. */
final class Rotation implements HostSession.Kernel {
  /** Elements per task, so that small tensors are one task. */
  private static final int ELEMENTS_PER_TASK = 1 << 14;

  /** Each lane's partner in an interleaved pair. */
  private static final VectorShuffle<Float> PARTNERS = VectorShuffle.fromOp(SPECIES, i -> i ^ 1);

  /** The first half of the lanes, each twice; and the second half. */
  private static final VectorShuffle<Float> FIRST_TWICE = VectorShuffle.fromOp(SPECIES, i -> i / 2);

  private static final VectorShuffle<Float> SECOND_TWICE =
      VectorShuffle.fromOp(SPECIES, i -> LANES / 2 + i / 2);

  private static final float[] SIGNS = signs();

  private final RotaryEmbedding problem;
  private final Span x;
  private final Span cos;
  private final Span sin;
  private final Span positions;
  private final Span y;
  private final Workers workers;
  private final int pairs;

  Rotation(RotaryEmbedding problem, Map<String, Span> tensors, Workers workers) {
    this.problem = problem;
    this.x = Tensors.get(tensors, "x");
    this.cos = Tensors.get(tensors, "cos");
    this.sin = Tensors.get(tensors, "sin");
    this.positions = Tensors.get(tensors, "positions");
    this.y = Tensors.get(tensors, "y");
    this.workers = workers;
    this.pairs = problem.rotaryDim() / 2;
  }

  private static float[] signs() {
    float[] signs = new float[LANES];
    for (int i = 0; i < LANES; i++) {
      signs[i] = i % 2 == 0 ? -1 : 1;
    }
    return signs;
  }

  @Override
  public void run() {
    int rowsPerTask = Math.ceilDiv(ELEMENTS_PER_TASK, problem.headDim());
    workers.runRanges(
        x.length() / problem.headDim(),
        rowsPerTask,
        (worker, first, end) -> {
          for (int row = first; row < end; row++) {
            turn(row);
          }
        });
  }

  private void turn(int row) {
    int batch = row / (problem.heads() * problem.seqlen());
    int token = batch * problem.seqlen() + row % problem.seqlen();
    int position = (int) positions.array()[positions.offset() + token];
    int angles = Math.clamp(position, 0, problem.maxPositions() - 1) * pairs;
    int from = x.offset() + row * problem.headDim();
    int to = y.offset() + row * problem.headDim();
    int full = pairs - pairs % LANES;
    boolean interleaved = problem.pairing() == Pairing.INTERLEAVED;
    for (int i = 0; i < full; i += LANES) {
      FloatVector c = load(cos.array(), cos.offset() + angles + i);
      FloatVector s = load(sin.array(), sin.offset() + angles + i);
      if (interleaved) {
        turnNeighbours(from + 2 * i, to + 2 * i, c, s);
      } else {
        turnHalves(from + i, to + i, c, s);
      }
    }
    int distance = problem.pairing().distance(problem.rotaryDim());
    for (int i = full; i < pairs; i++) {
      float c = cos.array()[cos.offset() + angles + i];
      float s = sin.array()[sin.offset() + angles + i];
      int first = problem.pairing().first(i);
      float a = x.array()[from + first];
      float b = x.array()[from + first + distance];
      y.array()[to + first] = Math.fma(a, c, -(b * s));
      y.array()[to + first + distance] = Math.fma(b, c, a * s);
    }
    int rest = problem.headDim() - problem.rotaryDim();
    System.arraycopy(
        x.array(), from + problem.rotaryDim(), y.array(), to + problem.rotaryDim(), rest);
    Rounding.round(problem.dtype(), y.array(), to, problem.rotaryDim());
  }

  /** Pairs whose elements are half of ROTARY_DIM apart. */
  private void turnHalves(int from, int to, FloatVector c, FloatVector s) {
    FloatVector a = load(x.array(), from);
    FloatVector b = load(x.array(), from + pairs);
    a.fma(c, b.mul(s).neg()).intoArray(y.array(), to);
    b.fma(c, a.mul(s)).intoArray(y.array(), to + pairs);
  }

  /** Pairs of neighbours: two vectors of elements for a vector of angles. */
  private void turnNeighbours(int from, int to, FloatVector c, FloatVector s) {
    FloatVector signs = load(SIGNS, 0);
    FloatVector a = load(x.array(), from);
    FloatVector b = load(x.array(), from + LANES);
    FloatVector crossedA = a.rearrange(PARTNERS).mul(s.rearrange(FIRST_TWICE).mul(signs));
    FloatVector crossedB = b.rearrange(PARTNERS).mul(s.rearrange(SECOND_TWICE).mul(signs));
    a.fma(c.rearrange(FIRST_TWICE), crossedA).intoArray(y.array(), to);
    b.fma(c.rearrange(SECOND_TWICE), crossedB).intoArray(y.array(), to + LANES);
  }

  @Override
  public long scratchBytes() {
    return 0;
  }
}
