package dev.heddle.core.kernel;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An integer expression of a preprocessor conditional: {@code * / % + - < <= > >= == != && ||} and
 * parentheses over macros and numbers, with C's precedences.
 */
final class MacroExpression {
  private static final Pattern TOKEN = Pattern.compile("\\s*(\\w+|&&|\\|\\||[<>=!]=|[-+*/%<>()])");

  /** Operators by precedence, the loosest first; each level associates to the left. */
  private static final List<List<String>> LEVELS =
      List.of(
          List.of("||"),
          List.of("&&"),
          List.of("==", "!="),
          List.of("<", "<=", ">", ">="),
          List.of("+", "-"),
          List.of("*", "/", "%"));

  private final String text;
  private final Map<String, Integer> macros;
  private final List<String> tokens = new ArrayList<>();
  private int at;

  /**
   * An expression with values for its macros.
   *
   * @throws IllegalArgumentException when the text holds anything else
   */
  MacroExpression(String text, Map<String, Integer> macros) {
    this.text = text;
    this.macros = macros;
    Matcher token = TOKEN.matcher(text);
    int end = 0;
    while (token.find() && token.start() == end) {
      tokens.add(token.group(1));
      end = token.end();
    }
    if (!text.substring(end).isBlank()) {
      throw malformed();
    }
  }

  /** Whether the expression is not 0. */
  boolean isTrue() {
    at = 0;
    long value = binary(0);
    if (at < tokens.size()) {
      throw malformed();
    }
    return value != 0;
  }

  private long binary(int level) {
    if (level == LEVELS.size()) {
      return primary();
    }
    long left = binary(level + 1);
    while (at < tokens.size() && LEVELS.get(level).contains(tokens.get(at))) {
      String operator = tokens.get(at++);
      left = apply(operator, left, binary(level + 1));
    }
    return left;
  }

  private long primary() {
    if (at == tokens.size()) {
      throw malformed();
    }
    String token = tokens.get(at++);
    if (token.equals("(")) {
      long value = binary(0);
      if (at == tokens.size() || !tokens.get(at++).equals(")")) {
        throw malformed();
      }
      return value;
    }
    if (Character.isDigit(token.charAt(0))) {
      return Long.parseLong(token);
    }
    Integer value = macros.get(token);
    if (value == null) {
      throw malformed();
    }
    return value;
  }

  private static long apply(String operator, long left, long right) {
    return switch (operator) {
      case "*" -> left * right;
      case "/" -> left / right;
      case "%" -> left % right;
      case "+" -> left + right;
      case "-" -> left - right;
      case "<" -> left < right ? 1 : 0;
      case "<=" -> left <= right ? 1 : 0;
      case ">" -> left > right ? 1 : 0;
      case ">=" -> left >= right ? 1 : 0;
      case "==" -> left == right ? 1 : 0;
      case "!=" -> left != right ? 1 : 0;
      case "&&" -> left != 0 && right != 0 ? 1 : 0;
      default -> left != 0 || right != 0 ? 1 : 0;
    };
  }

  private IllegalArgumentException malformed() {
    return new IllegalArgumentException("can't evaluate '" + text + "' with " + macros);
  }
}
