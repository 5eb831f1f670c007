package dev.heddle.cuda;

import dev.heddle.core.kernel.ArgumentStruct;
import dev.heddle.core.kernel.KernelSource;
import dev.heddle.core.kernel.Signature;
import dev.heddle.core.kernel.Signature.Parameter;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A kernel's parameters, from both ends: names and types from the .cu file, sizes from the PTX that
 * was made of it. PTX has no names left, so the two have to agree in number and sizes.
 */
final class Entry {
  private static final Pattern COMMENT = Pattern.compile("//[^\n]*|/\\*.*?\\*/", Pattern.DOTALL);
  private static final Pattern QUALIFIER =
      Pattern.compile("\\b(?:const|volatile|__restrict__|__grid_constant__)\\b");
  private static final Pattern DECLARATION = Pattern.compile("(\\w+)\\s*(\\*?)\\s*(\\w+)");
  private static final Pattern PARAM =
      Pattern.compile("\\.param\\s+(?:\\.align\\s+\\d+\\s+)?\\.[a-z](\\d+)\\s([^,)]*)");
  private static final Pattern LENGTH = Pattern.compile("\\[(\\d+)\\]");
  private static final Pattern BOUND =
      Pattern.compile("\\.maxntid\\s+(\\d+)(?:\\s*,\\s*(\\d+))?(?:\\s*,\\s*(\\d+))?");
  private static final int POINTER_BYTES = 8;

  private Entry() {}

  /**
   * The signature of a kernel.
   *
   * @throws IllegalStateException when the file has no such kernel, or the PTX another one
   */
  static Signature signature(KernelSource source, String kernel, String ptx) {
    Signature signature = new Signature(kernel, parameters(source, kernel));
    List<Integer> sizes =
        signature.parameters().stream().map(parameter -> bytes(source, kernel, parameter)).toList();
    List<Integer> compiled = compiledBytes(kernel, ptx);
    if (!sizes.equals(compiled)) {
      throw new IllegalStateException(
          "%s has parameters of %s bytes in %s (%s) but of %s bytes in its PTX"
              .formatted(kernel, sizes, source.file(), signature.parameters(), compiled));
    }
    return signature;
  }

  /**
   * Checks a block against the number of threads that the kernel was compiled for, its {@code
   * __launch_bounds__}. A kernel that asks for its block's size takes smaller blocks too; in any
   * other a block of fewer threads would run, and leave out a part of the work.
   *
   * @param block threads along each axis
   * @throws IllegalStateException when the numbers do not go together, or the PTX states none
   */
  static void requireBlock(String kernel, List<Integer> block, String ptx) {
    Matcher entry = entry(kernel, ptx);
    Matcher bound = BOUND.matcher(entry.group(2));
    if (!bound.find()) {
      throw new IllegalStateException(
          "the PTX of " + kernel + " has no .maxntid: its source lacks __launch_bounds__");
    }
    long compiled = 1;
    for (int axis = 1; axis <= bound.groupCount(); axis++) {
      compiled *= bound.group(axis) == null ? 1 : Integer.parseInt(bound.group(axis));
    }
    long launched = block.stream().mapToLong(Integer::longValue).reduce(1, Math::multiplyExact);
    boolean anySize = entry.group(3).contains("%ntid");
    if (launched > compiled || (launched < compiled && !anySize)) {
      throw new IllegalStateException(
          "the host launches %s in blocks of %s, %d threads, but it is compiled for %s%d"
              .formatted(kernel, block, launched, anySize ? "at most " : "", compiled));
    }
  }

  private static List<Parameter> parameters(KernelSource source, String kernel) {
    String text = COMMENT.matcher(source.text()).replaceAll("");
    Matcher definition =
        Pattern.compile("__global__\\s+void\\b[^;{}]*?\\b" + kernel + "\\s*\\(([^()]*)\\)\\s*\\{")
            .matcher(text);
    if (!definition.find()) {
      throw new IllegalStateException(source.file() + " has no kernel " + kernel);
    }
    List<Parameter> parameters = new ArrayList<>();
    for (String declared : definition.group(1).split(",")) {
      Matcher declaration =
          DECLARATION.matcher(QUALIFIER.matcher(declared).replaceAll(" ").strip());
      if (!declaration.matches()) {
        throw new IllegalStateException(
            kernel + " has a parameter that the host can't read: " + declared.strip());
      }
      parameters.add(
          new Parameter(
              declaration.group(3), declaration.group(1), !declaration.group(2).isEmpty()));
    }
    return parameters;
  }

  private static int bytes(KernelSource source, String kernel, Parameter parameter) {
    return parameter.pointer()
        ? POINTER_BYTES
        : ArgumentStruct.find(parameter.type(), source)
            .map(ArgumentStruct::bytes)
            .orElseThrow(() ->
                new IllegalStateException(
                    "%s has a parameter '%s', but no header declares a struct of that name"
                        .formatted(kernel, parameter)));
  }

  /** A kernel: its parameters, the directives between them and its body, and its body. */
  private static Matcher entry(String kernel, String ptx) {
    Matcher entry =
        Pattern.compile(
                "\\.entry\\s+" + kernel + "\\s*\\(([^)]*)\\)([^{]*)(.*?)(?=\\.entry\\s|\\z)",
                Pattern.DOTALL)
            .matcher(ptx);
    if (!entry.find()) {
      throw new IllegalStateException("the PTX has no kernel " + kernel);
    }
    return entry;
  }

  private static List<Integer> compiledBytes(String kernel, String ptx) {
    List<Integer> sizes = new ArrayList<>();
    Matcher param = PARAM.matcher(entry(kernel, ptx).group(1) + ")");
    while (param.find()) {
      Matcher length = LENGTH.matcher(param.group(2));
      int elements = length.find() ? Integer.parseInt(length.group(1)) : 1;
      sizes.add(Integer.parseInt(param.group(1)) / 8 * elements);
    }
    return sizes;
  }
}
