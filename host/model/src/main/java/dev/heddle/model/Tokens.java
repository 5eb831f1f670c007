package dev.heddle.model;

import java.util.List;
import java.util.Optional;

/**
 * A tokenised text, with the model's start and end markers ({@code [CLS]}, {@code [SEP]}).
 *
 * @param ids vocabulary indices, at most {@link MiniLm#MAX_TOKENS}
 * @param pieces the text of each token
 * @param available how many tokens the whole text has; more than {@code ids} when it was cut
 */
public record Tokens(List<Integer> ids, List<String> pieces, int available) {

  /**
   * Checks and freezes the lists.
   *
   * @throws IllegalArgumentException when there is no token, there are more than {@link
   *     MiniLm#MAX_TOKENS}, an id is outside the vocabulary, or the lists disagree in length
   */
  public Tokens {
    ids = List.copyOf(ids);
    pieces = List.copyOf(pieces);
    if (ids.isEmpty() || ids.size() > MiniLm.MAX_TOKENS) {
      throw new IllegalArgumentException(
          ids.size() + " tokens; the model takes 1 to " + MiniLm.MAX_TOKENS);
    }
    if (pieces.size() != ids.size() || available < ids.size()) {
      throw new IllegalArgumentException(
          ids.size() + " ids, " + pieces.size() + " pieces, " + available + " available");
    }
    for (int id : ids) {
      if (id < 0 || id >= MiniLm.VOCABULARY) {
        throw new IllegalArgumentException(
            "token id " + id + "; the vocabulary has " + MiniLm.VOCABULARY + " entries");
      }
    }
  }

  /** Number of tokens: the sequence length that attention sees. */
  public int count() {
    return ids.size();
  }

  /** One line for the user when the text was longer than the model can take, else nothing. */
  public Optional<String> truncationNote() {
    return available == ids.size()
        ? Optional.empty()
        : Optional.of(
            "the text has %d tokens; the model takes %d, so the last %d are left out"
                .formatted(available, MiniLm.MAX_TOKENS, available - ids.size()));
  }
}
