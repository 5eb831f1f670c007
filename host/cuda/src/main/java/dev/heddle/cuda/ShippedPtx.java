package dev.heddle.cuda;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * The PTX that the build put into the jar.
 *
 * @param compiler what made it; empty where the build had no compiler and ships none
 * @param entries what there is
 */
record ShippedPtx(String compiler, List<Entry> entries) {
  /** The folder in the jar. */
  static final String FOLDER = "heddle/ptx/";

  /** The list of what is in the folder. */
  static final String INDEX = "index.json";

  private static final ObjectMapper JSON = new ObjectMapper();

  /** Freezes the list. */
  ShippedPtx {
    entries = List.copyOf(entries);
  }

  /**
   * One PTX text.
   *
   * @param key the key of the variant that it was compiled from
   * @param source the variant's kernel file
   * @param macros the variant's macros
   * @param architecture what it was compiled for, and from which on it runs
   */
  record Entry(String key, String source, SortedMap<String, Integer> macros, int architecture) {

    static Entry of(KernelVariant variant, int architecture) {
      return new Entry(variant.key(), variant.file(), variant.macros(), architecture);
    }

    /** The name of its file: readable, and different for each entry. */
    String fileName() {
      String base = source.substring(0, source.lastIndexOf('.'));
      return base + "-" + key.substring(0, 16) + ".compute_" + architecture + ".ptx";
    }

    /** The text, from the jar. */
    String text() {
      return resource(fileName())
          .orElseThrow(() -> new IllegalStateException("no " + fileName() + " in this build"));
    }
  }

  /** What this build ships. */
  static ShippedPtx ofThisBuild() {
    return resource(INDEX).map(ShippedPtx::parse).orElse(new ShippedPtx("", List.of()));
  }

  /** The text of a variant for the highest architecture that a device of this one can run. */
  Optional<Entry> find(KernelVariant variant, int architecture) {
    String key = variant.key();
    return entries.stream()
        .filter(entry -> entry.key.equals(key) && entry.architecture <= architecture)
        .max(Comparator.comparingInt(Entry::architecture));
  }

  /** The lowest architecture that runs what is shipped of a variant; empty when nothing is. */
  Optional<Integer> lowestArchitecture(KernelVariant variant) {
    String key = variant.key();
    return entries.stream()
        .filter(entry -> entry.key.equals(key))
        .map(Entry::architecture)
        .min(Comparator.naturalOrder());
  }

  /** Reads an index. */
  static ShippedPtx parse(String text) {
    try {
      JsonNode index = JSON.readTree(text);
      List<Entry> entries = new ArrayList<>();
      for (JsonNode node : index.path("ptx")) {
        SortedMap<String, Integer> macros = new TreeMap<>();
        node.path("macros")
            .properties()
            .forEach(macro -> macros.put(macro.getKey(), macro.getValue().intValue()));
        entries.add(
            new Entry(
                node.path("key").asText(),
                node.path("source").asText(),
                macros,
                node.path("architecture").asInt()));
      }
      return new ShippedPtx(index.path("compiler").asText(), entries);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(INDEX + " is not valid JSON: " + e.getOriginalMessage(), e);
    }
  }

  /** The index as text. */
  String json() {
    ObjectNode index = JSON.createObjectNode().put("compiler", compiler);
    for (Entry entry : entries) {
      ObjectNode node = index.withArray("ptx").addObject();
      node.put("file", entry.fileName())
          .put("key", entry.key)
          .put("source", entry.source)
          .put("architecture", entry.architecture);
      ObjectNode macros = node.putObject("macros");
      entry.macros.forEach(macros::put);
    }
    return index.toPrettyString() + "\n";
  }

  private static Optional<String> resource(String name) {
    try (InputStream stream = ShippedPtx.class.getResourceAsStream("/" + FOLDER + name)) {
      return stream == null
          ? Optional.empty()
          : Optional.of(new String(stream.readAllBytes(), StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
