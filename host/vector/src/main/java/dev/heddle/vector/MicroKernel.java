package dev.heddle.vector;

import static dev.heddle.vector.Lanes.LANES;
import static dev.heddle.vector.Lanes.PANEL;
import static dev.heddle.vector.Lanes.PANEL_VECTORS;
import static dev.heddle.vector.Lanes.STRIP;
import static dev.heddle.vector.Lanes.broadcast;
import static dev.heddle.vector.Lanes.load;

import jdk.incubator.vector.FloatVector;

/**
 * The product of a strip and a panel, held in registers: {@code C[r, c] = sum over k of A[k, r] *
 * B[k, c]}.
 *
 * <pre>
 *              panel: B [depth][PANEL]
 *            +----+----+----+----+
 *            | b0 | b1 | b2 | b3 |  row k       4 vector loads
 *            +----+----+----+----+
 *   +--+     +----+----+----+----+
 *   |a0| --> | c00  c01  c02  c03|
 *   |a1| --> | c10  c11  c12  c13|              4 broadcasts, 16 FMAs
 *   |a2| --> | c20  c21  c22  c23|
 *   |a3| --> | c30  c31  c32  c33|
 *   +--+     +----+----+----+----+
 *   strip: A [depth][4]
 * </pre>
 *
 * <p>Both operands are read strictly forward, and every index is a constant times {@code k} plus an
 * invariant: then C2 moves all bounds checks out of the loop. A row-major strip, whose four values
 * of one {@code k} lie a row apart, costs four checks per {@code k} and a tenth of the speed.
 *
 * <p>The tiles are unrolled by hand because C2 keeps vectors in registers only while they are local
 * variables; an array of accumulators would be boxed. For the same reason the accumulators start at
 * zero and are stored, never started from memory or added to it here: C2 then boxes them once per
 * call (its graph passes the 18,000 nodes after which C2 stops inlining). Who needs a running sum
 * adds the stored tile in a loop of its own.
 */
final class MicroKernel {

  private MicroKernel() {}

  /**
   * Multiplies a strip by a panel and overwrites a tile of C.
   *
   * @param a holds the strip, {@code [depth][STRIP]}, from {@code aOffset}
   * @param b holds the panel, {@code [depth][PANEL]}, from {@code bOffset}
   * @param width columns to compute: {@link Lanes#PANEL} or {@link Lanes#NARROW}
   * @param c receives {@code STRIP} rows of {@code width} elements, the first at {@code cOffset},
   *     each {@code cStride} after the one before
   */
  static void multiply(
      float[] a,
      int aOffset,
      float[] b,
      int bOffset,
      int width,
      int depth,
      float[] c,
      int cOffset,
      int cStride) {
    if (PANEL_VECTORS == 4 && width == PANEL) {
      wide(a, aOffset, b, bOffset, depth, c, cOffset, cStride);
    } else {
      narrow(a, aOffset, b, bOffset, depth, c, cOffset, cStride);
    }
  }

  private static void wide(
      float[] a,
      int aOffset,
      float[] b,
      int bOffset,
      int depth,
      float[] c,
      int cOffset,
      int cStride) {
    FloatVector zero = broadcast(0);
    FloatVector c00 = zero;
    FloatVector c01 = zero;
    FloatVector c02 = zero;
    FloatVector c03 = zero;
    FloatVector c10 = zero;
    FloatVector c11 = zero;
    FloatVector c12 = zero;
    FloatVector c13 = zero;
    FloatVector c20 = zero;
    FloatVector c21 = zero;
    FloatVector c22 = zero;
    FloatVector c23 = zero;
    FloatVector c30 = zero;
    FloatVector c31 = zero;
    FloatVector c32 = zero;
    FloatVector c33 = zero;
    for (int k = 0; k < depth; k++) {
      int row = bOffset + k * PANEL;
      FloatVector b0 = load(b, row);
      FloatVector b1 = load(b, row + LANES);
      FloatVector b2 = load(b, row + 2 * LANES);
      FloatVector b3 = load(b, row + 3 * LANES);
      int column = aOffset + k * STRIP;
      FloatVector ak = broadcast(a[column]);
      c00 = ak.fma(b0, c00);
      c01 = ak.fma(b1, c01);
      c02 = ak.fma(b2, c02);
      c03 = ak.fma(b3, c03);
      ak = broadcast(a[column + 1]);
      c10 = ak.fma(b0, c10);
      c11 = ak.fma(b1, c11);
      c12 = ak.fma(b2, c12);
      c13 = ak.fma(b3, c13);
      ak = broadcast(a[column + 2]);
      c20 = ak.fma(b0, c20);
      c21 = ak.fma(b1, c21);
      c22 = ak.fma(b2, c22);
      c23 = ak.fma(b3, c23);
      ak = broadcast(a[column + 3]);
      c30 = ak.fma(b0, c30);
      c31 = ak.fma(b1, c31);
      c32 = ak.fma(b2, c32);
      c33 = ak.fma(b3, c33);
    }
    int row = cOffset;
    c00.intoArray(c, row);
    c01.intoArray(c, row + LANES);
    c02.intoArray(c, row + 2 * LANES);
    c03.intoArray(c, row + 3 * LANES);
    row += cStride;
    c10.intoArray(c, row);
    c11.intoArray(c, row + LANES);
    c12.intoArray(c, row + 2 * LANES);
    c13.intoArray(c, row + 3 * LANES);
    row += cStride;
    c20.intoArray(c, row);
    c21.intoArray(c, row + LANES);
    c22.intoArray(c, row + 2 * LANES);
    c23.intoArray(c, row + 3 * LANES);
    row += cStride;
    c30.intoArray(c, row);
    c31.intoArray(c, row + LANES);
    c32.intoArray(c, row + 2 * LANES);
    c33.intoArray(c, row + 3 * LANES);
  }

  private static void narrow(
      float[] a,
      int aOffset,
      float[] b,
      int bOffset,
      int depth,
      float[] c,
      int cOffset,
      int cStride) {
    FloatVector zero = broadcast(0);
    FloatVector c00 = zero;
    FloatVector c01 = zero;
    FloatVector c10 = zero;
    FloatVector c11 = zero;
    FloatVector c20 = zero;
    FloatVector c21 = zero;
    FloatVector c30 = zero;
    FloatVector c31 = zero;
    for (int k = 0; k < depth; k++) {
      int row = bOffset + k * PANEL;
      FloatVector b0 = load(b, row);
      FloatVector b1 = load(b, row + LANES);
      int column = aOffset + k * STRIP;
      FloatVector ak = broadcast(a[column]);
      c00 = ak.fma(b0, c00);
      c01 = ak.fma(b1, c01);
      ak = broadcast(a[column + 1]);
      c10 = ak.fma(b0, c10);
      c11 = ak.fma(b1, c11);
      ak = broadcast(a[column + 2]);
      c20 = ak.fma(b0, c20);
      c21 = ak.fma(b1, c21);
      ak = broadcast(a[column + 3]);
      c30 = ak.fma(b0, c30);
      c31 = ak.fma(b1, c31);
    }
    int row = cOffset;
    c00.intoArray(c, row);
    c01.intoArray(c, row + LANES);
    row += cStride;
    c10.intoArray(c, row);
    c11.intoArray(c, row + LANES);
    row += cStride;
    c20.intoArray(c, row);
    c21.intoArray(c, row + LANES);
    row += cStride;
    c30.intoArray(c, row);
    c31.intoArray(c, row + LANES);
  }
}
