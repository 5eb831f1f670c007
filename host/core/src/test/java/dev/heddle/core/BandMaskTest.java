package dev.heddle.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.BandMask.Alignment;
import org.junit.jupiter.api.Test;

class BandMaskTest {
  private static final int[] SIDES = {
    0, 1, 2, 3, 7, 1 << 29, 1 << 30, Integer.MAX_VALUE - 1, BandMask.UNBOUNDED
  };

  /**
   * The inequality in arithmetic too wide to overflow; an unbounded side is no condition at all.
   */
  private static boolean visible(BandMask mask, long offset, long i, long j) {
    boolean afterLeft = mask.left() == BandMask.UNBOUNDED || i + offset - mask.left() <= j;
    boolean beforeRight = mask.right() == BandMask.UNBOUNDED || j <= i + offset + mask.right();
    return afterLeft && beforeRight;
  }

  private static long offset(Alignment alignment, int seqlenQ, int seqlenK) {
    return alignment == Alignment.TOP_LEFT ? 0 : (long) seqlenK - seqlenQ;
  }

  private static AttentionShape sequences(int seqlenQ, int seqlenK) {
    return new AttentionShape(1, 1, 1, seqlenQ, seqlenK, 1, 1);
  }

  private interface Check {
    void of(BandMask mask, AttentionShape shape);
  }

  private static void everywhere(Check check) {
    for (int seqlenQ = 1; seqlenQ <= 9; seqlenQ++) {
      for (int seqlenK = 1; seqlenK <= 9; seqlenK++) {
        for (int left : SIDES) {
          for (int right : SIDES) {
            for (Alignment alignment : Alignment.values()) {
              check.of(new BandMask(left, right, alignment), sequences(seqlenQ, seqlenK));
            }
          }
        }
      }
    }
  }

  @Test
  void keyRangesAreTheInequality() {
    everywhere((mask, shape) -> {
      long offset = offset(mask.alignment(), shape.seqlenQ(), shape.seqlenK());
      long pairs = 0;
      for (int i = 0; i < shape.seqlenQ(); i++) {
        int count = 0;
        for (int j = 0; j < shape.seqlenK(); j++) {
          boolean inRange = mask.firstKey(i, shape) <= j && j < mask.endKey(i, shape);
          if (inRange != visible(mask, offset, i, j)) {
            throw new AssertionError(mask + " of " + shape + " at " + i + ", " + j);
          }
          count += inRange ? 1 : 0;
        }
        assertThat(mask.firstKey(i, shape)).isBetween(0, shape.seqlenK());
        assertThat(mask.endKey(i, shape)).isBetween(0, shape.seqlenK());
        assertThat(mask.visibleKeys(i, shape)).isEqualTo(count);
        pairs += count;
      }
      assertThat(mask.visiblePairs(shape)).isEqualTo(pairs);
    });
  }

  @Test
  void clampedSidesShowTheSameKeysWithoutOverflow() {
    everywhere((mask, shape) -> {
      int offset = mask.offset(shape);
      for (int i = 0; i < shape.seqlenQ(); i++) {
        int from = Math.subtractExact(i + offset, mask.clampedLeft(shape));
        int to = Math.addExact(i + offset, mask.clampedRight(shape));
        for (int j = 0; j < shape.seqlenK(); j++) {
          if ((from <= j && j <= to) != visible(mask, offset, i, j)) {
            throw new AssertionError(mask + " of " + shape + " at " + i + ", " + j);
          }
        }
      }
    });
  }

  @Test
  void theLongestSequencesDoNotOverflow() {
    int most = AttentionShape.MAX_SEQLEN;
    for (int[] size : new int[][] {{most, most}, {most, 1}, {1, most}}) {
      AttentionShape shape = sequences(size[0], size[1]);
      for (int left : SIDES) {
        for (int right : SIDES) {
          for (Alignment alignment : Alignment.values()) {
            BandMask mask = new BandMask(left, right, alignment);
            long offset = offset(alignment, size[0], size[1]);
            for (int i : new int[] {0, size[0] / 2, size[0] - 1}) {
              Math.subtractExact(Math.addExact(i, mask.offset(shape)), mask.clampedLeft(shape));
              Math.addExact(Math.addExact(i, mask.offset(shape)), mask.clampedRight(shape));
              int first = mask.firstKey(i, shape);
              int end = mask.endKey(i, shape);
              for (int j : new int[] {0, first - 1, first, end - 1, end, size[1] - 1}) {
                if (j >= 0 && j < size[1]) {
                  assertThat(first <= j && j < end)
                      .as("%s of %s at %d, %d", mask, shape, i, j)
                      .isEqualTo(visible(mask, offset, i, j));
                }
              }
            }
          }
        }
      }
    }
    assertThat(BandMask.NONE.visiblePairs(sequences(most, most))).isEqualTo(1L << 58);
  }

  @Test
  void pairsCountedByHand() {
    AttentionShape wide = sequences(3, 5);
    AttentionShape tall = sequences(5, 3);
    assertThat(BandMask.causal(Alignment.TOP_LEFT).visiblePairs(wide)).isEqualTo(1 + 2 + 3);
    assertThat(BandMask.causal(Alignment.BOTTOM_RIGHT).visiblePairs(wide)).isEqualTo(3 + 4 + 5);
    assertThat(BandMask.causal(Alignment.TOP_LEFT).visiblePairs(tall)).isEqualTo(1 + 2 + 3 + 3 + 3);
    assertThat(BandMask.causal(Alignment.BOTTOM_RIGHT).visiblePairs(tall)).isEqualTo(1 + 2 + 3);
    assertThat(new BandMask(1, 1, Alignment.TOP_LEFT).visiblePairs(wide)).isEqualTo(2 + 3 + 3);
    assertThat(BandMask.NONE.visiblePairs(wide)).isEqualTo(15);
  }

  @Test
  void namesAsUsersWriteThem() {
    assertThat(BandMask.NONE).hasToString("none");
    assertThat(new BandMask(BandMask.UNBOUNDED, BandMask.UNBOUNDED, Alignment.BOTTOM_RIGHT))
        .hasToString("none");
    assertThat(BandMask.causal(Alignment.BOTTOM_RIGHT)).hasToString("causal bottom-right");
    assertThat(new BandMask(128, 0, Alignment.TOP_LEFT)).hasToString("window 128,0 top-left");
    assertThat(new BandMask(3, BandMask.UNBOUNDED, Alignment.TOP_LEFT))
        .hasToString("window 3,unbounded top-left");
  }

  @Test
  void aNegativeSideIsRefused() {
    assertThatThrownBy(() -> new BandMask(-1, 0, Alignment.TOP_LEFT))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("window -1,0; a side is 0 or more, or unbounded");
    assertThatThrownBy(() -> new BandMask(0, Integer.MIN_VALUE, Alignment.TOP_LEFT))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
