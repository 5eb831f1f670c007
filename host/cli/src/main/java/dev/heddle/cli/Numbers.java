package dev.heddle.cli;

import dev.heddle.core.AttentionShape;
import java.util.ArrayList;
import java.util.List;

/** Numbers as users write them. */
final class Numbers {
  private Numbers() {}

  /**
   * A 32-bit integer.
   *
   * @param where the option, for the message
   */
  static int integer(String where, String text) {
    try {
      return Integer.parseInt(text.strip());
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          where + ": '" + text + "' is not a whole number up to " + Integer.MAX_VALUE);
    }
  }

  /**
   * A 64-bit integer.
   *
   * @param where the option, for the message
   */
  static long whole(String where, String text) {
    try {
      return Long.parseLong(text.strip());
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(where + ": '" + text + "' is not a whole number");
    }
  }

  /** {@code b,hq,hkv,sq,sk,d,dv}. */
  static AttentionShape shape(String text) {
    String where = "--shape " + text;
    List<Integer> sizes = new ArrayList<>();
    for (String part : text.split(",", -1)) {
      sizes.add(integer(where, part));
    }
    if (sizes.size() != 7) {
      throw new IllegalArgumentException(
          where
              + ": "
              + sizes.size()
              + " sizes; seven are needed: batch, query heads, key-value heads, queries, keys, head"
              + " dim, value head dim");
    }
    return new AttentionShape(
        sizes.get(0),
        sizes.get(1),
        sizes.get(2),
        sizes.get(3),
        sizes.get(4),
        sizes.get(5),
        sizes.get(6));
  }
}
