package dev.heddle.lab.onnx;

import ai.onnx.proto.OnnxMl.AttributeProto;
import ai.onnx.proto.OnnxMl.GraphProto;
import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.NodeProto;
import ai.onnx.proto.OnnxMl.OperatorSetIdProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import ai.onnx.proto.OnnxMl.ValueInfoProto;
import dev.heddle.lab.files.TensorFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A model of one node.
 *
 * @param file where it was read
 * @param domain the operator's domain; empty for ONNX's own
 * @param operator the operator's name
 * @param opset version of the domain's operators that the model imports
 * @param reads the graph's name of each of the node's inputs, in the operator's order; empty for
 *     one that is left out
 * @param writes the same of its outputs
 * @param attributes the node's attributes
 * @param inputs names of the graph's inputs in the order of a test's files, with their types where
 *     the model tells
 * @param outputs the same of its outputs
 * @param constants tensors that the model brings
 */
record OnnxModel(
    Path file,
    String domain,
    String operator,
    long opset,
    List<String> reads,
    List<String> writes,
    Map<String, AttributeProto> attributes,
    Map<String, Optional<ElementType>> inputs,
    Map<String, Optional<ElementType>> outputs,
    Map<String, OnnxTensor> constants) {

  /** ONNX's own domain under its other name. */
  private static final String ONNX_DOMAIN = "ai.onnx";

  OnnxModel {
    reads = List.copyOf(reads);
    writes = List.copyOf(writes);
    attributes = Map.copyOf(attributes);
    inputs = java.util.Collections.unmodifiableMap(new LinkedHashMap<>(inputs));
    outputs = java.util.Collections.unmodifiableMap(new LinkedHashMap<>(outputs));
    constants = Map.copyOf(constants);
  }

  /**
   * Reads a model and checks that it is one node, fed and read by the graph.
   *
   * @throws TensorFileException naming what is wrong with the file
   */
  static OnnxModel read(Path file) {
    ModelProto model = ProtoFile.parse(file, ModelProto::parseFrom, "model of ONNX");
    GraphProto graph = model.getGraph();
    if (graph.getNodeCount() != 1) {
      throw new TensorFileException(
          file, "has " + graph.getNodeCount() + " nodes; a node test has 1");
    }
    if (graph.getSparseInitializerCount() > 0) {
      throw new TensorFileException(file, "has a sparse constant; a dense one is needed");
    }
    NodeProto node = graph.getNode(0);
    String domain = domain(node.getDomain());
    String shown = TensorFileException.quote(node.getOpType());
    if (model.getFunctionsList().stream()
        .anyMatch(
            f -> f.getName().equals(node.getOpType()) && domain(f.getDomain()).equals(domain))) {
      throw new TensorFileException(file, "defines " + shown + " itself; ONNX's own is needed");
    }
    Map<String, OnnxTensor> constants = new HashMap<>();
    for (TensorProto constant : graph.getInitializerList()) {
      constants.put(constant.getName(), OnnxTensor.of(file, constant.getName(), constant));
    }
    Map<String, Optional<ElementType>> inputs = values(file, "inputs", graph.getInputList());
    Map<String, Optional<ElementType>> outputs = values(file, "outputs", graph.getOutputList());
    for (String name : node.getInputList()) {
      if (!name.isEmpty() && !inputs.containsKey(name) && !constants.containsKey(name)) {
        throw new TensorFileException(
            file,
            shown + " reads '" + TensorFileException.quote(name) + "', which nothing provides");
      }
    }
    Set<String> written = new HashSet<>(node.getOutputList());
    for (String name : outputs.keySet()) {
      if (!written.contains(name)) {
        throw new TensorFileException(
            file,
            "has the output '"
                + TensorFileException.quote(name)
                + "', which "
                + shown
                + " does not write");
      }
    }
    if (outputs.isEmpty()) {
      throw new TensorFileException(file, "has no output; there is nothing to judge");
    }
    return new OnnxModel(
        file,
        domain,
        node.getOpType(),
        opset(file, model, domain),
        node.getInputList(),
        node.getOutputList(),
        attributes(file, node),
        inputs,
        outputs,
        constants);
  }

  private static String domain(String stated) {
    return stated.equals(ONNX_DOMAIN) ? "" : stated;
  }

  private static long opset(Path file, ModelProto model, String domain) {
    List<Long> versions =
        model.getOpsetImportList().stream()
            .filter(opset -> domain(opset.getDomain()).equals(domain))
            .map(OperatorSetIdProto::getVersion)
            .toList();
    if (versions.size() != 1) {
      throw new TensorFileException(
          file,
          "imports "
              + versions.size()
              + " versions of the operators of domain '"
              + TensorFileException.quote(domain)
              + "'; 1 is needed");
    }
    return versions.getFirst();
  }

  private static Map<String, AttributeProto> attributes(Path file, NodeProto node) {
    Map<String, AttributeProto> attributes = new HashMap<>();
    for (AttributeProto attribute : node.getAttributeList()) {
      String name = attribute.getName();
      if (attributes.put(name, attribute) != null) {
        throw new TensorFileException(
            file, "has two attributes named '" + TensorFileException.quote(name) + "'");
      }
      if (!attribute.getRefAttrName().isEmpty()) {
        throw new TensorFileException(
            file,
            "attribute '"
                + TensorFileException.quote(name)
                + "' refers to that of a function, and there is none");
      }
    }
    return attributes;
  }

  private static Map<String, Optional<ElementType>> values(
      Path file, String what, List<ValueInfoProto> infos) {
    Map<String, Optional<ElementType>> values = new LinkedHashMap<>();
    for (ValueInfoProto info : infos) {
      Optional<ElementType> type = ElementType.of(info.getType().getTensorType().getElemType());
      if (values.put(info.getName(), type) != null) {
        throw new TensorFileException(
            file, "has two " + what + " named '" + TensorFileException.quote(info.getName()) + "'");
      }
    }
    return values;
  }

  /** The node's attributes, for the version that defined the operator. */
  OnnxAttributes attributes(int since) {
    return new OnnxAttributes(file, operator + "-" + since, attributes);
  }

  /** A tensor that the model brings, under the operator's name. */
  OnnxTensor constant(String name, String formal) {
    OnnxTensor constant = constants.get(name);
    if (constant == null) {
      throw new IllegalStateException("the graph was read without " + name);
    }
    return constant.named(formal);
  }

  /**
   * The graph's name of each input that the node reads, by the operator's name for it.
   *
   * @throws TensorFileException when the node reads more than the operator has
   */
  Map<String, String> reads(String title, List<String> formal) {
    return bound(title, formal, reads, "inputs");
  }

  /** The same of the outputs. */
  Map<String, String> writes(String title, List<String> formal) {
    return bound(title, formal, writes, "outputs");
  }

  private Map<String, String> bound(
      String title, List<String> formal, List<String> actual, String what) {
    if (actual.size() > formal.size()) {
      throw new TensorFileException(
          file, title + " has " + formal.size() + " " + what + "; the node has " + actual.size());
    }
    Map<String, String> bound = new LinkedHashMap<>();
    List<String> seen = new ArrayList<>();
    for (int i = 0; i < actual.size(); i++) {
      String name = actual.get(i);
      if (!name.isEmpty()) {
        bound.put(formal.get(i), name);
        if (what.equals("outputs") && seen.contains(name)) {
          throw new TensorFileException(
              file, title + " writes '" + TensorFileException.quote(name) + "' twice");
        }
        seen.add(name);
      }
    }
    return bound;
  }
}
