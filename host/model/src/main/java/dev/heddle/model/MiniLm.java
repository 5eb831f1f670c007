package dev.heddle.model;

import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The weights of all-MiniLM-L6-v2, a BERT encoder that turns sentences into vectors: 6 layers of 12
 * heads, 22.7 million fp32 parameters.
 *
 * <p>Source: Wang et al., MiniLM: Deep Self-Attention Distillation, 2020; the weights are those of
 * sentence-transformers/all-MiniLM-L6-v2, as ONNX, from the langchain4j artifact on the class path.
 */
public final class MiniLm {
  /** Encoder layers. */
  public static final int LAYERS = 6;

  /** Attention heads of a layer, each with its own keys and values. */
  public static final int HEADS = 12;

  /** Elements of one head's query, key or value. */
  public static final int HEAD_DIM = 32;

  /** Elements of a token's hidden state: those of all heads together. */
  public static final int HIDDEN = HEADS * HEAD_DIM;

  /** Elements of a token's hidden state inside the feed-forward network. */
  public static final int INTERMEDIATE = 1536;

  /** Tokens that the model takes at most: the rows of its position table. */
  public static final int MAX_TOKENS = 512;

  /** Entries of the vocabulary. */
  public static final int VOCABULARY = 30_522;

  private final Embeddings embeddings;
  private final List<EncoderLayer> layers;

  private MiniLm(Embeddings embeddings, List<EncoderLayer> layers) {
    this.embeddings = embeddings;
    this.layers = layers;
  }

  /**
   * Reads the weights from the class path: 87 MiB that stay on the heap as long as the model is
   * referenced, and as much again while loading.
   *
   * @throws ModelException when the artifact is missing or damaged
   */
  public static MiniLm load() {
    try (InputStream onnx = ModelFile.WEIGHTS.open()) {
      return read(onnx, ModelFile.WEIGHTS.path());
    } catch (IOException e) {
      throw new ModelException(ModelFile.WEIGHTS.path() + " can't be closed: " + e.getMessage(), e);
    }
  }

  /**
   * Reads the weights from an ONNX file's bytes.
   *
   * @param source what to call it in error messages
   * @throws ModelException when the bytes are damaged or of another model
   */
  static MiniLm read(InputStream onnx, String source) {
    OnnxWeights weights = OnnxWeights.parse(onnx, source);
    Embeddings embeddings =
        new Embeddings(
            weights.constant("embeddings.word_embeddings.weight", Shape.of(VOCABULARY, HIDDEN)),
            weights.constant("embeddings.position_embeddings.weight", Shape.of(MAX_TOKENS, HIDDEN)),
            weights.constant("embeddings.token_type_embeddings.weight", Shape.of(2, HIDDEN)),
            norm(weights, "embeddings"));
    List<EncoderLayer> layers =
        IntStream.range(0, LAYERS).mapToObj(n -> layer(weights, n)).toList();
    return new MiniLm(embeddings, layers);
  }

  /**
   * The parameters of one layer, counted from 0.
   *
   * @throws IllegalArgumentException when there is no such layer
   */
  public EncoderLayer layer(int layer) {
    if (layer < 0 || layer >= LAYERS) {
      throw new IllegalArgumentException(
          "layer = " + layer + "; the model has layers 0 to " + (LAYERS - 1));
    }
    return layers.get(layer);
  }

  /** The hidden state {@code [SEQLEN, HIDDEN]} that enters layer 0. */
  public HostTensor embed(Tokens tokens) {
    return embeddings.of(tokens);
  }

  private static EncoderLayer layer(OnnxWeights weights, int layer) {
    String name = "encoder.layer." + layer;
    return new EncoderLayer(
        new AttentionWeights(
            projection(weights, layer, "attention.self.query", HIDDEN, HIDDEN),
            projection(weights, layer, "attention.self.key", HIDDEN, HIDDEN),
            projection(weights, layer, "attention.self.value", HIDDEN, HIDDEN),
            projection(weights, layer, "attention.output.dense", HIDDEN, HIDDEN)),
        norm(weights, name + ".attention.output"),
        new FeedForward(
            projection(weights, layer, "intermediate.dense", HIDDEN, INTERMEDIATE),
            projection(weights, layer, "output.dense", INTERMEDIATE, HIDDEN)),
        norm(weights, name + ".output"));
  }

  private static Projection projection(
      OnnxWeights weights, int layer, String module, int inFeatures, int outFeatures) {
    return new Projection(
        weights.multiplierOf(
            "/encoder/layer." + layer + "/" + module.replace('.', '/') + "/MatMul",
            Shape.of(inFeatures, outFeatures)),
        weights.constant("encoder.layer." + layer + "." + module + ".bias", Shape.of(outFeatures)));
  }

  private static LayerNorm norm(OnnxWeights weights, String module) {
    Shape shape = Shape.of(HIDDEN);
    return new LayerNorm(
        weights.constant(module + ".LayerNorm.weight", shape),
        weights.constant(module + ".LayerNorm.bias", shape));
  }
}
