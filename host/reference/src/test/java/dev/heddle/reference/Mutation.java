package dev.heddle.reference;

import java.util.function.Function;

/**
 * A deliberate fault in a kernel's source.
 *
 * @param name what is wrong
 * @param file the file that holds it
 * @param original text that is there
 * @param replacement text that takes its place
 */
public record Mutation(String name, String file, String original, String replacement) {

  /**
   * Kernel files with the fault in place.
   *
   * @param texts text of a kernel file or header by its name
   * @throws AssertionError when the file has no such text, so that a fault can't quietly vanish
   */
  public Function<String, String> files(Function<String, String> texts) {
    String text = texts.apply(file);
    String mutated = text.replace(original, replacement);
    if (mutated.equals(text)) {
      throw new AssertionError(file + " no longer holds: " + original);
    }
    return name -> name.equals(file) ? mutated : texts.apply(name);
  }

  @Override
  public String toString() {
    return file + ": " + name;
  }
}
