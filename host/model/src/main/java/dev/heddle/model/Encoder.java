package dev.heddle.model;

import dev.heddle.core.Chain;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Planner;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Session;
import java.util.Map;

/**
 * The model run on one device: linear layers and attention as Heddle operations there; residual
 * sums, layer normalisation and GELU, which are no operations of Heddle, in double on the host.
 *
 * <p>Hidden states are fp32, as the model was trained and as devices receive them; only what
 * happens within one host step is double.
 *
 * <p>Source: Devlin et al., BERT, 2019, with the post-normalisation of Vaswani et al., 2017.
 */
public final class Encoder {
  private final MiniLm model;
  private final Session session;
  private final Planner planner;

  /** An encoder that computes in {@code session}, which stays the caller's to close. */
  public Encoder(MiniLm model, Session session, Planner planner) {
    this.model = model;
    this.session = session;
    this.planner = planner;
  }

  /**
   * The hidden state {@code [SEQLEN, HIDDEN]} that enters a layer.
   *
   * @param layer from 0; {@link MiniLm#LAYERS} gives what leaves the last
   * @throws IllegalArgumentException when there is no such layer
   */
  public HostTensor hidden(Tokens tokens, int layer) {
    if (layer < 0 || layer > MiniLm.LAYERS) {
      throw new IllegalArgumentException(
          "layer = " + layer + "; hidden states exist from 0 to " + MiniLm.LAYERS);
    }
    HostTensor hidden = model.embed(tokens);
    for (int n = 0; n < layer; n++) {
      hidden = next(n, hidden);
    }
    return hidden;
  }

  /**
   * The self-attention of one layer as it meets this text.
   *
   * @throws IllegalArgumentException when there is no such layer
   */
  public AttentionLayer attention(Tokens tokens, int layer) {
    AttentionWeights weights = model.layer(layer).attention();
    return new AttentionLayer(layer, hidden(tokens, layer), weights);
  }

  /**
   * The text's meaning as a vector of length 1: the mean of the last hidden state's rows. The
   * cosine of two texts is the dot product of their vectors.
   *
   * <p>Source: Reimers and Gurevych, Sentence-BERT, 2019, section 3.
   */
  public double[] embedding(Tokens tokens) {
    HostTensor last = hidden(tokens, MiniLm.LAYERS);
    double[] mean = new double[MiniLm.HIDDEN];
    for (int i = 0; i < last.size(); i++) {
      mean[i % MiniLm.HIDDEN] += last.get(i);
    }
    // Dividing by the number of rows would cancel here.
    double squares = 0;
    for (double x : mean) {
      squares += x * x;
    }
    for (int i = 0; i < mean.length; i++) {
      mean[i] /= Math.sqrt(squares);
    }
    return mean;
  }

  /** What leaves a layer that {@code hidden} enters. */
  HostTensor next(int layer, HostTensor hidden) {
    EncoderLayer parameters = model.layer(layer);
    AttentionLayer attention = new AttentionLayer(layer, hidden, parameters.attention());
    HostTensor attended =
        parameters
            .attentionNorm()
            .ofSum(run(attention.chain(AttentionLayer.PROJECTED), attention.inputs()), hidden);
    FeedForward network = parameters.feedForward();
    HostTensor wide = FeedForward.gelu(linear(network.up(), attended));
    return parameters.outputNorm().ofSum(linear(network.down(), wide), attended);
  }

  private HostTensor linear(Projection projection, HostTensor x) {
    return run(
        Chain.of(projection.problem(x.shape().dim(0))),
        Map.of("x", x, "weight", projection.weight(), "bias", projection.bias()));
  }

  /** Runs a chain of one output. */
  private HostTensor run(Chain chain, Map<String, HostTensor> inputs) {
    try (PreparedChain prepared = PreparedChain.prepare(session, chain, planner::plan, inputs)) {
      prepared.run();
      return prepared.outputs().values().iterator().next();
    }
  }
}
