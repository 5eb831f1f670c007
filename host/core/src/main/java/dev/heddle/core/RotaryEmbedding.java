package dev.heddle.core;

import java.util.List;
import java.util.Locale;
import java.util.function.DoubleUnaryOperator;

/**
 * Rotary position embedding of queries or keys: each pair of elements is turned by an angle that
 * grows with the token's position.
 *
 * <pre>{@code
 * y[first]  = cos[p][i] x[first] - sin[p][i] x[second]
 * y[second] = sin[p][i] x[first] + cos[p][i] x[second]      p = positions[b][s], i < ROTARY_DIM / 2
 * }</pre>
 *
 * <p>Reads {@code x [B, H, SEQLEN, HEAD_DIM]}, {@code cos} and {@code sin [MAX_POSITIONS,
 * ROTARY_DIM / 2]}, always fp32, and {@code positions [B, SEQLEN]}, int32; writes {@code y} as x.
 * Elements from ROTARY_DIM on are copied.
 *
 * <p>Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.
 *
 * @param batch independent sequences, B
 * @param heads heads of x, H; query or key-value heads
 * @param seqlen tokens per sequence
 * @param headDim elements of a head
 * @param rotaryDim leading elements that are turned; even, at most {@code headDim}
 * @param pairing which elements make a pair
 * @param maxPositions rows of the tables
 * @param dtype storage type of x and y
 */
public record RotaryEmbedding(
    int batch,
    int heads,
    int seqlen,
    int headDim,
    int rotaryDim,
    Pairing pairing,
    int maxPositions,
    DType dtype)
    implements Operation {

  /** The base of the angles in the paper and in most models. */
  public static final double DEFAULT_BASE = 10_000;

  /** Which elements of a head make pair {@code i}. */
  public enum Pairing {
    /** {@code 2 i} and {@code 2 i + 1}, as in the paper. */
    INTERLEAVED,
    /** {@code i} and {@code i + ROTARY_DIM / 2}, as in GPT-NeoX and Llama. */
    HALF_SPLIT;

    /** Name as users write it: {@code interleaved}, {@code half-split}. */
    public String label() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /** The first element of a pair. */
    public int first(int pair) {
      return this == INTERLEAVED ? 2 * pair : pair;
    }

    /** The distance from the first to the second element of a pair. */
    public int distance(int rotaryDim) {
      return this == INTERLEAVED ? 1 : rotaryDim / 2;
    }
  }

  /**
   * Checks sizes and type.
   *
   * @throws IllegalArgumentException when the type is not a floating-point one, naming the shape
   *     with a dimension below 1, or the rotaryDim that does not fit
   */
  public RotaryEmbedding {
    DType.requireFloating(dtype);
    Shape.of(batch, heads, seqlen, headDim);
    if (rotaryDim < 2 || rotaryDim > headDim || rotaryDim % 2 != 0) {
      throw new IllegalArgumentException(
          "rotaryDim = " + rotaryDim + "; it must be even and from 2 to headDim = " + headDim);
    }
    table(maxPositions, rotaryDim);
  }

  @Override
  public String name() {
    return "rotary";
  }

  @Override
  public List<TensorSpec> inputs() {
    Shape table = table(maxPositions, rotaryDim);
    return List.of(
        new TensorSpec("x", Shape.of(batch, heads, seqlen, headDim), dtype),
        new TensorSpec("cos", table, DType.FP32),
        new TensorSpec("sin", table, DType.FP32),
        new TensorSpec("positions", Shape.of(batch, seqlen), DType.INT32));
  }

  @Override
  public List<TensorSpec> outputs() {
    return List.of(new TensorSpec("y", Shape.of(batch, heads, seqlen, headDim), dtype));
  }

  @Override
  public RotaryEmbedding withDtype(DType other) {
    return new RotaryEmbedding(
        batch, heads, seqlen, headDim, rotaryDim, pairing, maxPositions, other);
  }

  /** Every position has to have a row in the tables. */
  @Override
  public void requireValues(String name, HostTensor values) {
    if (name.equals("positions")) {
      Operation.requireRange(name, values, 0, maxPositions - 1, "the tables' last row");
    }
  }

  /** Four products and two sums per pair. */
  @Override
  public double flops() {
    return 3.0 * batch * heads * seqlen * rotaryDim;
  }

  /**
   * {@code cos(p base^(-2 i / rotaryDim))} for every position p and pair i, computed in double
   * precision.
   */
  public static HostTensor cosTable(int maxPositions, int rotaryDim, double base) {
    return table(maxPositions, rotaryDim, base, Math::cos);
  }

  /** The sines of the same angles. */
  public static HostTensor sinTable(int maxPositions, int rotaryDim, double base) {
    return table(maxPositions, rotaryDim, base, Math::sin);
  }

  private static HostTensor table(
      int maxPositions, int rotaryDim, double base, DoubleUnaryOperator function) {
    HostTensor table = HostTensor.zeros(table(maxPositions, rotaryDim), DType.FP32);
    int pairs = rotaryDim / 2;
    for (int i = 0; i < pairs; i++) {
      double frequency = Math.pow(base, -2.0 * i / rotaryDim);
      for (int p = 0; p < maxPositions; p++) {
        table.set(p * pairs + i, (float) function.applyAsDouble(p * frequency));
      }
    }
    return table;
  }

  private static Shape table(int maxPositions, int rotaryDim) {
    return Shape.of(maxPositions, rotaryDim / 2);
  }
}
