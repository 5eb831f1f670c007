package dev.heddle.vector;

import static dev.heddle.vector.Lanes.LANES;
import static dev.heddle.vector.Lanes.load;

import dev.heddle.core.DType;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * Rounds fp32 elements in place to what a storage type can hold, to the nearest, ties to even, as
 * {@link DType#round} does; NaN stays NaN.
 *
 * <p>A session's tensors are held widened, so that what kernels read needs no conversion. What they
 * write is rounded when all sums are in it, by the task that wrote it while it is still in the
 * core's cache: once, and never a value that is still added to.
 */
final class Rounding {
  private static final int SIGN = 0x8000_0000;

  /** Low bits of an fp32 that bf16 drops, and that fp16 drops of a number in its normal range. */
  private static final int BF16_DROPS = 16;

  private static final int FP16_DROPS = 13;

  /** The least number in fp16's normal range; its subnormals below are the multiples of 2^-24. */
  private static final float FP16_LEAST_NORMAL = 0x1p-14f;

  /** Half a unit in the last place beyond fp16's largest number: rounds to infinity. */
  private static final float FP16_OVERFLOW = 65520f;

  /** Its unit in the last place is 2^-24, to which adding it therefore rounds. */
  private static final float FP16_SUBNORMAL_ROUND = 0.5f;

  private Rounding() {}

  /** Rounds {@code length} elements from {@code offset} on. */
  static void round(DType dtype, float[] array, int offset, int length) {
    switch (dtype) {
      case FP32 -> {}
      case INT32, BOOL ->
          throw new IllegalArgumentException("no operation stores its result as " + dtype.label());
      case FP16 -> toFp16(array, offset, length);
      case BF16 -> toBf16(array, offset, length);
    }
  }

  private static void toBf16(float[] array, int offset, int length) {
    int full = length - length % LANES;
    for (int i = offset; i < offset + full; i += LANES) {
      FloatVector x = load(array, i);
      // The sum below could carry a NaN over into an infinity or a zero.
      dropping(BF16_DROPS, x).blend(x, x.test(VectorOperators.IS_NAN)).intoArray(array, i);
    }
    rest(DType.BF16, array, offset + full, offset + length);
  }

  private static void toFp16(float[] array, int offset, int length) {
    int full = length - length % LANES;
    for (int i = offset; i < offset + full; i += LANES) {
      FloatVector x = load(array, i);
      FloatVector magnitude = x.abs();
      FloatVector rounded = dropping(FP16_DROPS, magnitude);
      FloatVector subnormal = magnitude.add(FP16_SUBNORMAL_ROUND).sub(FP16_SUBNORMAL_ROUND);
      VectorMask<Float> tiny = magnitude.compare(VectorOperators.LT, FP16_LEAST_NORMAL);
      VectorMask<Float> huge = magnitude.compare(VectorOperators.GE, FP16_OVERFLOW);
      rounded
          .blend(subnormal, tiny)
          .blend(Float.POSITIVE_INFINITY, huge)
          .blend(magnitude, x.test(VectorOperators.IS_NAN))
          .reinterpretAsInts()
          .or(x.reinterpretAsInts().and(SIGN))
          .reinterpretAsFloats()
          .intoArray(array, i);
    }
    rest(DType.FP16, array, offset + full, offset + length);
  }

  /** The nearest number whose lowest bits are zero, ties to even: a carry reaches the exponent. */
  private static FloatVector dropping(int bits, FloatVector x) {
    IntVector pattern = x.reinterpretAsInts();
    IntVector odd = pattern.lanewise(VectorOperators.LSHR, bits).and(1);
    return pattern.add((1 << (bits - 1)) - 1).add(odd).and(-1 << bits).reinterpretAsFloats();
  }

  private static void rest(DType dtype, float[] array, int from, int to) {
    for (int i = from; i < to; i++) {
      array[i] = dtype.round(array[i]);
    }
  }
}
