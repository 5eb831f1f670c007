package dev.heddle.lab.files;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.core.HostTensor;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The JSON header of a {@code .safetensors} file: for each tensor its type, shape and place among
 * the data.
 *
 * @param entries by tensor name, in the header's order
 */
record SafetensorsHeader(Map<String, Entry> entries) {
  /** Not a tensor but free text. */
  static final String METADATA = "__metadata__";

  private static final JsonMapper JSON =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  /**
   * One tensor as the header states it; the shape is unchecked.
   *
   * @param dtype type in the format's notation, such as {@code F32}
   * @param shape dimensions
   * @param begin first byte, counted from the end of the header
   * @param end one past the last byte
   */
  record Entry(String dtype, List<BigInteger> shape, long begin, long end) {}

  /**
   * Reads a header and checks that the tensors cover the data exactly, as the format demands.
   *
   * @param dataBytes bytes of the file after the header
   * @throws IllegalArgumentException with what is wrong
   */
  static SafetensorsHeader parse(ByteBuffer json, long dataBytes) {
    JsonNode root = tree(json);
    if (!(root instanceof ObjectNode object)) {
      throw new IllegalArgumentException("its header is JSON but not an object");
    }
    Map<String, Entry> entries = new LinkedHashMap<>();
    object
        .properties()
        .forEach(field -> {
          if (!field.getKey().equals(METADATA)) {
            entries.put(field.getKey(), entry(field.getKey(), field.getValue(), dataBytes));
          }
        });
    requireCovered(entries, dataBytes);
    return new SafetensorsHeader(entries);
  }

  /** A header that places the tensors one after another in the map's order. */
  static byte[] format(Map<String, HostTensor> tensors) {
    ObjectNode root = JSON.createObjectNode();
    long begin = 0;
    for (Map.Entry<String, HostTensor> named : tensors.entrySet()) {
      HostTensor tensor = named.getValue();
      ObjectNode entry = root.putObject(named.getKey());
      entry.put("dtype", SafetensorsFile.label(tensor.dtype()));
      ArrayNode shape = entry.putArray("shape");
      tensor.shape().dims().forEach(shape::add);
      long end = begin + tensor.shape().elements() * tensor.dtype().bytes();
      entry.putArray("data_offsets").add(begin).add(end);
      begin = end;
    }
    return root.toString().getBytes(StandardCharsets.UTF_8);
  }

  private static JsonNode tree(ByteBuffer json) {
    try {
      // Decoded here because the parser would also guess at other encodings.
      String text = StandardCharsets.UTF_8.newDecoder().decode(json).toString();
      return JSON.readTree(text);
    } catch (CharacterCodingException e) {
      throw new IllegalArgumentException("its header is not UTF-8", e);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          "its header is not valid JSON: " + TensorFileException.quote(e.getOriginalMessage()), e);
    }
  }

  private static Entry entry(String name, JsonNode stated, long dataBytes) {
    if (!stated.path("dtype").isTextual()) {
      throw wrong(name, "needs a string \"dtype\"");
    }
    List<BigInteger> shape = numbers(name, "shape", stated.path("shape"));
    List<BigInteger> offsets = numbers(name, "data_offsets", stated.path("data_offsets"));
    if (offsets.size() != 2) {
      throw wrong(name, "has " + offsets.size() + " \"data_offsets\"; 2 are needed");
    }
    BigInteger begin = offsets.get(0);
    BigInteger end = offsets.get(1);
    if (begin.signum() < 0
        || begin.compareTo(end) > 0
        || end.compareTo(BigInteger.valueOf(dataBytes)) > 0) {
      throw wrong(
          name,
          "has data_offsets "
              + TensorFileException.quote(offsets.toString())
              + "; they must ascend within the "
              + dataBytes
              + " bytes of data that the file has");
    }
    return new Entry(
        stated.path("dtype").textValue(), shape, begin.longValueExact(), end.longValueExact());
  }

  private static List<BigInteger> numbers(String name, String field, JsonNode stated) {
    if (!stated.isArray()) {
      throw wrong(name, "needs an array \"" + field + "\"");
    }
    List<BigInteger> numbers = new ArrayList<>();
    for (JsonNode number : stated) {
      if (!number.isIntegralNumber()) {
        throw wrong(
            name,
            "has \""
                + field
                + "\" with "
                + TensorFileException.quote(number.toString())
                + "; whole numbers are needed");
      }
      numbers.add(number.bigIntegerValue());
    }
    return numbers;
  }

  private static void requireCovered(Map<String, Entry> entries, long dataBytes) {
    List<Map.Entry<String, Entry>> ordered = new ArrayList<>(entries.entrySet());
    ordered.sort(
        Comparator.comparingLong((Map.Entry<String, Entry> e) -> e.getValue().begin)
            .thenComparingLong(e -> e.getValue().end));
    long covered = 0;
    for (Map.Entry<String, Entry> named : ordered) {
      long begin = named.getValue().begin;
      if (begin < covered) {
        throw wrong(
            named.getKey(), "begins at byte " + begin + " of the data, within another tensor");
      }
      if (begin > covered) {
        throw new IllegalArgumentException(
            "bytes " + covered + " to " + begin + " of the data belong to no tensor");
      }
      covered = named.getValue().end;
    }
    if (covered < dataBytes) {
      throw new IllegalArgumentException(
          "has " + (dataBytes - covered) + " bytes after the last tensor");
    }
  }

  private static IllegalArgumentException wrong(String name, String problem) {
    return new IllegalArgumentException(
        "tensor '" + TensorFileException.quote(name) + "' " + problem);
  }
}
