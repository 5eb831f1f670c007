package dev.heddle.core.kernel;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.RotaryEmbedding;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Best known tunables, by device family: {@code kernels/<operation>/tuned/<family>.json}. An entry
 * names a kernel, up to which size it is meant, and its values; where several fit, the first one
 * that the device's limits allow is the one to use.
 */
public final class TunedTable {
  private static final List<String> OPERATIONS =
      List.of("attention", "linear", "cache", "rotary", "linear_attention");

  /** An entry: values for a kernel, for operations of at most that many rows. */
  private record Entry(String kernel, long maxRows, Map<String, Integer> tunables) {}

  private final Map<String, List<Entry>> families = new TreeMap<>();

  /**
   * Values for a kernel, the most preferred first; none means the file's defaults.
   *
   * @param families device families whose tables apply, the most special first
   * @param kernel the kernel's name, such as {@code attention_flash}
   */
  public List<Map<String, Integer>> candidates(
      List<String> families, Operation operation, String kernel) {
    return families.stream()
        .flatMap(family -> entries(family).stream())
        .filter(entry -> entry.kernel.equals(kernel) && rows(operation) <= entry.maxRows)
        .map(Entry::tunables)
        .toList();
  }

  /** Rows that blocks of rows divide: queries, or rows of a matrix. */
  private static long rows(Operation operation) {
    return switch (operation) {
      case AttentionProblem attention -> attention.shape().seqlenQ();
      case AttentionStage stage -> stage.attention().shape().seqlenQ();
      case LinearProblem linear -> linear.rows();
      case HeadsTranspose heads -> heads.outer();
      case CacheAppend cache -> cache.capacity();
      case RotaryEmbedding rotary -> rotary.seqlen();
      case LinearAttention linear -> linear.shape().seqlenQ();
    };
  }

  private synchronized List<Entry> entries(String family) {
    return families.computeIfAbsent(family, TunedTable::load);
  }

  private static List<Entry> load(String family) {
    List<Entry> entries = new ArrayList<>();
    for (String operation : OPERATIONS) {
      String path = "/heddle/kernels/" + operation + "/tuned/" + family + ".json";
      KernelSource.read(path).ifPresent(text -> entries.addAll(parse(path, text)));
    }
    return entries;
  }

  private static List<Entry> parse(String path, String text) {
    List<Entry> entries = new ArrayList<>();
    try {
      for (JsonNode node : new ObjectMapper().readTree(text).path("entries")) {
        Map<String, Integer> tunables = new TreeMap<>();
        node.path("tunables")
            .properties()
            .forEach(entry -> tunables.put(entry.getKey(), entry.getValue().intValue()));
        entries.add(
            new Entry(
                node.path("kernel").textValue(),
                node.path("maxRows").asLong(Long.MAX_VALUE),
                tunables));
      }
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(path + " is not valid JSON: " + e.getOriginalMessage(), e);
    }
    return entries;
  }
}
