package dev.heddle.reference;

import dev.heddle.core.DType;
import java.util.StringJoiner;

/**
 * Counts of distances in units in the last place of a storage type: how many values that the type
 * can store lie between two numbers. Classes double: 0, 1, 2, 3-4, 5-8, ...; comparisons with a NaN
 * are a class of their own.
 */
public final class UlpHistogram {
  private static final int NAN = 34;

  private final DType dtype;
  private final long[] counts = new long[NAN + 1];

  /** Nothing counted yet, in units of that type. */
  UlpHistogram(DType dtype) {
    this.dtype = dtype;
  }

  /** Counts one pair, each rounded to the type. */
  void add(float expected, float got) {
    counts[bucket(expected, got)]++;
  }

  /** Pairs of exactly equal values. */
  public long exact() {
    return counts[0];
  }

  /** Pairs of which one is NaN. */
  public long nans() {
    return counts[NAN];
  }

  /** Pairs at most {@code 2^exponent} units apart, exact ones included, NaN never. */
  public long within(int exponent) {
    long sum = 0;
    for (int bucket = 0; bucket <= Math.min(exponent + 1, NAN - 1); bucket++) {
      sum += counts[bucket];
    }
    return sum;
  }

  /** Pairs counted. */
  public long total() {
    return within(NAN - 2) + nans();
  }

  /** As {@code 0:812 1:200 2:12 3-4:1}, empty classes left out. */
  @Override
  public String toString() {
    StringJoiner joiner = new StringJoiner(" ");
    for (int bucket = 0; bucket < NAN; bucket++) {
      if (counts[bucket] > 0) {
        joiner.add(label(bucket) + ":" + counts[bucket]);
      }
    }
    if (nans() > 0) {
      joiner.add("NaN:" + nans());
    }
    return joiner.toString();
  }

  private static String label(int bucket) {
    return switch (bucket) {
      case 0 -> "0";
      case 1 -> "1";
      case 2 -> "2";
      default -> ((1L << (bucket - 2)) + 1) + "-" + (1L << (bucket - 1));
    };
  }

  private int bucket(float expected, float got) {
    if (Float.isNaN(expected) || Float.isNaN(got)) {
      return NAN;
    }
    long distance = Math.abs(ordered(expected) - ordered(got));
    return distance == 0 ? 0 : 65 - Long.numberOfLeadingZeros(distance - 1);
  }

  /** Position among all values of the type, so that neighbours differ by 1 and both zeros are 0. */
  private long ordered(float value) {
    if (dtype == DType.FP32) {
      int bits = Float.floatToRawIntBits(value);
      return bits >= 0 ? bits : -(long) (bits & Integer.MAX_VALUE);
    }
    short bits = dtype.encode(value);
    return bits >= 0 ? bits : -(long) (bits & Short.MAX_VALUE);
  }
}
