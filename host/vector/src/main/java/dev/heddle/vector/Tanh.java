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
    int full = length - length % LANES;
    softcapVectors(cap, x, offset, full);
    if (full < length) {
      // The same arithmetic for the rest, so that a score does not depend on where it lies.
      float[] rest = new float[LANES];
      System.arraycopy(x, offset + full, rest, 0, length - full);
      softcapVectors(cap, rest, 0, LANES);
      System.arraycopy(rest, 0, x, offset + full, length - full);
    }
  }

  /**
   * One vector at a time: the two that {@link Exp#expAndSum} takes would be more calls of the
   * Vector API than C2 inlines.
   */
  private static void softcapVectors(float cap, float[] x, int offset, int length) {
    FloatVector caps = broadcast(cap);
    // Finite for the least of caps, too, or 0 would become NaN.
    FloatVector twice = broadcast(Math.min(2 / cap, Float.MAX_VALUE));
    FloatVector log2e = broadcast(Exp.LOG2_E);
    FloatVector log2eRest = broadcast(Exp.LOG2_E_REST);
    FloatVector round = broadcast(Exp.ROUND);
    FloatVector one = broadcast(1);
    FloatVector two = broadcast(2);
    for (int i = offset; i < offset + length; i += LANES) {
      FloatVector signed = load(x, i);
      FloatVector y = signed.abs().mul(twice);
      // Compared and blended, so that NaN stays.
      y = y.blend(ONE_FROM, y.compare(VectorOperators.GT, ONE_FROM));
      FloatVector n = y.fma(log2e, round);
      FloatVector f = y.fma(log2eRest, y.fma(log2e, round.sub(n)));
      FloatVector p = broadcast(Exp.P6).fma(f, broadcast(Exp.P5));
      p = p.fma(f, broadcast(Exp.P4));
      p = p.fma(f, broadcast(Exp.P3));
      p = p.fma(f, broadcast(Exp.P2));
      p = p.fma(f, broadcast(Exp.P1)).mul(f);
      FloatVector power = Exp.power(n);
      FloatVector t = power.fma(p, power.sub(one));
      withSign(caps.mul(t.div(t.add(two))), signed).intoArray(x, i);
    }
  }

  private static FloatVector withSign(FloatVector magnitude, FloatVector sign) {
    return magnitude
        .reinterpretAsInts()
        .or(sign.reinterpretAsInts().and(SIGN))
        .reinterpretAsFloats();
  }
}
