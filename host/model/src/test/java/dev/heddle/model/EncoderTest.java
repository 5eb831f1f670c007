package dev.heddle.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.heddle.core.Backend;
import dev.heddle.core.Device;
import dev.heddle.core.Planner;
import dev.heddle.core.Probe;
import dev.heddle.core.Session;
import dev.heddle.reference.ReferenceBackend;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class EncoderTest {
  private static SentenceTokenizer tokenizer;
  private static Session session;
  private static Encoder encoder;

  @BeforeAll
  static void load() {
    tokenizer = SentenceTokenizer.open();
    Backend backend = new ReferenceBackend();
    Device device = ((Probe.Available) backend.probe()).devices().getFirst();
    session = backend.open(device);
    encoder = new Encoder(MiniLm.load(), session, new Planner(backend, device));
  }

  @AfterAll
  static void close() {
    session.close();
    tokenizer.close();
  }

  /**
   * Similarities that HuggingFace's documentation of its inference API prints for this model,
   * computed there with PyTorch.
   */
  @ParameterizedTest
  @CsvSource({
    "That is a happy dog, 0.6945773363113403",
    "That is a very happy person, 0.9429150819778442",
    "Today is a sunny day, 0.2568760812282562",
  })
  void similaritiesAreThePublishedOnes(String text, double published) {
    double[] other = encoder.embedding(tokenizer.tokenize(text));
    double[] source = encoder.embedding(tokenizer.tokenize("That is a happy person"));
    double cosine = 0;
    for (int i = 0; i < source.length; i++) {
      cosine += source[i] * other[i];
    }
    // Runs of that service differ by 6e-8 among themselves.
    assertThat(cosine).isCloseTo(published, within(5e-7));
    assertThat(session.liveResources()).isZero();
  }

  @Test
  void hiddenStatesExistBeforeEveryLayerAndAfterTheLast() {
    Tokens tokens = tokenizer.tokenize("heddle");
    assertThat(encoder.hidden(tokens, MiniLm.LAYERS).shape().dims())
        .containsExactly(tokens.count(), MiniLm.HIDDEN);
    assertThatThrownBy(() -> encoder.hidden(tokens, 7))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("layer = 7; hidden states exist from 0 to 6");
    assertThatThrownBy(() -> encoder.attention(tokens, 6))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("layer = 6; the model has layers 0 to 5");
  }
}
