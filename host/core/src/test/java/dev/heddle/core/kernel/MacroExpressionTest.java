package dev.heddle.core.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Expressions mean what the C preprocessor makes of them. */
class MacroExpressionTest {
  private static final Map<String, Integer> MACROS = Map.of("A", 12, "B", 5, "ZERO", 0);

  @ParameterizedTest
  @CsvSource({
    "A % B != 2, false",
    "A % (B - 1) == 0, true",
    "A - B - 3 == 4, true",
    "A / B * B == 10, true",
    "1 + 2 * 3 == 7, true",
    "ZERO || A > B && B < 4, false",
    "(ZERO || A > B) && B <= 5, true",
    "A > B == 1, true",
    "A >= 13, false",
    "ZERO, false",
    "A, true"
  })
  void precedences(String text, boolean value) {
    assertThat(new MacroExpression(text, MACROS).isTrue()).isEqualTo(value);
  }

  @ParameterizedTest
  @ValueSource(strings = {"A %", "(A", "A)", "A B", "C == 1", "A ? 1", "defined(A)", ""})
  void anythingElseIsAnError(String text) {
    assertThatThrownBy(() -> new MacroExpression(text, MACROS).isTrue())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("can't evaluate '" + text + "'");
  }
}
