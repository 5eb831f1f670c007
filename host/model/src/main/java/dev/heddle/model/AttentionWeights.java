package dev.heddle.model;

import dev.heddle.core.Shape;

/**
 * The four projections of one self-attention layer, each {@code [HIDDEN, HIDDEN]}.
 *
 * @param query makes q from the hidden state
 * @param key makes k
 * @param value makes v
 * @param output brings the merged heads back
 */
public record AttentionWeights(
    Projection query, Projection key, Projection value, Projection output) {

  /**
   * Checks the shapes.
   *
   * @throws IllegalArgumentException when a projection is not {@code [HIDDEN, HIDDEN]}
   */
  public AttentionWeights {
    requireSquare("query", query);
    requireSquare("key", key);
    requireSquare("value", value);
    requireSquare("output", output);
  }

  private static void requireSquare(String role, Projection projection) {
    Shape shape = projection.weight().shape();
    if (!shape.equals(Shape.of(MiniLm.HIDDEN, MiniLm.HIDDEN))) {
      throw new IllegalArgumentException(
          role
              + " weight "
              + shape
              + "; it must be ["
              + MiniLm.HIDDEN
              + ", "
              + MiniLm.HIDDEN
              + "]");
    }
  }
}
