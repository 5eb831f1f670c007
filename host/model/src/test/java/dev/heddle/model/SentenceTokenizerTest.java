package dev.heddle.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SentenceTokenizerTest {
  private static SentenceTokenizer tokenizer;

  @BeforeAll
  static void open() {
    tokenizer = SentenceTokenizer.open();
  }

  @AfterAll
  static void close() {
    tokenizer.close();
  }

  @Test
  void splitsIntoTheVocabularysWordPieces() {
    Tokens tokens = tokenizer.tokenize("Hello, world! A heddle.");
    assertThat(tokens.pieces())
        .containsExactly("[CLS]", "hello", ",", "world", "!", "a", "he", "##ddle", ".", "[SEP]");
    // 101, 7592, 1010, 2088, 999 and 102 are what BERT's own documentation gives for these pieces.
    assertThat(tokens.ids())
        .containsExactly(101, 7592, 1010, 2088, 999, 1037, 2002, 20338, 1012, 102);
    assertThat(tokens.truncationNote()).isEmpty();
  }

  @Test
  void stripsAccentsAndTakesAnyScript() {
    assertThat(tokenizer.tokenize("Na\u00efve CAF\u00c9").pieces())
        .containsExactly("[CLS]", "naive", "cafe", "[SEP]");
    // One piece per ideograph; an emoji, which UTF-16 stores as a pair, is one unknown piece.
    assertThat(tokenizer.tokenize("\u6771\u4eac \ud83d\ude00").pieces())
        .containsExactly("[CLS]", "\u6771", "\u4eac", "[UNK]", "[SEP]");
  }

  @Test
  void neitherPadsNorCutsWhatTheModelCanTake() {
    // The tokenizer's file asks for padding and cutting to 128.
    Tokens tokens = tokenizer.tokenize("a ".repeat(MiniLm.MAX_TOKENS - 2));
    assertThat(tokens.count()).isEqualTo(MiniLm.MAX_TOKENS);
    assertThat(tokens.truncationNote()).isEmpty();
  }

  @Test
  void cutsWhatTheModelCannotTakeAndSaysSo() {
    Tokens tokens = tokenizer.tokenize("a ".repeat(MiniLm.MAX_TOKENS - 3) + "b c d e");
    assertThat(tokens.count()).isEqualTo(MiniLm.MAX_TOKENS);
    assertThat(tokens.pieces().getLast()).isEqualTo("[SEP]");
    assertThat(tokens.pieces().get(MiniLm.MAX_TOKENS - 2)).isEqualTo("b");
    assertThat(tokens.truncationNote())
        .contains("the text has 515 tokens; the model takes 512, so the last 3 are left out");
  }

  @ParameterizedTest
  @ValueSource(strings = {" ", "\n\t ", "\u0000"})
  void refusesTextWithoutTokens(String text) {
    assertThatThrownBy(() -> tokenizer.tokenize(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("the text holds nothing but white space and control characters");
  }

  @Test
  void refusesEmptyText() {
    assertThatThrownBy(() -> tokenizer.tokenize(""))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("the text is empty");
  }
}
