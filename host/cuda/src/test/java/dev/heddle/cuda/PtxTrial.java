package dev.heddle.cuda;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Blocks;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionOptions.Dropout;
import dev.heddle.core.AttentionOptions.ScoreStage;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.UpdateRule;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.RotaryEmbedding.Pairing;
import dev.heddle.reference.KernelTrial;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;

/**
 * What a kernel is tried on. Rows, keys and heads end in the middle of a block, and query heads
 * share keys.
 */
final class PtxTrial {
  private static final AttentionProblem ATTENTION =
      AttentionProblem.of(new AttentionShape(1, 4, 2, 150, 500, 64, 64))
          .withMask(new BandMask(400, 9, BandMask.Alignment.BOTTOM_RIGHT));

  /**
   * Several tiles of keys, more than there are stages: at the edges of the band, all visible, and
   * beyond it.
   */
  static final PtxTrial BAND = new PtxTrial("band", ATTENTION, inputs -> {});

  /** Scores so far apart that the largest of a row keeps growing from tile to tile. */
  static final PtxTrial STEEP = new PtxTrial("steep", ATTENTION.withScale(1.5f), inputs -> {});

  /** The sign of the scale goes into the queries. */
  static final PtxTrial NEGATIVE =
      new PtxTrial("negative", ATTENTION.withScale(-0.125f), inputs -> {});

  /** A key at an edge of the band has infinite values; some rows of its block don't see it. */
  static final PtxTrial INFINITE =
      new PtxTrial("infinite", ATTENTION, PtxTrial::makeValuesInfinite);

  /** Rows that see no key: their block has nothing to walk over. */
  static final PtxTrial BLIND =
      new PtxTrial(
          "blind",
          AttentionProblem.of(new AttentionShape(1, 1, 1, 300, 40, 64, 64))
              .withMask(new BandMask(8, 8, BandMask.Alignment.TOP_LEFT)),
          inputs -> {});

  /** Few queries and several splits, in which every warp walks over several tiles. */
  static final PtxTrial DECODING =
      new PtxTrial(
          "decoding",
          AttentionProblem.of(new AttentionShape(2, 8, 2, 3, 700, 64, 64))
              .withMask(new BandMask(500, 0, BandMask.Alignment.BOTTOM_RIGHT)),
          inputs -> {});

  /** Decoding where the second sequence ends within a split and has none after it. */
  static final PtxTrial KEY_LENGTHS =
      new PtxTrial(
          "key lengths",
          AttentionProblem.of(new AttentionShape(2, 8, 2, 3, 700, 64, 64))
              .withMask(new BandMask(500, 0, BandMask.Alignment.BOTTOM_RIGHT))
              .withOptions(AttentionOptions.NONE.withKeyLengths(true)),
          PtxTrial::setKeyLengths);

  private static final AttentionProblem WITH_OPTIONS =
      AttentionProblem.of(new AttentionShape(2, 2, 1, 70, 200, 64, 64))
          .withMask(new BandMask(150, 9, BandMask.Alignment.BOTTOM_RIGHT))
          .withOptions(
              AttentionOptions.NONE
                  .withKeyLengths(true)
                  .withMask(Broadcast.FULL)
                  .withBias(Broadcast.MATRIX)
                  .withAlibi(true)
                  .withSoftcap(2)
                  .withSinks(true)
                  .withBlocks(new Blocks(16, 24, false, false))
                  .withDropout(new Dropout(0.3f, 0x0123_4567_89ab_cdefL)));

  /**
   * Every option that needs no scores in memory. One key has values that are no numbers, and is
   * hidden from every query by the mask.
   */
  static final PtxTrial OPTIONS = new PtxTrial("options", WITH_OPTIONS, PtxTrial::setOptions);

  /** The same with the scores as an output. */
  static final PtxTrial BIASED =
      new PtxTrial(
          "biased",
          WITH_OPTIONS.withOptions(WITH_OPTIONS.options().withScoreOutput(ScoreStage.BIASED)),
          PtxTrial::setOptions);

  /** More steps than there are stages; the last of them uses a tile that results pass through. */
  static final PtxTrial LINEAR =
      new PtxTrial("linear", new LinearProblem(150, 264, 136, true, DType.FP32), inputs -> {});

  /** Rows of an odd number of elements. */
  static final PtxTrial HEADS =
      new PtxTrial("heads", new HeadsTranspose(2, 13, 5, 33, DType.FP32), inputs -> {});

  static final PtxTrial APPEND =
      new PtxTrial("append", new CacheAppend(3, 2, 37, 5, 33, DType.FP32), inputs -> {});

  /** A part of the head, and tokens that end in the middle of a block. */
  static final PtxTrial ROTARY =
      new PtxTrial(
          "rotary",
          new RotaryEmbedding(2, 3, 19, 45, 38, Pairing.HALF_SPLIT, 30, DType.FP32),
          inputs -> {});

  /** Columns that end in the middle of a block, and query heads that share a state. */
  static final PtxTrial RECURRENT =
      new PtxTrial(
          "recurrent",
          LinearAttention.of(new AttentionShape(2, 4, 2, 13, 13, 16, 37), UpdateRule.GATED_DELTA)
              .withInitialState(true),
          inputs -> {});

  private final String name;
  private final Operation operation;
  private final Consumer<Map<String, HostTensor>> change;
  private final Map<DType, KernelTrial> trials = new ConcurrentHashMap<>();

  private PtxTrial(String name, Operation operation, Consumer<Map<String, HostTensor>> change) {
    this.name = name;
    this.operation = operation;
    this.change = change;
  }

  /** The operation in a storage type. */
  Operation operation(DType dtype) {
    return operation.withDtype(dtype);
  }

  /** The trial in a storage type. */
  KernelTrial in(DType dtype) {
    return trials.computeIfAbsent(dtype, type -> KernelTrial.of(operation(type), change));
  }

  @Override
  public String toString() {
    return name;
  }

  private static HostTensor input(Map<String, HostTensor> inputs, String name) {
    return Optional.ofNullable(inputs.get(name)).orElseThrow();
  }

  private static void setKeyLengths(Map<String, HostTensor> inputs) {
    HostTensor keyLengths = input(inputs, "key_lengths");
    keyLengths.set(0, input(inputs, "k").shape().dim(2));
    keyLengths.set(1, 130);
  }

  private static void setOptions(Map<String, HostTensor> inputs) {
    setKeyLengths(inputs);
    HostTensor mask = input(inputs, "mask");
    HostTensor bias = input(inputs, "bias");
    HostTensor blocks = input(inputs, "block_mask");
    HostTensor v = input(inputs, "v");
    int keys = mask.shape().rowLength();
    int width = v.shape().rowLength();
    int hidden = 61;
    for (int e = 0; e < mask.size(); e++) {
      mask.set(e, e % keys == hidden || e % 7 == 3 ? 0 : 1);
    }
    for (int e = 0; e < bias.size(); e += 11) {
      bias.set(e, Float.NEGATIVE_INFINITY);
    }
    for (int e = 0; e < blocks.size(); e++) {
      blocks.set(e, e % 4 == 2 ? 0 : 1);
    }
    for (int row = hidden; row < v.size() / width; row += keys) {
      for (int d = 0; d < width; d++) {
        v.set(row * width + d, Float.NaN);
      }
    }
  }

  private static void makeValuesInfinite(Map<String, HostTensor> inputs) {
    HostTensor v = input(inputs, "v");
    int width = v.shape().rowLength();
    int key = 60;
    for (int d = 0; d < width; d++) {
      v.set(key * width + d, d % 3 == 0 ? Float.NEGATIVE_INFINITY : Float.POSITIVE_INFINITY);
    }
  }
}
