package dev.heddle.model;

import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.ValueInfoProto;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The very same ONNX file run by ONNX Runtime, with values from inside its graph returned as well:
 * an implementation that shares no code with Heddle's.
 */
final class OnnxRuntimeModel implements AutoCloseable {
  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
  private final OrtSession session;

  /**
   * Opens the model.
   *
   * @param values names of the graph's values that {@link #run} shall return
   */
  OnnxRuntimeModel(List<String> values) throws IOException, OrtException {
    ModelProto original;
    try (InputStream onnx = ModelFile.WEIGHTS.open()) {
      original = ModelProto.parseFrom(onnx);
    }
    Set<String> produced = new HashSet<>();
    original.getGraph().getNodeList().forEach(node -> produced.addAll(node.getOutputList()));
    Set<String> outputs = new HashSet<>();
    original.getGraph().getOutputList().forEach(output -> outputs.add(output.getName()));
    ModelProto.Builder opened = original.toBuilder();
    for (String value : values) {
      if (!produced.contains(value)) {
        throw new IllegalArgumentException("no node of the graph produces " + value);
      }
      if (outputs.add(value)) {
        // Name alone: ONNX Runtime infers type and shape.
        opened.getGraphBuilder().addOutput(ValueInfoProto.newBuilder().setName(value));
      }
    }
    session = environment.createSession(opened.build().toByteArray());
  }

  /** Values of the graph for these tokens, row-major, by name. */
  Map<String, float[]> run(Tokens tokens) throws OrtException {
    long[] ids = tokens.ids().stream().mapToLong(Integer::longValue).toArray();
    long[] ones = new long[ids.length];
    Arrays.fill(ones, 1);
    try (OnnxTensor inputIds = OnnxTensor.createTensor(environment, new long[][] {ids});
        OnnxTensor mask = OnnxTensor.createTensor(environment, new long[][] {ones});
        OnnxTensor types =
            OnnxTensor.createTensor(environment, new long[][] {new long[ids.length]});
        OrtSession.Result result =
            session.run(
                Map.of("input_ids", inputIds, "attention_mask", mask, "token_type_ids", types))) {
      Map<String, float[]> values = new HashMap<>();
      for (Map.Entry<String, OnnxValue> entry : result) {
        values.put(entry.getKey(), ((OnnxTensor) entry.getValue()).getFloatBuffer().array());
      }
      return values;
    }
  }

  @Override
  public void close() throws OrtException {
    session.close();
  }
}
