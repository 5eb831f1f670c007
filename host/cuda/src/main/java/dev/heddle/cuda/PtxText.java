package dev.heddle.cuda;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Makes PTX of any compiler fit for drivers older than it, and free of the machine that made it.
 *
 * <p>A compiler stamps its output with its own PTX version, which older drivers refuse although
 * they know every instruction in it. The version that the text is given here is the lowest one that
 * has the target architecture. Line information is kept in the form that this version knows:
 * without the names of inlined functions (PTX 7.2), and with bare file names.
 */
final class PtxText {
  private static final Pattern VERSION = Pattern.compile("(?m)^\\.version\\s+(\\d+)\\.(\\d+)$");
  private static final Pattern TARGET = Pattern.compile("(?m)^\\.target\\s+sm_(\\d+)");
  private static final Pattern FILE =
      Pattern.compile("(?m)^[ \t]*\\.file[ \t]+(\\d+)\\s+\"([^\"]*)\"[^\n]*\n?");
  private static final Pattern LOCATION =
      Pattern.compile(
          "(?m)^([ \t]*\\.loc[ \t]+)(\\d+) (\\d+) (\\d+)"
              + "(?:, function_name [^,\n]+, inlined_at (\\d+) (\\d+) (\\d+))?[ \t]*$");
  private static final Pattern FUNCTION_NAMES =
      Pattern.compile("(?ms)^\\s*\\.section\\s+\\.debug_str\\s*\\{.*?^\\s*\\}[^\n]*\n?");

  /**
   * Number of this way of rewriting: part of what shipped and kept PTX is known by, so that a
   * change of the rewriting, which has to raise it, makes them anew.
   */
  static final int FORMAT = 1;

  private PtxText() {}

  /** The architecture that the text is for: 80 for {@code .target sm_80}. */
  static int target(String ptx) {
    Matcher target = TARGET.matcher(ptx);
    if (!target.find()) {
      throw new IllegalArgumentException("PTX without a .target line");
    }
    return Integer.parseInt(target.group(1));
  }

  /**
   * Rewrites what a compiler wrote.
   *
   * @param sources names of the files that the compiler was given; positions in any others are
   *     replaced by those of the call that led there
   */
  static String portable(String ptx, Set<String> sources) {
    Map<String, String> files = new LinkedHashMap<>();
    Matcher file = FILE.matcher(ptx);
    while (file.find()) {
      files.put(file.group(1), bareName(file.group(2)));
    }
    Set<Integer> used = new TreeSet<>();
    String located =
        LOCATION
            .matcher(FUNCTION_NAMES.matcher(FILE.matcher(ptx).replaceAll("")).replaceAll(""))
            .replaceAll(match -> {
              boolean foreign =
                  match.group(5) != null && !sources.contains(files.get(match.group(2)));
              int first = foreign ? 5 : 2;
              used.add(Integer.valueOf(match.group(first)));
              return Matcher.quoteReplacement(
                  "%s%s %s %s"
                      .formatted(
                          match.group(1),
                          match.group(first),
                          match.group(first + 1),
                          match.group(first + 2)));
            });
    StringBuilder text = new StringBuilder(lowered(located));
    for (int number : used) {
      String name = files.get(Integer.toString(number));
      text.append("\t.file\t").append(number).append(" \"").append(name).append("\"\n");
    }
    return text.toString();
  }

  private static String lowered(String ptx) {
    Optional<String> least = leastVersion(target(ptx));
    Matcher version = VERSION.matcher(ptx);
    return least.isEmpty() ? ptx : version.replaceFirst(".version " + least.get());
  }

  /**
   * The lowest PTX version that has an architecture and what Heddle's kernels use; empty for one
   * that is newer than this table.
   *
   * <p>Source: PTX ISA, "PTX Module Directives: .target" and its release history.
   */
  static Optional<String> leastVersion(int architecture) {
    return Optional.ofNullable(
        switch (architecture) {
          case 86 -> "7.1";
          case 87 -> "7.4";
          case 89, 90 -> "7.8";
          case 100, 101 -> "8.6";
          case 120 -> "8.7";
          case 103, 121 -> "8.8";
          case 88, 110 -> "9.0";
          default -> architecture <= 80 ? "7.0" : null;
        });
  }

  private static String bareName(String path) {
    return path.substring(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1);
  }
}
