package dev.heddle.lab;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.core.Device;
import dev.heddle.core.Probe;
import dev.heddle.core.Provenance;
import dev.heddle.reference.Verdict;
import java.util.Map;
import java.util.Optional;

/** The parts that the JSON of several use cases has in common. */
final class ResultNodes {
  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

  private ResultNodes() {}

  /** The whole document, indented. */
  static byte[] write(ObjectNode root) {
    try {
      return new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT).writeValueAsBytes(root);
    } catch (com.fasterxml.jackson.core.JsonProcessingException e) {
      throw new IllegalStateException("a tree of plain nodes is always valid JSON", e);
    }
  }

  /** What a device is. */
  static ObjectNode device(Device device) {
    ObjectNode node = NODES.objectNode();
    node.put("backend", device.backend());
    node.put("device", device.name());
    node.put("deviceIndex", device.index());
    node.put("deviceKind", device.kind().name().toLowerCase(java.util.Locale.ROOT));
    node.put("driver", device.driver());
    node.put("emulated", device.emulated());
    return node;
  }

  /** Unavailable backends. */
  static ArrayNode missing(Map<String, Probe.Unavailable> missing) {
    ArrayNode nodes = NODES.arrayNode();
    missing.forEach((backend, why) ->
        nodes
            .addObject()
            .put("backend", backend)
            .put("reason", why.reason())
            .put("remedy", why.remedy()));
    return nodes;
  }

  /** A tensor's measures. */
  static ObjectNode tensor(Verdict.Judged judged) {
    ObjectNode node = NODES.objectNode();
    node.put("name", judged.tensor());
    number(node, "maxAbsError", Optional.of(judged.measures().maxAbs()));
    number(node, "relL2", Optional.of(judged.measures().relL2()));
    number(node, "nmse", Optional.of(judged.measures().nmse()));
    number(node, "errorRatio", Optional.of(judged.errorRatio()));
    node.put("ulps", judged.measures().ulps().toString());
    node.put("worstIndex", judged.measures().worst());
    number(node, "worstExpected", Optional.of(judged.measures().expected()));
    number(node, "worstGot", Optional.of(judged.measures().got()));
    return node;
  }

  /** Where a step's result comes from. */
  static ObjectNode step(Provenance provenance) {
    ObjectNode node = NODES.objectNode();
    node.put("algorithm", provenance.plan().algorithm());
    ObjectNode tunables = node.putObject("tunables");
    provenance.plan().tunables().forEach(tunables::put);
    ArrayNode sources = node.putArray("sources");
    provenance.sources().forEach(sources::add);
    node.put("sourceSha256", provenance.sourceHash());
    return node;
  }

  /** A number, or null where there is none or JSON can't write it. */
  static void number(ObjectNode node, String name, Optional<Double> value) {
    if (value.isEmpty() || !Double.isFinite(value.get())) {
      node.putNull(name);
    } else if (value.get() == Math.rint(value.get()) && Math.abs(value.get()) < 1L << 53) {
      node.put(name, value.get().longValue());
    } else {
      node.put(name, value.get());
    }
  }
}
