package dev.heddle.vector;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/** The vector width of this machine, and the register tile that follows from it. */
final class Lanes {
  /** The widest species that the JVM uses here: 16 lanes with AVX-512, 8 with AVX2, 4 with NEON. */
  static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;

  /** fp32 elements of one vector. */
  static final int LANES = SPECIES.length();

  /** Rows of the micro-kernel's register tile, and of a strip. */
  static final int STRIP = 4;

  /**
   * Vectors side by side in a narrow register tile. 4 x 2 accumulators are just enough to hide an
   * FMA latency of 4 cycles on two pipes, and with 2 operands and a broadcast leave 5 of 16
   * registers free.
   */
  static final int NARROW_VECTORS = 2;

  /**
   * Vectors side by side in the widest register tile: 4 where there are 32 vector registers (16
   * accumulators, 4 operands, 1 broadcast), else {@link #NARROW_VECTORS}.
   */
  static final int PANEL_VECTORS = hasManyRegisters() ? 4 : NARROW_VECTORS;

  /** Columns of the widest register tile, and the length of a panel's rows. */
  static final int PANEL = PANEL_VECTORS * LANES;

  /** Columns of a narrow register tile: all that a less than half full panel needs computed. */
  static final int NARROW = NARROW_VECTORS * LANES;

  private Lanes() {}

  /** How many columns of a panel to compute when {@code columns} are wanted. */
  static int tileWidth(int columns) {
    return columns <= NARROW ? NARROW : PANEL;
  }

  /** {@code LANES} consecutive elements. */
  static FloatVector load(float[] array, int offset) {
    return FloatVector.fromArray(SPECIES, array, offset);
  }

  /** One value in every lane. */
  static FloatVector broadcast(float value) {
    return FloatVector.broadcast(SPECIES, value);
  }

  /** {@code n} rounded up to a multiple of {@code step}. */
  static int roundUp(int n, int step) {
    return Math.ceilDiv(n, step) * step;
  }

  /** x86 has 16 vector registers up to AVX2 and 32 with AVX-512; the other 64-bit JVM ports 32. */
  private static boolean hasManyRegisters() {
    String architecture = System.getProperty("os.arch", "");
    boolean x86 = architecture.equals("amd64") || architecture.equals("x86_64");
    return !x86 || LANES == 16;
  }
}
