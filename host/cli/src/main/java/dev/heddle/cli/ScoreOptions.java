package dev.heddle.cli;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Blocks;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionOptions.Dropout;
import dev.heddle.core.AttentionOptions.ScoreStage;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import dev.heddle.lab.files.FiniteValues;
import dev.heddle.lab.files.NpyFile;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** What attention does to its scores beyond scale and band, on tensors from files. */
final class ScoreOptions {
  private static final List<DType> INT32 = List.of(DType.INT32);
  private static final List<DType> BOOL = List.of(DType.BOOL);
  private static final List<DType> FP32 = List.of(DType.FP32);

  @Option(
      names = "--key-lengths",
      paramLabel = "FILE",
      description = "Number of keys of each sequence, .npy, int32 [B]")
  private @Nullable Path keyLengths;

  @Option(
      names = "--attn-mask",
      paramLabel = "FILE",
      description =
          "Which keys a query sees, .npy: bool (true is visible) or float32 (added to the scores),"
              + " [B or 1, H_Q or 1, SEQLEN_Q or 1, SEQLEN_K], or [SEQLEN_Q or 1, SEQLEN_K]")
  private @Nullable Path mask;

  @Option(
      names = "--block-mask",
      paramLabel = "FILE",
      description =
          "Which blocks of scores are computed, .npy, bool [B or 1, H_Q or 1, SEQLEN_Q / ROWS,"
              + " SEQLEN_K / KEYS], rounded up")
  private @Nullable Path blockMask;

  @Option(
      names = "--block-size",
      paramLabel = "ROWS,KEYS",
      description = "With --block-mask: queries and keys of a block")
  private @Nullable String blockSize;

  @Option(
      names = "--alibi-slopes",
      paramLabel = "FILE",
      description = "What a score loses per key of distance from the diagonal, .npy, float32 [H_Q]")
  private @Nullable Path alibiSlopes;

  @Option(names = "--softcap", paramLabel = "X", description = "Bounds scores: X tanh(score / X)")
  private @Nullable Float softcap;

  @Option(
      names = "--sinks",
      paramLabel = "FILE",
      description = "A logit per head that takes weight and has no value, .npy, float32 [H_Q]")
  private @Nullable Path sinks;

  @Option(
      names = "--dropout",
      paramLabel = "P[,SEED]",
      description = "Drop probabilities with probability P, by Philox; SEED is 0 unless said")
  private @Nullable String dropout;

  @Option(
      names = "--scores",
      paramLabel = "FILE",
      description = "Where the scores of a stage go, .npy, [B, H_Q, SEQLEN_Q, SEQLEN_K]")
  private @Nullable Path scores;

  @Option(
      names = "--scores-stage",
      paramLabel = "STAGE",
      description =
          "With --scores: raw (the scaled product), softcapped, biased or probabilities. Default:"
              + " probabilities")
  private @Nullable String scoresStage;

  /** The files that are read. */
  Stream<Path> inputs() {
    return Stream.of(keyLengths, mask, blockMask, alibiSlopes, sinks).filter(Objects::nonNull);
  }

  /** The file that the scores of a stage go to. */
  Optional<Path> scores() {
    return Optional.ofNullable(scores);
  }

  /**
   * The options for a problem of these sizes.
   *
   * @param tensors where what the files hold is added
   * @throws IllegalArgumentException naming the option or the file that can't be used
   */
  AttentionOptions options(AttentionShape sizes, Map<String, HostTensor> tensors) {
    if ((blockMask == null) != (blockSize == null)) {
      throw new IllegalArgumentException("--block-mask and --block-size go together");
    }
    if (scoresStage != null && scores == null) {
      throw new IllegalArgumentException("--scores-stage goes with --scores");
    }
    AttentionOptions options = AttentionOptions.NONE;
    if (softcap != null) {
      if (softcap == 0) {
        throw new IllegalArgumentException(
            "--softcap 0: a number above 0 is needed; leave it out for none");
      }
      options = options.withSoftcap(softcap);
    }
    if (dropout != null) {
      options = options.withDropout(dropout(dropout));
    }
    if (scores != null) {
      options = options.withScoreOutput(stage());
    }
    if (keyLengths != null) {
      HostTensor lengths = read(keyLengths, INT32, Shape.of(sizes.batch()));
      tensors.put("key_lengths", lengths);
      options = options.withKeyLengths(true);
    }
    if (alibiSlopes != null) {
      tensors.put("alibi_slopes", finite(alibiSlopes, Shape.of(sizes.headsQ())));
      options = options.withAlibi(true);
    }
    if (sinks != null) {
      tensors.put("sinks", finite(sinks, Shape.of(sizes.headsQ())));
      options = options.withSinks(true);
    }
    if (mask != null) {
      HostTensor values = NpyFile.read(mask, List.of(DType.BOOL, DType.FP32));
      Shape shape = fourAxes(mask, values.shape());
      Broadcast layout =
          new Broadcast(
              spans(mask, shape, 0, sizes.batch()),
              spans(mask, shape, 1, sizes.headsQ()),
              spans(mask, shape, 2, sizes.seqlenQ()));
      requireDim(mask, shape, 3, sizes.seqlenK());
      boolean additive = values.dtype() == DType.FP32;
      if (additive) {
        requireBias(mask, values);
      }
      tensors.put(additive ? "bias" : "mask", values.reshape(shape));
      options = additive ? options.withBias(layout) : options.withMask(layout);
    }
    if (blockMask != null && blockSize != null) {
      int[] block = blockSize(blockSize);
      Blocks whole = new Blocks(block[0], block[1], false, false);
      HostTensor values = NpyFile.read(blockMask, BOOL);
      Shape shape = fourAxes(blockMask, values.shape());
      requireDim(blockMask, shape, 2, Math.ceilDiv(sizes.seqlenQ(), whole.rows()));
      requireDim(blockMask, shape, 3, Math.ceilDiv(sizes.seqlenK(), whole.keys()));
      tensors.put("block_mask", values.reshape(shape));
      options =
          options.withBlocks(
              new Blocks(
                  whole.rows(),
                  whole.keys(),
                  spans(blockMask, shape, 0, sizes.batch()),
                  spans(blockMask, shape, 1, sizes.headsQ())));
    }
    return options;
  }

  private static HostTensor read(Path file, List<DType> types, Shape wanted) {
    HostTensor values = NpyFile.read(file, types);
    if (!values.shape().equals(wanted)) {
      throw new IllegalArgumentException(
          file + " has shape " + values.shape() + "; this problem needs " + wanted);
    }
    return values;
  }

  private static HostTensor finite(Path file, Shape wanted) {
    HostTensor values = read(file, FP32, wanted);
    FiniteValues.require(file, "element ", values);
    return values;
  }

  /** -inf hides a key; NaN and +inf would end in NaN. */
  private static void requireBias(Path file, HostTensor values) {
    float[] elements = values.floats();
    for (int i = 0; i < elements.length; i++) {
      if (Float.isNaN(elements[i]) || elements[i] == Float.POSITIVE_INFINITY) {
        throw new IllegalArgumentException(
            "%s: element %s is %s; finite numbers and -inf, which hides a key, are needed"
                .formatted(file, values.shape().position(i), elements[i]));
      }
    }
  }

  /** A matrix is one for all sequences and heads. */
  private static Shape fourAxes(Path file, Shape shape) {
    return switch (shape.dims().size()) {
      case 4 -> shape;
      case 2 -> Shape.of(1, 1, shape.dim(0), shape.dim(1));
      default ->
          throw new IllegalArgumentException(
              file
                  + " has shape "
                  + shape
                  + "; 4 dimensions are needed, or 2 for one matrix for all heads");
    };
  }

  private static boolean spans(Path file, Shape shape, int axis, int size) {
    if (shape.dim(axis) != 1) {
      requireDim(file, shape, axis, size, " (or 1)");
    }
    return shape.dim(axis) != 1;
  }

  private static void requireDim(Path file, Shape shape, int axis, int size) {
    requireDim(file, shape, axis, size, "");
  }

  private static void requireDim(Path file, Shape shape, int axis, int size, String otherwise) {
    if (shape.dim(axis) != size) {
      throw new IllegalArgumentException(
          "%s has shape %s; dimension %d must be %d here%s, not %d"
              .formatted(file, shape, axis, size, otherwise, shape.dim(axis)));
    }
  }

  private static int[] blockSize(String text) {
    String where = "--block-size " + text;
    int[] sizes =
        Arrays.stream(text.split(",", -1)).mapToInt(part -> Numbers.integer(where, part)).toArray();
    if (sizes.length != 2) {
      throw new IllegalArgumentException(where + ": two sizes are needed, as in 64,64");
    }
    return sizes;
  }

  private static Dropout dropout(String text) {
    String[] parts = text.split(",", -1);
    if (parts.length > 2) {
      throw new IllegalArgumentException(
          "--dropout " + text + ": a probability and perhaps a seed are needed, as in 0.1,42");
    }
    try {
      long seed = parts.length == 2 ? Numbers.whole("--dropout " + text, parts[1]) : 0;
      return new Dropout(Float.parseFloat(parts[0].strip()), seed);
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException("--dropout " + text + ": '" + parts[0] + "' is no number");
    }
  }

  private ScoreStage stage() {
    if (scoresStage == null) {
      return ScoreStage.PROBABILITIES;
    }
    return Arrays.stream(ScoreStage.values())
        .filter(stage -> stage.label().equals(scoresStage.toLowerCase(Locale.ROOT)))
        .findFirst()
        .orElseThrow(() ->
            new IllegalArgumentException(
                "--scores-stage "
                    + scoresStage
                    + ": no such stage; raw, softcapped, biased and probabilities are"));
  }
}
