package dev.heddle.vector;

import static dev.heddle.vector.Lanes.LANES;
import static dev.heddle.vector.Lanes.broadcast;
import static dev.heddle.vector.Lanes.load;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * The hyperbolic tangent of many values, as logit softcaps use it.
 *
 * <p>{@code tanh(x) = t / (t + 2)} with {@code t = exp(2x) - 1}, which loses nothing near 0 where
 * {@code t} is put together as {@code 2^n p + (2^n - 1)} with {@code p = 2^f - 1}, the polynomial
 * of {@link Exp} without its constant term. For {@code x >= 0} the two terms never cancel by more
 * than half; the rest is symmetry.
 */
final class Tanh {
  /** Twice the argument from which on tanh is 1 to fp32. */
  private static final float ONE_FROM = 20;

  private static final int SIGN = 0x8000_0000;

  private Tanh() {}

  /** Replaces {@code length} elements from {@code offset} on by {@code cap * tanh(x / cap)}. */
  static void softcap(float cap, float[] x, int offset, int length) {
    int full = length - length % (2 * LANES);
    softcapPairs(cap, x, offset, full);
    if (full < length) {
      // The same arithmetic for the rest, so that a score does not depend on where it lies.
      float[] rest = new float[2 * LANES];
      System.arraycopy(x, offset + full, rest, 0, length - full);
      softcapPairs(cap, rest, 0, rest.length);
      System.arraycopy(rest, 0, x, offset + full, length - full);
    }
  }

  /**
   * Two vectors at a time, written out for the reason that {@link Exp#expAndSum} has, too: so that
   * C2 finds it too large to inline.
   */
  private static void softcapPairs(float cap, float[] x, int offset, int length) {
    FloatVector caps = broadcast(cap);
    // Finite for the least of caps, too, or 0 would become NaN.
    FloatVector twice = broadcast(Math.min(2 / cap, Float.MAX_VALUE));
    FloatVector log2e = broadcast(Exp.LOG2_E);
    FloatVector log2eRest = broadcast(Exp.LOG2_E_REST);
    FloatVector round = broadcast(Exp.ROUND);
    FloatVector one = broadcast(1);
    FloatVector two = broadcast(2);
    for (int i = offset; i < offset + length; i += 2 * LANES) {
      FloatVector xa = load(x, i);
      FloatVector xb = load(x, i + LANES);
      FloatVector ya = xa.abs().mul(twice);
      FloatVector yb = xb.abs().mul(twice);
      // Compared and blended, so that NaN stays.
      ya = ya.blend(ONE_FROM, ya.compare(VectorOperators.GT, ONE_FROM));
      yb = yb.blend(ONE_FROM, yb.compare(VectorOperators.GT, ONE_FROM));
      FloatVector na = ya.fma(log2e, round);
      FloatVector nb = yb.fma(log2e, round);
      FloatVector fa = ya.fma(log2eRest, ya.fma(log2e, round.sub(na)));
      FloatVector fb = yb.fma(log2eRest, yb.fma(log2e, round.sub(nb)));
      FloatVector pa = broadcast(Exp.P6).fma(fa, broadcast(Exp.P5));
      FloatVector pb = broadcast(Exp.P6).fma(fb, broadcast(Exp.P5));
      pa = pa.fma(fa, broadcast(Exp.P4));
      pb = pb.fma(fb, broadcast(Exp.P4));
      pa = pa.fma(fa, broadcast(Exp.P3));
      pb = pb.fma(fb, broadcast(Exp.P3));
      pa = pa.fma(fa, broadcast(Exp.P2));
      pb = pb.fma(fb, broadcast(Exp.P2));
      pa = pa.fma(fa, broadcast(Exp.P1)).mul(fa);
      pb = pb.fma(fb, broadcast(Exp.P1)).mul(fb);
      FloatVector powerA = Exp.power(na);
      FloatVector powerB = Exp.power(nb);
      FloatVector ta = powerA.fma(pa, powerA.sub(one));
      FloatVector tb = powerB.fma(pb, powerB.sub(one));
      signed(caps.mul(ta.div(ta.add(two))), xa).intoArray(x, i);
      signed(caps.mul(tb.div(tb.add(two))), xb).intoArray(x, i + LANES);
    }
  }

  private static FloatVector signed(FloatVector magnitude, FloatVector sign) {
    return magnitude
        .reinterpretAsInts()
        .or(sign.reinterpretAsInts().and(SIGN))
        .reinterpretAsFloats();
  }
}
