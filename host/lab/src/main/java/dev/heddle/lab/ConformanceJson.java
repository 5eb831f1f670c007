package dev.heddle.lab;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.core.Device;
import dev.heddle.core.Provenance;
import dev.heddle.lab.Conformance.Answer;
import dev.heddle.lab.Conformance.Counts;
import dev.heddle.reference.TolerancePolicy;
import dev.heddle.reference.Verdict;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * A conformance run as JSON, for other programs. {@code format} and {@code version} name the shape
 * of the document: a field that is added leaves the version, a field that changes its meaning or
 * goes away raises it. {@code results[]} holds an object for each case, device and algorithm, whose
 * {@code kernels} are indices into {@code kernels[]}. {@code unusable[]} holds what could not be
 * read. A value that may be NaN or infinite is then a string.
 */
public final class ConformanceJson {
  /** The version of the document's shape. */
  public static final int VERSION = 1;

  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

  private ConformanceJson() {}

  /** The whole document, indented. */
  public static byte[] write(Conformance conformance) {
    ObjectNode root = NODES.objectNode();
    root.put("format", "heddle-conformance");
    root.put("version", VERSION);
    root.put("suite", conformance.suite());
    root.put("start", conformance.start().toString());
    root.put("elapsedNs", conformance.elapsedNs());
    root.set("host", host());
    root.set("counts", counts(conformance.counts()));
    ArrayNode policies = root.putArray("policies");
    for (TolerancePolicy policy : conformance.policies()) {
      ObjectNode node = policies.addObject();
      node.put("name", policy.name());
      node.put("bound", policy.derivation());
      node.put("judges", policy.equals(conformance.policy()));
      ArrayNode devices = node.putArray("devices");
      for (Device device : conformance.devices()) {
        Counts ordinary = conformance.ordinaryCounts(policy, device);
        ObjectNode told = devices.addObject().put("id", device.id());
        told.put("wouldPass", ordinary.failed() == 0 && ordinary.passed() > 0);
        told.set("ordinaryAttention", counts(ordinary));
        told.set("everything", counts(conformance.counts(policy, device)));
      }
    }
    ArrayNode devices = root.putArray("devices");
    conformance.devices().forEach(device -> devices.add(device(device)));
    root.set("unavailable", ResultNodes.missing(conformance.missing()));
    root.set("matrix", matrix(conformance));
    Map<Provenance, Integer> kernels = new LinkedHashMap<>();
    for (Answer answer : conformance.answers()) {
      answer.provenance().forEach(one -> kernels.putIfAbsent(one, kernels.size()));
    }
    ArrayNode sources = root.putArray("kernels");
    kernels
        .keySet()
        .forEach(one -> {
          ObjectNode node = sources.addObject().put("device", one.device().id());
          node.setAll(ResultNodes.step(one));
        });
    root.set("cases", cases(conformance));
    ArrayNode unusable = root.putArray("unusable");
    conformance
        .unusable()
        .forEach(one -> unusable.addObject().put("name", one.name()).put("reason", one.reason()));
    ArrayNode results = root.putArray("results");
    conformance.answers().forEach(answer -> results.add(result(conformance, answer, kernels)));
    return ResultNodes.write(root);
  }

  private static ObjectNode host() {
    ObjectNode node = NODES.objectNode();
    Host.facts().forEach(node::put);
    return node;
  }

  private static ObjectNode device(Device device) {
    ObjectNode node = NODES.objectNode();
    node.put("id", device.id());
    node.setAll(ResultNodes.device(device));
    node.put("memoryBytes", device.limits().memoryBytes());
    node.put("allocationBytes", device.limits().allocationBytes());
    node.put("localMemoryBytes", device.limits().localMemoryBytes());
    node.put("workGroupSize", device.limits().workGroupSize());
    node.put("computeUnits", device.limits().computeUnits());
    return node;
  }

  private static ObjectNode counts(Counts counts) {
    return NODES
        .objectNode()
        .put("pass", counts.passed())
        .put("fail", counts.failed())
        .put("refused", counts.refused());
  }

  private static ArrayNode matrix(Conformance conformance) {
    ArrayNode cells = NODES.arrayNode();
    for (Question.Row row : conformance.rows()) {
      for (String type : conformance.types()) {
        for (Device device : conformance.devices()) {
          ObjectNode cell = cells.addObject();
          cell.put(conformance.subject().label(), row.id());
          cell.put("dtype", type).put("device", device.id());
          cell.setAll(counts(conformance.counts(row, type, device)));
        }
      }
    }
    return cells;
  }

  private static ArrayNode cases(Conformance conformance) {
    ArrayNode nodes = NODES.arrayNode();
    for (Question question :
        conformance.answers().stream().map(Answer::question).distinct().toList()) {
      ObjectNode node = nodes.addObject();
      node.put("name", question.name());
      node.put("dtype", question.type());
      ArrayNode features = node.putArray("features");
      if (conformance.subject() == Conformance.Subject.FEATURE) {
        question.rows().forEach(row -> features.add(row.id()));
      }
      node.put("inputs", question.inputs());
      ArrayNode steps = node.putArray("operations");
      question.operations().forEach(steps::add);
    }
    return nodes;
  }

  private static ObjectNode result(
      Conformance conformance, Answer answer, Map<Provenance, Integer> kernels) {
    ObjectNode node = NODES.objectNode();
    node.put("case", answer.question().name());
    node.put("dtype", answer.question().type());
    node.put("device", answer.device().id());
    node.put("algorithm", answer.algorithm().orElse(null));
    node.put("kernel", answer.kernel());
    node.put("verdict", answer.verdict().label());
    node.put("reason", answer.verdict().reason().orElse(null));
    node.put("elapsedNs", answer.elapsedNs());
    node.put("command", conformance.command(answer));
    ArrayNode opinions = node.putArray("judgements");
    for (int p = 0; p < conformance.policies().size(); p++) {
      Verdict verdict = answer.verdicts().get(p);
      ObjectNode opinion = opinions.addObject();
      opinion.put("policy", conformance.policies().get(p).name());
      opinion.put("verdict", verdict.label());
      ArrayNode tensors = opinion.putArray("tensors");
      verdict.tensors().forEach(judged -> tensors.add(judged(answer, judged)));
    }
    ArrayNode measured = node.putArray("tensors");
    answer.verdict().tensors().forEach(judged -> measured.add(ResultNodes.tensor(judged)));
    ArrayNode steps = node.putArray("kernels");
    answer.provenance().forEach(one -> steps.add(kernels.get(one)));
    return node;
  }

  private static ObjectNode judged(Answer answer, Verdict.Judged judged) {
    ObjectNode node = NODES.objectNode();
    node.put("name", judged.tensor());
    node.put("measure", judged.measure());
    value(node, "value", judged.error());
    value(node, "bound", judged.bound());
    value(node, "ratio", judged.errorRatio());
    ObjectNode worst = node.putObject("worst");
    ArrayNode position = worst.putArray("index");
    answer.question().position(judged.tensor(), judged.worst().index()).forEach(position::add);
    value(worst, "expected", judged.worst().expected());
    value(worst, "got", judged.worst().got());
    return node;
  }

  /** A number, or its name where JSON has none for it. */
  private static void value(ObjectNode node, String name, double value) {
    if (Double.isFinite(value)) {
      ResultNodes.number(node, name, Optional.of(value));
    } else {
      node.put(name, Double.toString(value));
    }
  }
}
