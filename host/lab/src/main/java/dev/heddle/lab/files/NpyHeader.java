package dev.heddle.lab.files;

import dev.heddle.core.Shape;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * The dictionary of an {@code .npy} header: a Python literal with exactly the keys {@code descr},
 * {@code fortran_order} and {@code shape}.
 *
 * @param descr element type in NumPy's notation, such as {@code <f4}; structured types as they are
 *     written
 * @param fortranOrder whether the first index runs fastest
 * @param shape dimensions as stated, unchecked
 */
record NpyHeader(String descr, boolean fortranOrder, List<BigInteger> shape) {
  private static final int LONGEST_NUMBER = 40;

  /** NumPy leaves room to rewrite the first dimension in place with as many digits. */
  private static final int GROWTH_DIGITS = 21;

  /**
   * Reads a dictionary.
   *
   * @throws IllegalArgumentException with what is wrong and where
   */
  static NpyHeader parse(String text) {
    return new Parser(text).dictionary();
  }

  /** The dictionary of a C-order array, as NumPy writes it, without the padding after it. */
  static String format(String descr, Shape shape) {
    String dims = shape.dims().stream().map(String::valueOf).collect(Collectors.joining(", "));
    String tuple = shape.rank() == 1 ? "(" + dims + ",)" : "(" + dims + ")";
    int growth = GROWTH_DIGITS - Integer.toString(shape.dim(0)).length();
    return "{'descr': '"
        + descr
        + "', 'fortran_order': False, 'shape': "
        + tuple
        + ", }"
        + " ".repeat(growth);
  }

  private static final class Parser {
    private final String text;
    private int at;

    Parser(String text) {
      this.text = text;
    }

    NpyHeader dictionary() {
      String descr = "";
      boolean fortranOrder = false;
      List<BigInteger> shape = List.of();
      Set<String> keys = new HashSet<>();
      expect('{');
      while (!skipped('}')) {
        String key = string();
        expect(':');
        switch (key) {
          case "descr" -> descr = peek() == '[' ? brackets() : string();
          case "fortran_order" -> fortranOrder = bool();
          case "shape" -> shape = tuple();
          default -> throw wrong("has an unknown key '" + TensorFileException.quote(key) + "'");
        }
        if (!keys.add(key)) {
          throw wrong("has the key '" + key + "' twice");
        }
        if (!skipped(',')) {
          expect('}');
          break;
        }
      }
      if (peek() != '\0') {
        throw wrong("goes on after its closing brace");
      }
      for (String key : List.of("descr", "fortran_order", "shape")) {
        if (!keys.contains(key)) {
          throw wrong("has no key '" + key + "'");
        }
      }
      return new NpyHeader(descr, fortranOrder, shape);
    }

    private String string() {
      char quote = peek();
      int end = quote == '\'' || quote == '"' ? text.indexOf(quote, at + 1) : -1;
      if (end < 0) {
        throw wrong("needs a quoted string");
      }
      String string = text.substring(at + 1, end);
      at = end + 1;
      return string;
    }

    /** What a structured type looks like; only to be shown, so brackets in names don't matter. */
    private String brackets() {
      int from = at;
      int depth = 0;
      do {
        char c = peek();
        if (c == '\0') {
          throw wrong("has an open bracket");
        }
        depth += c == '[' ? 1 : c == ']' ? -1 : 0;
        at++;
      } while (depth > 0);
      return text.substring(from, at);
    }

    private boolean bool() {
      peek();
      for (String word : List.of("False", "True")) {
        if (text.startsWith(word, at)) {
          at += word.length();
          return word.equals("True");
        }
      }
      throw wrong("needs True or False");
    }

    private List<BigInteger> tuple() {
      List<BigInteger> dims = new ArrayList<>();
      expect('(');
      while (!skipped(')')) {
        dims.add(number());
        if (!skipped(',')) {
          expect(')');
          break;
        }
      }
      return dims;
    }

    private BigInteger number() {
      int from = peek() == '-' ? at + 1 : at;
      int to = from;
      while (to < text.length() && text.charAt(to) >= '0' && text.charAt(to) <= '9') {
        to++;
      }
      if (to == from) {
        throw wrong("needs a whole number");
      }
      if (to - from > LONGEST_NUMBER) {
        throw wrong("has a number of " + (to - from) + " digits");
      }
      BigInteger number = new BigInteger(text.substring(at, to));
      // Python 2 wrote long integers with a suffix.
      at = to < text.length() && text.charAt(to) == 'L' ? to + 1 : to;
      return number;
    }

    private void expect(char c) {
      if (!skipped(c)) {
        throw wrong("needs '" + c + "'");
      }
    }

    private boolean skipped(char c) {
      if (peek() != c) {
        return false;
      }
      at++;
      return true;
    }

    /** The next character that is not white space, or NUL at the end. */
    private char peek() {
      while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
        at++;
      }
      return at < text.length() ? text.charAt(at) : '\0';
    }

    private IllegalArgumentException wrong(String problem) {
      return new IllegalArgumentException(problem + " (character " + at + ")");
    }
  }
}
