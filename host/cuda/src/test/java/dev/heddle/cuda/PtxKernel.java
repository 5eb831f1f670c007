package dev.heddle.cuda;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What can be read off the PTX of one kernel.
 *
 * @param name its name
 * @param threads most threads of a block, as its launch bounds say
 * @param usesDynamicShared whether it touches the shared memory that the host sizes
 * @param lines labels and instructions, in order
 */
record PtxKernel(String name, int threads, boolean usesDynamicShared, List<String> lines) {
  private static final Pattern ENTRY =
      Pattern.compile("(?ms)^\\.visible \\.entry (\\w+)\\((.*?)^\\)(.*?)^\\{$(.*?)^\\}$");
  private static final Pattern THREADS =
      Pattern.compile("\\.maxntid (\\d+)(?:, (\\d+))?(?:, (\\d+))?");
  private static final Pattern EXTERN_SHARED =
      Pattern.compile("(?m)^\\.extern \\.shared .*?(\\w+)\\[\\];");
  private static final Pattern BRANCH = Pattern.compile("(?:@!?%?\\w+ )?bra(?:\\.uni)?\\s+(\\S+);");

  /** Comments, line information and other directives, and the braces of scopes. */
  private static final String NO_STATEMENT =
      "(?m)//.*$|^\\s*\\.(loc|pragma).*$|^\\s*[{}]\\s*$|(?<=^|[;{])\\s*\\.reg[^;]*;";

  /** A label, or an instruction with its operands, which may take several lines. */
  private static final Pattern STATEMENT = Pattern.compile("\\$\\w+:|(@!?%?\\w+\\s+)?[a-z][^;]*;");

  /** Kernels of a module. */
  static List<PtxKernel> of(String ptx) {
    List<String> dynamic =
        EXTERN_SHARED.matcher(ptx).results().map(match -> match.group(1)).toList();
    return ENTRY.matcher(ptx).results().map(match -> of(match, dynamic)).toList();
  }

  private static PtxKernel of(MatchResult entry, List<String> dynamic) {
    Matcher threads = THREADS.matcher(entry.group(3));
    int product = 1;
    if (threads.find()) {
      for (int axis = 1; axis <= 3; axis++) {
        product *= threads.group(axis) == null ? 1 : Integer.parseInt(threads.group(axis));
      }
    }
    String body = entry.group(4);
    List<String> lines =
        STATEMENT
            .matcher(body.replaceAll(NO_STATEMENT, ""))
            .results()
            .map(match -> match.group().replaceAll("\\s+", " "))
            .toList();
    boolean uses = dynamic.stream().anyMatch(name -> body.matches("(?s).*\\b" + name + "\\b.*"));
    return new PtxKernel(entry.group(1), product, uses, lines);
  }

  /**
   * Instructions of one pass of a loop.
   *
   * @param products multiply-adds: mma in kernels that have it, else fma
   * @param others every other instruction
   * @param kinds how many there are of each kind, by the first word of the instruction
   */
  record Mix(int products, int others, Map<String, Integer> kinds) {}

  /**
   * The loop with the most multiply-adds, and the shortest of those: that over key tiles in a flash
   * kernel. Instructions between a label and the last branch back to it are its pass; an empty mix
   * means that there is no loop.
   */
  Mix mainLoop() {
    String product = lines.stream().anyMatch(line -> kind(line).equals("mma")) ? "mma" : "fma";
    Map<String, Integer> labels = new HashMap<>();
    List<List<String>> loops = new ArrayList<>();
    for (int at = 0; at < lines.size(); at++) {
      String line = lines.get(at);
      if (line.endsWith(":")) {
        labels.put(line.substring(0, line.length() - 1), at);
      }
      Matcher branch = BRANCH.matcher(line);
      if (branch.matches() && labels.containsKey(branch.group(1))) {
        loops.add(lines.subList(labels.get(branch.group(1)), at + 1));
      }
    }
    return loops.stream()
        .map(loop -> mix(loop, product))
        .reduce(new Mix(0, 0, Map.of()), (best, mix) -> isMore(mix, best) ? mix : best);
  }

  private static boolean isMore(Mix mix, Mix best) {
    return mix.products > best.products
        || (mix.products == best.products && mix.others < best.others);
  }

  private static Mix mix(List<String> loop, String product) {
    Map<String, Integer> kinds = new TreeMap<>();
    loop.stream()
        .filter(line -> !line.endsWith(":"))
        .forEach(line -> kinds.merge(kind(line), 1, Integer::sum));
    int products = kinds.getOrDefault(product, 0);
    int all = kinds.values().stream().mapToInt(Integer::intValue).sum();
    return new Mix(products, all - products, kinds);
  }

  /** An instruction's first word: {@code ld} of {@code @%p1 ld.shared.f32 ...}. */
  private static String kind(String line) {
    return line.replaceFirst("^@!?%?\\w+ ", "").split("[.\\s;]", 2)[0];
  }
}
