package dev.heddle.core.kernel;

import dev.heddle.core.Refusal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a kernel file lets be chosen, and within which bounds. The file itself declares it:
 *
 * <pre>{@code
 * #ifndef BLOCK_M
 * #define BLOCK_M 64  // {16,32,64,128} query rows per work-group
 * #endif
 * #if BLOCK_M % THREADS_M != 0
 * #error "BLOCK_M must be a multiple of THREADS_M"
 * #endif
 * }</pre>
 *
 * so that the host and the compiler refuse the same values in the same words. Constraints may also
 * speak of macros that are no choice but given by the operation and the device, such as {@code
 * HEAD_DIM}: that is how a file declares what it can't do at all.
 *
 * @param declared tunables by name, in the file's order
 * @param constraints what their values must satisfy together
 */
public record Tunables(Map<String, Tunable> declared, List<Constraint> constraints) {

  /**
   * One tunable.
   *
   * @param name its macro
   * @param defaultValue its value where nothing is chosen
   * @param values values that may be chosen
   * @param meaning what it is, with its unit
   */
  public record Tunable(String name, int defaultValue, List<Integer> values, String meaning) {}

  /**
   * A combination that the kernel refuses.
   *
   * @param violation an expression over the macros that is true when the kernel refuses
   * @param sentence what is wrong then
   */
  public record Constraint(String violation, String sentence) {}

  private static final String TUNABLES = "tunables";
  private static final Pattern TUNABLE =
      Pattern.compile(
          "#ifndef (\\w+)\n#define (\\w+) (\\d+)\\s+// \\{([0-9,]+)\\} ([^\n]+)\n#endif");
  private static final Pattern CONSTRAINT =
      Pattern.compile("#if ((?:[^\\\\\n]|\\\\\n)+)\n#error \"([^\"]+)\"");
  private static final Pattern NAME = Pattern.compile("[A-Za-z_]\\w*");

  /** The limit that a constraint over a given macro declares; those over choices come first. */
  private static final Map<String, String> LIMITS =
      Map.of(
          "HEAD_DIM", "headDim",
          "HEAD_DIM_V", "headDim",
          "DTYPE", "dtype",
          "__CUDA_ARCH__", "computeCapability");

  /** Reads the declarations from a kernel's source. */
  public static Tunables of(KernelSource source) {
    Map<String, Tunable> declared = new LinkedHashMap<>();
    Matcher tunable = TUNABLE.matcher(source.text());
    while (tunable.find()) {
      if (!tunable.group(1).equals(tunable.group(2))) {
        throw new IllegalStateException(
            source.file() + " guards " + tunable.group(1) + " but defines " + tunable.group(2));
      }
      List<Integer> values =
          Arrays.stream(tunable.group(4).split(",")).map(Integer::valueOf).toList();
      declared.put(
          tunable.group(1),
          new Tunable(
              tunable.group(1), Integer.parseInt(tunable.group(3)), values, tunable.group(5)));
    }
    List<Constraint> constraints = new ArrayList<>();
    Matcher constraint = CONSTRAINT.matcher(source.text());
    while (constraint.find()) {
      String violation = constraint.group(1).replace("\\\n", " ");
      constraints.add(new Constraint(violation, constraint.group(2)));
    }
    return new Tunables(declared, List.copyOf(constraints));
  }

  /** Every tunable's value: the chosen ones, and the default of the others. */
  public SortedMap<String, Integer> complete(Map<String, Integer> chosen) {
    SortedMap<String, Integer> values = new TreeMap<>();
    declared.forEach((name, tunable) -> values.put(name, tunable.defaultValue));
    values.putAll(chosen);
    return values;
  }

  /**
   * Why a kernel can't be compiled with these values, or empty when it can.
   *
   * @param chosen values of tunables; those that are not named keep their default
   * @param given values of the macros that are no choice
   */
  public Optional<Refusal> refusal(Map<String, Integer> chosen, Map<String, Integer> given) {
    for (Map.Entry<String, Integer> entry : chosen.entrySet()) {
      Tunable tunable = declared.get(entry.getKey());
      if (tunable == null) {
        return Optional.of(
            new Refusal(
                TUNABLES,
                entry.getKey() + " is no tunable of this kernel; it has " + declared.keySet()));
      }
      if (!tunable.values.contains(entry.getValue())) {
        return Optional.of(
            new Refusal(
                TUNABLES,
                entry.getKey()
                    + " = "
                    + entry.getValue()
                    + "; it must be one of "
                    + tunable.values));
      }
    }
    Map<String, Integer> values = complete(chosen);
    values.putAll(given);
    return constraints.stream()
        .filter(constraint -> new MacroExpression(constraint.violation, values).isTrue())
        .map(constraint -> new Refusal(limit(constraint), constraint.sentence))
        .findFirst();
  }

  private String limit(Constraint constraint) {
    List<String> names =
        NAME.matcher(constraint.violation).results().map(MatchResult::group).toList();
    return names.stream().anyMatch(declared::containsKey)
        ? TUNABLES
        : names.stream()
            .flatMap(name -> Optional.ofNullable(LIMITS.get(name)).stream())
            .findFirst()
            .orElse(TUNABLES);
  }
}
