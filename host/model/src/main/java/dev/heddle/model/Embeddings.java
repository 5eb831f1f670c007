package dev.heddle.model;

import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;

/**
 * The tables that turn tokens into the first hidden state.
 *
 * @param word one row for each entry of the vocabulary
 * @param position one row for each position
 * @param tokenType one row for each text of a pair; a single text uses row 0
 * @param norm normalises the sum
 */
record Embeddings(HostTensor word, HostTensor position, HostTensor tokenType, LayerNorm norm) {

  /** The hidden state {@code [SEQLEN, HIDDEN]} that enters layer 0. */
  HostTensor of(Tokens tokens) {
    Shape shape = Shape.of(tokens.count(), MiniLm.HIDDEN);
    double[] sum = new double[(int) shape.elements()];
    for (int i = 0; i < sum.length; i++) {
      int row = i / MiniLm.HIDDEN;
      int column = i % MiniLm.HIDDEN;
      sum[i] =
          (double) word.get(tokens.ids().get(row) * MiniLm.HIDDEN + column)
              + tokenType.get(column)
              + position.get(i);
    }
    return norm.of(sum, shape);
  }
}
