package dev.heddle.model;

/**
 * The parameters of one transformer encoder layer.
 *
 * @param attention self-attention's projections
 * @param attentionNorm normalises the hidden state plus what attention gives
 * @param feedForward the position-wise network
 * @param outputNorm normalises that plus what the network gives
 */
public record EncoderLayer(
    AttentionWeights attention,
    LayerNorm attentionNorm,
    FeedForward feedForward,
    LayerNorm outputNorm) {}
