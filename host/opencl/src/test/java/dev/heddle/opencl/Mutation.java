package dev.heddle.opencl;

import java.util.function.Function;

/**
 * A deliberate fault in a kernel's source.
 *
 * @param name what is wrong
 * @param file the file that holds it
 * @param original text that is there
 * @param replacement text that takes its place
 */
record Mutation(String name, String file, String original, String replacement) {

  /**
   * Kernel files with the fault in place.
   *
   * @throws AssertionError when the file has no such text, so that a fault can't quietly vanish
   */
  Function<String, String> files() {
    String text = OpenClBackend.RESOURCES.apply(file);
    String mutated = text.replace(original, replacement);
    if (mutated.equals(text)) {
      throw new AssertionError(file + " no longer holds: " + original);
    }
    return name -> name.equals(file) ? mutated : OpenClBackend.RESOURCES.apply(name);
  }

  @Override
  public String toString() {
    return file + ": " + name;
  }
}
