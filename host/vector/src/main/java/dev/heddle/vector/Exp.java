package dev.heddle.vector;

import static dev.heddle.vector.Lanes.PANEL;
import static dev.heddle.vector.Lanes.broadcast;
import static dev.heddle.vector.Lanes.load;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * The exponential function of many values, for arguments up to 88.
 *
 * <p>{@code exp(x) = 2^n * 2^f} with {@code n = round(x * log2(e))} and {@code |f| <= 0.5}: {@code
 * 2^n} is put together in the exponent field, {@code 2^f} is a polynomial. {@code exp(0)} is
 * exactly 1, NaN gives NaN, and what would be below the smallest normal number gives 0.
 */
final class Exp {
  /** Below this the result is 0: ln(2^-126), the smallest normal fp32. */
  static final float UNDERFLOW = -87.33654f;

  /** log2(e), and what rounding it to fp32 left out. */
  static final float LOG2_E = 1.44269502f;

  static final float LOG2_E_REST = 1.92596299e-8f;

  /**
   * 1.5 * 2^23 + 127. Adding it rounds to an integer and leaves {@code n + 127}, the biased
   * exponent of {@code 2^n}, in the low bits of the sum.
   */
  static final float ROUND = 12583039f;

  private static final int MANTISSA_BITS = 23;

  // Minimax polynomial of 2^f on [-0.5, 0.5] by relative error with the constant term held at 1
  // (Remez exchange); its own error is 2.6e-9, far below fp32 rounding.
  static final float P1 = 0.693147215f;
  static final float P2 = 0.240226528f;
  static final float P3 = 0.0555031055f;
  static final float P4 = 0.00961769297f;
  static final float P5 = 0.00134066439f;
  static final float P6 = 0.000155946782f;

  private Exp() {}

  /**
   * Replaces a column of vectors by {@code exp(x - shift)} and sums it up, lane by lane.
   *
   * <p>Two rows at a time, written out: the loop is bound by latency otherwise. It also keeps this
   * method too large for C2 to inline, which it must be: C2 stops inlining when a compiled method
   * has grown to 18,000 nodes, about 60 calls of the Vector API with everything inlined below it,
   * and from there on boxes every vector. Callers that take in this loop would pass that limit.
   *
   * @param x the column's vectors start at {@code offset}, each {@link Lanes#PANEL} after the one
   *     before
   * @param rows how many vectors; even
   * @param shift what to subtract, one vector from {@code lane}
   * @param sum receives the sums, one vector from {@code lane}
   */
  static void expAndSum(float[] x, int offset, int rows, float[] shift, float[] sum, int lane) {
    FloatVector s = load(shift, lane);
    FloatVector log2e = broadcast(LOG2_E);
    FloatVector log2eRest = broadcast(LOG2_E_REST);
    FloatVector round = broadcast(ROUND);
    FloatVector p1 = broadcast(P1);
    FloatVector p2 = broadcast(P2);
    FloatVector p3 = broadcast(P3);
    FloatVector p4 = broadcast(P4);
    FloatVector p5 = broadcast(P5);
    FloatVector p6 = broadcast(P6);
    FloatVector one = broadcast(1);
    FloatVector zero = broadcast(0);
    FloatVector underflow = broadcast(UNDERFLOW);
    FloatVector sumA = zero;
    FloatVector sumB = zero;
    for (int row = 0; row < rows; row += 2) {
      int a = offset + row * PANEL;
      int b = a + PANEL;
      FloatVector xa = load(x, a).sub(s);
      FloatVector xb = load(x, b).sub(s);
      FloatVector ta = xa.fma(log2e, round);
      FloatVector tb = xb.fma(log2e, round);
      FloatVector fa = xa.fma(log2eRest, xa.fma(log2e, round.sub(ta)));
      FloatVector fb = xb.fma(log2eRest, xb.fma(log2e, round.sub(tb)));
      FloatVector pa = p6.fma(fa, p5);
      FloatVector pb = p6.fma(fb, p5);
      pa = pa.fma(fa, p4);
      pb = pb.fma(fb, p4);
      pa = pa.fma(fa, p3);
      pb = pb.fma(fb, p3);
      pa = pa.fma(fa, p2);
      pb = pb.fma(fb, p2);
      pa = pa.fma(fa, p1);
      pb = pb.fma(fb, p1);
      pa = pa.fma(fa, one).mul(power(ta));
      pb = pb.fma(fb, one).mul(power(tb));
      pa = pa.blend(zero, xa.compare(VectorOperators.LT, underflow));
      pb = pb.blend(zero, xb.compare(VectorOperators.LT, underflow));
      sumA = sumA.add(pa);
      sumB = sumB.add(pb);
      pa.intoArray(x, a);
      pb.intoArray(x, b);
    }
    sumA.add(sumB).intoArray(sum, lane);
  }

  /** {@code 2^n} from {@code n + ROUND}. */
  static FloatVector power(FloatVector shifted) {
    return shifted
        .reinterpretAsInts()
        .lanewise(VectorOperators.LSHL, MANTISSA_BITS)
        .reinterpretAsFloats();
  }
}
