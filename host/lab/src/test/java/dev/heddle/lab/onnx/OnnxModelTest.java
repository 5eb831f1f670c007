package dev.heddle.lab.onnx;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.onnx.proto.OnnxMl.AttributeProto;
import ai.onnx.proto.OnnxMl.AttributeProto.AttributeType;
import ai.onnx.proto.OnnxMl.FunctionProto;
import ai.onnx.proto.OnnxMl.GraphProto;
import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.NodeProto;
import ai.onnx.proto.OnnxMl.OperatorSetIdProto;
import ai.onnx.proto.OnnxMl.SparseTensorProto;
import ai.onnx.proto.OnnxMl.StringStringEntryProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import ai.onnx.proto.OnnxMl.ValueInfoProto;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.lab.files.TensorFileException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class OnnxModelTest {
  private static final int[] ONE = {1, 1, 1, 1};

  @TempDir private Path folder;

  /** Attention of one query, one key and one value. */
  private static NodeTest attention(long opset) {
    return new NodeTest("Attention", opset)
        .reads(NodeTest.floats("Q", ONE, 2))
        .reads(NodeTest.floats("K", ONE, 3))
        .reads(NodeTest.floats("V", ONE, 4))
        .writes(NodeTest.floats("Y", ONE, 4));
  }

  private OnnxTest read(NodeTest test) throws IOException {
    return OnnxTest.read(test.write(folder), folder.resolve("test_data_set_0"));
  }

  private void rejects(NodeTest test, String... parts) throws IOException {
    rejects(test, UnaryOperator.identity(), parts);
  }

  private void rejects(NodeTest test, UnaryOperator<ModelProto> change, String... parts)
      throws IOException {
    test.write(folder, change);
    rejects(parts);
  }

  private void rejects(String... parts) {
    assertThatThrownBy(() -> OnnxTest.read(folder, folder.resolve("test_data_set_0")))
        .isInstanceOf(TensorFileException.class)
        .hasMessageStartingWith(folder.toString())
        .hasMessageNotContaining("\n")
        .satisfies(e -> assertThat(e.getMessage()).contains(parts));
  }

  private static UnaryOperator<ModelProto> graph(Consumer<GraphProto.Builder> change) {
    return model -> {
      GraphProto.Builder graph = model.getGraph().toBuilder();
      change.accept(graph);
      return model.toBuilder().setGraph(graph).build();
    };
  }

  private static UnaryOperator<ModelProto> node(Consumer<NodeProto.Builder> change) {
    return graph(graph -> change.accept(graph.getNodeBuilder(0)));
  }

  @ParameterizedTest
  @CsvSource({"23, 23", "24, 24", "25, 25", "26, 25", "99, 25"})
  void theVersionIsTheLastThatDefinedTheOperator(long opset, int since) throws IOException {
    assertThat(read(attention(opset)).title()).isEqualTo("Attention-" + since);
  }

  @Test
  void operatorsOfOtherVersions() throws IOException {
    rejects(attention(22), "imports version 22", "Attention is among them since 23");
    rejects(attention(-1), "imports version -1");
    rejects(attention(23), model -> model.toBuilder().clearOpsetImport().build(), "0 versions");
    rejects(
        attention(23),
        model ->
            model.toBuilder()
                .addOpsetImport(OperatorSetIdProto.newBuilder().setDomain("ai.onnx").setVersion(24))
                .build(),
        "2 versions");
  }

  @Test
  void graphsThatAreNoNodeTest() throws IOException {
    rejects(attention(23), graph(GraphProto.Builder::clearNode), "0 nodes");
    rejects(attention(23), graph(g -> g.addNode(g.getNode(0))), "2 nodes");
    rejects(attention(23), node(n -> n.setOpType("Gemm")), "test of Gemm");
    rejects(attention(23), node(n -> n.setOpType("a\nb")), "test of a\\u000ab");
    rejects(
        attention(23),
        model ->
            node(n -> n.setDomain("com.microsoft")).apply(model).toBuilder()
                .addOpsetImport(
                    OperatorSetIdProto.newBuilder().setDomain("com.microsoft").setVersion(1))
                .build(),
        "test of com.microsoft.Attention");
    rejects(
        attention(23),
        model ->
            model.toBuilder().addFunctions(FunctionProto.newBuilder().setName("Attention")).build(),
        "defines Attention itself");
    rejects(
        attention(23),
        graph(g -> g.addSparseInitializer(SparseTensorProto.getDefaultInstance())),
        "sparse");
    rejects(attention(23), node(n -> n.setInput(1, "L")), "reads 'L'", "nothing provides");
    rejects(attention(23), node(n -> n.setOutput(0, "Z")), "output 'Y'", "does not write");
    rejects(attention(23), graph(GraphProto.Builder::clearOutput), "no output");
    rejects(
        attention(23),
        graph(g -> g.addInput(ValueInfoProto.newBuilder().setName("Q"))),
        "two inputs named 'Q'");
    Files.write(folder.resolve("model.onnx"), new byte[] {0x3A, 0x7F});
    rejects("model.onnx: is damaged or no model of ONNX");
    Files.delete(folder.resolve("model.onnx"));
    rejects("model.onnx: no such file");
  }

  /** Graphs in attributes of graphs, deeper than any parser should follow. */
  @Test
  void graphsWithinGraphs() throws IOException {
    GraphProto graph = GraphProto.getDefaultInstance();
    for (int depth = 0; depth < 200; depth++) {
      graph =
          GraphProto.newBuilder()
              .addNode(
                  NodeProto.newBuilder()
                      .addAttribute(
                          AttributeProto.newBuilder().setType(AttributeType.GRAPH).setG(graph)))
              .build();
    }
    GraphProto deep = graph;
    rejects(
        attention(23),
        node(n -> n.addAttribute(NodeTest.attribute("body", AttributeType.GRAPH).setG(deep))),
        "model.onnx: is damaged or no model of ONNX");
  }

  @Test
  void attributesThatAreWrong() throws IOException {
    rejects(attention(23).with("is_causal", 2), "is_causal = 2", "0 to 1");
    rejects(attention(23).with("is_causal", 1.0f), "is_causal = of type FLOAT; INT");
    rejects(attention(23).with("scale", 1), "scale = of type INT; FLOAT");
    rejects(attention(23).with("scale", Float.NaN), "Attention-23: scale = NaN");
    rejects(attention(23).with("scale", Float.POSITIVE_INFINITY), "scale = Infinity");
    rejects(attention(23).with("scale", -1f), "scale = -1.0");
    rejects(attention(23).with("softcap", Float.NaN), "softcap = NaN");
    rejects(attention(23).with("q_num_heads", 0), "q_num_heads = 0");
    rejects(attention(23).with("q_num_heads", 1L << 32), "q_num_heads = 4294967296");
    rejects(attention(23).with("q_num_heads", 5), "q_num_heads = 5, but Q float [1, 1, 1, 1]");
    rejects(attention(23).with("qk_matmul_output_mode", 4), "qk_matmul_output_mode = 4");
    rejects(attention(23).with("softmax_precision", 7), "softmax_precision = 7");
    rejects(attention(24).with("left_window_size", 1), "Attention-24 has no", "left_window_size");
    rejects(attention(25).with("left_window_size", -2), "left_window_size = -2");
    rejects(attention(23).with("window", 1), "no attribute 'window'");
    rejects(attention(23).with("scale", 1f).with("scale", 2f), "two attributes named 'scale'");
    rejects(
        attention(23).with(NodeTest.attribute("scale", AttributeType.FLOAT).setRefAttrName("s")),
        "'scale' refers to that of a function");
  }

  @Test
  void operandsThatContradictEachOther() throws IOException {
    TensorProto q = NodeTest.floats("Q", ONE, 2);
    TensorProto k = NodeTest.floats("K", ONE, 3);
    TensorProto v = NodeTest.floats("V", ONE, 4);
    TensorProto y = NodeTest.floats("Y", ONE, 4);
    rejects(new NodeTest("Attention", 23).reads(q).reads(k).writes(y), "needs the input V");
    rejects(
        new NodeTest("Attention", 23).reads(q).skipsInput().reads(v).writes(y),
        "needs the input K");
    rejects(
        new NodeTest("Attention", 23)
            .reads(NodeTest.floats("Q", new int[] {1, 1, 1, 2}, 2, 2))
            .reads(k)
            .reads(v)
            .writes(y),
        "Q float [1, 1, 1, 2]",
        "agree");
    rejects(
        new NodeTest("Attention", 23)
            .reads(NodeTest.floats("Q", new int[] {1, 3, 1, 1}, 2, 2, 2))
            .reads(NodeTest.floats("K", new int[] {1, 2, 1, 1}, 2, 2))
            .reads(NodeTest.floats("V", new int[] {1, 2, 1, 1}, 2, 2))
            .writes(y),
        "3 query heads, no multiple of the 2");
    rejects(
        new NodeTest("Attention", 23)
            .reads(NodeTest.floats("Q", new int[] {1, 1, 1}, 2))
            .reads(k)
            .reads(v)
            .writes(y),
        "needs the attribute q_num_heads");
    rejects(
        new NodeTest("Attention", 23)
            .with("q_num_heads", 2)
            .with("kv_num_heads", 1)
            .reads(NodeTest.floats("Q", new int[] {1, 1, 1}, 2))
            .reads(k)
            .reads(v)
            .writes(y),
        "no multiple of q_num_heads = 2");
    rejects(
        attention(23).reads(NodeTest.floats("attn_mask", new int[] {2, 1}, 0, 0)),
        "can't broadcast attn_mask float [2, 1] to [1, 1, 1, 1]");
    rejects(attention(23).reads(NodeTest.floats("attn_mask", new int[] {}, 0)), "can't broadcast");
    rejects(
        attention(23).reads(NodeTest.tensor("attn_mask", ElementType.INT32, new byte[4], 1, 1)),
        "is int32; a mask is boolean or");
    rejects(
        attention(23).skipsInput().reads(NodeTest.floats("past_key", ONE, 1)),
        "past_key and past_value together");
    rejects(
        attention(23)
            .skipsInput()
            .skipsInput()
            .skipsInput()
            .reads(NodeTest.longs("nonpad", new int[] {1}, 1)),
        "Attention-23 has 6 inputs; the node has 7");
    for (long length : new long[] {-1, 2, Long.MIN_VALUE}) {
      rejects(
          attention(24)
              .skipsInput()
              .skipsInput()
              .skipsInput()
              .reads(NodeTest.longs("nonpad", new int[] {1}, length)),
          "nonpad_kv_seqlen holds " + length);
    }
    rejects(
        attention(24)
            .skipsInput()
            .reads(NodeTest.floats("past_key", ONE, 1))
            .reads(NodeTest.floats("past_value", ONE, 1))
            .reads(NodeTest.longs("nonpad", new int[] {1}, 1)),
        "both past_key and nonpad_kv_seqlen");
  }

  @Test
  void filesOfADataSetThatAreMissingOrTooMany() throws IOException {
    Path set = folder.resolve("test_data_set_0");
    attention(23).write(folder);
    Files.copy(set.resolve("input_0.pb"), set.resolve("input_3.pb"));
    rejects("input_3.pb: is one too many; model.onnx has 3 inputs");
    Files.delete(set.resolve("input_3.pb"));
    Files.delete(set.resolve("input_1.pb"));
    rejects("input_1.pb: no such file; model.onnx has 3 inputs");
    attention(23).write(folder);
    Files.delete(set.resolve("output_0.pb"));
    rejects("output_0.pb: no such file; model.onnx has 1 outputs");
    NodeTest.save(set.resolve("output_0.pb"), NodeTest.floats("Y", new int[] {1}, 4));
    rejects("output_0.pb: Y is float [1]; Attention-23 of these inputs has fp32 [1, 1, 1, 1]");
    NodeTest.save(set.resolve("output_0.pb"), NodeTest.longs("Y", ONE, 4));
    rejects("output_0.pb: Y is int64");
    attention(23).write(folder);
    NodeTest.save(set.resolve("input_2.pb"), NodeTest.longs("V", ONE, 4));
    rejects("input_2.pb: V is int64; float is needed");
  }

  /** Sound, but not among what Heddle computes. */
  @Test
  void whatIsRefused() throws IOException {
    NodeTest doubles =
        new NodeTest("Attention", 23)
            .reads(NodeTest.tensor("Q", ElementType.DOUBLE, new byte[8], ONE))
            .reads(NodeTest.tensor("K", ElementType.DOUBLE, new byte[8], ONE))
            .reads(NodeTest.tensor("V", ElementType.DOUBLE, new byte[8], ONE))
            .writes(NodeTest.tensor("Y", ElementType.DOUBLE, new byte[8], ONE));
    OnnxTest test = read(doubles);
    assertThat(test.type()).isEqualTo("double");
    assertThat(refusal(test)).startsWith("dtype: Q double [1, 1, 1, 1] is double");
    assertThat(
            refusal(
                read(
                    new NodeTest("Attention", 23)
                        .reads(NodeTest.floats("Q", new int[] {1, 1, 0, 1}))
                        .reads(NodeTest.floats("K", ONE, 1))
                        .reads(NodeTest.floats("V", ONE, 1))
                        .writes(NodeTest.floats("Y", new int[] {1, 1, 0, 1})))))
        .startsWith("shape: Q float [1, 1, 0, 1] is empty");
  }

  private static String refusal(OnnxTest test) {
    return ((OnnxTest.Content.Declined) test.content()).refusal().toString();
  }

  /**
   * Reading an attribute of FlexAttention is no one's business: it is refused whatever it holds.
   */
  @Test
  void flexAttentionIsRefused() throws IOException {
    attention(26)
        .with(NodeTest.attribute("score_mod", AttributeType.GRAPH))
        .write(
            folder,
            model ->
                node(n -> n.setOpType("FlexAttention").setDomain("ai.onnx.preview"))
                    .apply(model)
                    .toBuilder()
                    .addOpsetImport(
                        OperatorSetIdProto.newBuilder().setDomain("ai.onnx.preview").setVersion(1))
                    .build());
    assertThat(refusal(OnnxTest.read(folder, folder.resolve("test_data_set_0"))))
        .startsWith("operator: FlexAttention");
    assertThatThrownBy(() -> OnnxOperator.of(OnnxModel.read(folder.resolve("model.onnx"))))
        .isInstanceOf(UnsupportedProblemException.class);
  }

  /** Whatever bytes are changed: a test that can be read, or one line that names a file. */
  @Test
  void damageAnywhereIsSaidInOneLine() throws IOException {
    attention(25)
        .with("is_causal", 1)
        .with("scale", 0.5f)
        .reads(NodeTest.floats("attn_mask", new int[] {1, 1}, 0))
        .write(folder);
    Path set = folder.resolve("test_data_set_0");
    List<Path> files =
        List.of(
            folder.resolve("model.onnx"),
            set.resolve("input_0.pb"),
            set.resolve("input_3.pb"),
            set.resolve("output_0.pb"));
    SplittableRandom random = new SplittableRandom(1);
    int read = 0;
    int rejected = 0;
    for (int n = 0; n < 4000; n++) {
      Path file = files.get(n % files.size());
      byte[] sound = Files.readAllBytes(file);
      byte[] damaged = sound.clone();
      for (int changes = random.nextInt(1, 4); changes > 0; changes--) {
        damaged[random.nextInt(damaged.length)] = (byte) random.nextInt();
      }
      Files.write(file, damaged);
      try {
        OnnxTest.read(folder, set);
        read++;
      } catch (TensorFileException e) {
        rejected++;
        assertThat(e).hasMessageStartingWith(folder.toString()).hasMessageNotContaining("\n");
      }
      Files.write(file, sound);
    }
    assertThat(read).isPositive();
    assertThat(rejected).isGreaterThan(1000);
  }

  @Test
  void theModelMayBringInputsItself() throws IOException {
    OnnxTest test =
        read(
            new NodeTest("Attention", 23)
                .reads(NodeTest.floats("Q", ONE, 2))
                .readsConstant(NodeTest.floats("weights.1", ONE, 3))
                .reads(NodeTest.floats("V", ONE, 4))
                .writes(NodeTest.floats("Y", ONE, 4)));
    assertThat(test.inputs())
        .isEqualTo("Q float [1, 1, 1, 1], K float [1, 1, 1, 1], V float [1, 1, 1, 1]");
    OnnxTest.Content.Task task = (OnnxTest.Content.Task) test.content();
    assertThat(task.task().inputs().get("K").get(0)).isEqualTo(3);
    assertThat(task.expectation().tensors().getFirst().exact()).containsExactly(4);
    rejects(
        new NodeTest("Attention", 23)
            .readsConstant(
                NodeTest.floats("w", ONE, 3).toBuilder()
                    .clearRawData()
                    .addExternalData(
                        StringStringEntryProto.newBuilder().setKey("location").setValue("../w"))
                    .build())
            .reads(NodeTest.floats("K", ONE, 2))
            .reads(NodeTest.floats("V", ONE, 4))
            .writes(NodeTest.floats("Y", ONE, 4)),
        "model.onnx: w keeps its data in another file, '../w'");
  }

  @Test
  void aTestMayHaveATolerance() throws IOException {
    assertThat(tolerance(attention(23))).containsExactly(1e-7, 1e-3);
    Path json = folder.resolve("data.json");
    Files.writeString(json, "{\"rtol\": 0.5, \"model_name\": \"a\"}");
    assertThat(tolerance(attention(23))).containsExactly(1e-7, 0.5);
    Files.writeString(json, "{\"rtol\": 0.5, \"atol\": 2}");
    assertThat(tolerance(attention(23))).containsExactly(2, 0.5);
    for (String wrong : new String[] {"{\"rtol\": \"a\"}", "{", "{\"rtol\": -1}", ""}) {
      Files.writeString(json, wrong);
      rejects("data.json: ");
    }
  }

  private double[] tolerance(NodeTest test) throws IOException {
    OnnxTest.Content.Task task = (OnnxTest.Content.Task) read(test).content();
    return new double[] {task.tolerance().atol(), task.tolerance().rtol()};
  }
}
