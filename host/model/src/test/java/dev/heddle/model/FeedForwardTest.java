package dev.heddle.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FeedForwardTest {

  /** Expected values by the C library's erfc. */
  @ParameterizedTest
  @CsvSource({
    "0, 0",
    "1, 0.8413447460685429",
    "-1, -0.15865525393145705",
    "2.5, 2.4844758366855597",
    "-5, -1.4332578593959731e-6",
    "-10, -7.619853024160593e-23",
    "40, 40",
  })
  void geluIsExactInTheTailsToo(double x, double expected) {
    assertThat(FeedForward.gelu(x)).isCloseTo(expected, within(2e-14 * Math.abs(expected)));
  }

  @Test
  void geluOfXAndOfMinusXDifferByX() {
    for (double x = -6; x <= 6; x += 0.37) {
      assertThat(FeedForward.gelu(x) - FeedForward.gelu(-x)).isCloseTo(x, within(1e-14));
    }
  }
}
