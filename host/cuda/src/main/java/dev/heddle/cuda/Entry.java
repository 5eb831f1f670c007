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

  private static List<Integer> compiledBytes(String kernel, String ptx) {
    Matcher entry = Pattern.compile("\\.entry\\s+" + kernel + "\\s*\\(([^)]*)\\)").matcher(ptx);
    if (!entry.find()) {
      throw new IllegalStateException("the PTX has no kernel " + kernel);
    }
    List<Integer> sizes = new ArrayList<>();
    Matcher param = PARAM.matcher(entry.group(1) + ")");
    while (param.find()) {
      Matcher length = LENGTH.matcher(param.group(2));
      int elements = length.find() ? Integer.parseInt(length.group(1)) : 1;
      sizes.add(Integer.parseInt(param.group(1)) / 8 * elements);
    }
    return sizes;
  }
}
