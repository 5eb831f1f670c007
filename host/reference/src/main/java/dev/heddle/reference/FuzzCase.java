package dev.heddle.reference;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionOptions.Blocks;
import dev.heddle.core.AttentionOptions.Broadcast;
import dev.heddle.core.AttentionOptions.Dropout;
import dev.heddle.core.AttentionOptions.ScoreStage;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.TensorSpec;
import dev.heddle.reference.OptionValues.Hiding;
import dev.heddle.reference.OptionValues.Size;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A drawn attention problem with its values, all of it data: its text is a word of the command line
 * that makes the very same problem again.
 *
 * @param problem what to compute; lse is wanted
 * @param q values of q
 * @param k values of k
 * @param v values of v
 * @param optionValues values of the options' tensors
 * @param seed of those values
 */
public record FuzzCase(
    AttentionProblem problem,
    FuzzValues q,
    FuzzValues k,
    FuzzValues v,
    OptionValues optionValues,
    long seed) {

  /** Multiply-adds of the largest case, so that thousands of cases are tried in a minute. */
  public static final long MOST_WORK = 1 << 20;

  /** Scores of the largest case. */
  public static final long MOST_SCORES = 1 << 15;

  private static final Pattern TEXT =
      Pattern.compile(
          "(\\w+)/([0-9,]+)/([a-z0-9,-]+)/scale=([^/]+)/([a-z,-]+)/(-?[0-9]+)(?:/([^/]+)/([^/]+))?");
  private static final Pattern WINDOW =
      Pattern.compile("window-([0-9]+|unbounded),([0-9]+|unbounded)-(top-left|bottom-right)");
  private static final int[] AROUND_TILES = {15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 127, 128, 129};

  /**
   * Head dims, few because many drivers take a second to compile a kernel for a pair; those that
   * come first are drawn most.
   */
  private static final int[][] HEAD_DIMS = {
    {64, 64}, {32, 32}, {13, 7}, {40, 24}, {1, 1}, {32, 96}, {128, 128}, {96, 40}
  };

  private static final float[] SOFTCAPS = {0.5f, 2, 30, 1000};

  /** What is kept is at most doubled: the huge values of fp16 would overflow it. */
  private static final float[] DROPPED = {0.1f, 0.25f, 0.5f};

  /**
   * Checks the size. Every mask that hides nothing is {@link BandMask#NONE}; where options have no
   * tensor for it to tell of, their values are the plainest.
   *
   * @throws IllegalArgumentException when it is larger than a case may be
   */
  public FuzzCase {
    problem = problem.mask().isNone() ? problem.withMask(BandMask.NONE) : problem;
    AttentionOptions options = problem.options();
    optionValues =
        new OptionValues(
            options.hidesKeys() ? optionValues.hiding() : Hiding.NOTHING,
            options.bias().isPresent() || options.alibi() || options.sinks()
                ? optionValues.size()
                : Size.NORMAL);
    if (!fits(problem.shape())) {
      throw new IllegalArgumentException(
          "shape "
              + problem.shape()
              + " is too large for a fuzzed case: at most "
              + MOST_SCORES
              + " scores and "
              + MOST_WORK
              + " multiply-adds");
    }
  }

  /** Case number {@code index} of a seed. */
  public static FuzzCase draw(long seed, long index) {
    // The odd constants keep the streams of neighbouring seeds and indices apart.
    SplittableRandom random =
        new SplittableRandom(seed * 0xD1342543DE82EF95L ^ index * 0x9E3779B97F4A7C15L);
    DType dtype = DType.FLOATING.get(random.nextInt(DType.FLOATING.size()));
    AttentionShape shape = drawShape(random);
    AttentionProblem problem =
        AttentionProblem.of(shape)
            .withDtype(dtype)
            .withMask(drawMask(random, shape))
            .withScale(drawScale(random, shape));
    FuzzValues q = drawValues(random);
    FuzzValues k = drawValues(random);
    FuzzValues v = drawValues(random);
    long values = random.nextInt(1_000_000);
    return new FuzzCase(
        problem.withOptions(drawOptions(random)),
        q,
        k,
        v,
        new OptionValues(drawn(random, Hiding.values()), drawn(random, Size.values())),
        values);
  }

  /** None in half of the cases; else each kind in every third, and one at least. */
  private static AttentionOptions drawOptions(SplittableRandom random) {
    AttentionOptions options = AttentionOptions.NONE;
    if (random.nextBoolean()) {
      return options;
    }
    AttentionOption certain = drawn(random, AttentionOption.values());
    for (AttentionOption kind : AttentionOption.values()) {
      if (kind == certain || random.nextInt(3) == 0) {
        options = drawOption(random, kind, options);
      }
    }
    return options;
  }

  private static AttentionOptions drawOption(
      SplittableRandom random, AttentionOption kind, AttentionOptions options) {
    return switch (kind) {
      case KEY_LENGTHS -> options.withKeyLengths(true);
      case MASK -> options.withMask(drawLayout(random));
      case BIAS -> options.withBias(drawLayout(random));
      case ALIBI -> options.withAlibi(true);
      case SOFTCAP -> options.withSoftcap(SOFTCAPS[random.nextInt(SOFTCAPS.length)]);
      case SINKS -> options.withSinks(true);
      case BLOCK_MASK ->
          options.withBlocks(
              new Blocks(
                  drawBlock(random),
                  drawBlock(random),
                  random.nextBoolean(),
                  random.nextBoolean()));
      case DROPOUT ->
          options.withDropout(
              new Dropout(DROPPED[random.nextInt(DROPPED.length)], random.nextLong()));
      case SCORE_OUTPUT -> options.withScoreOutput(drawn(random, ScoreStage.values()));
    };
  }

  private static Broadcast drawLayout(SplittableRandom random) {
    return new Broadcast(random.nextBoolean(), random.nextBoolean(), random.nextInt(3) > 0);
  }

  private static int drawBlock(SplittableRandom random) {
    return random.nextBoolean() ? 16 << random.nextInt(3) : 1 + random.nextInt(40);
  }

  private static <T> T drawn(SplittableRandom random, T[] all) {
    return all[random.nextInt(all.length)];
  }

  private static AttentionShape drawShape(SplittableRandom random) {
    int[] headDims = HEAD_DIMS[random.nextInt(1 + random.nextInt(HEAD_DIMS.length))];
    int headsKv = 1 + random.nextInt(3);
    int[] sizes = {
      1 + random.nextInt(2), headsKv, 1 + random.nextInt(3), drawLength(random), drawLength(random)
    };
    while (true) {
      AttentionShape shape =
          new AttentionShape(
              sizes[0],
              sizes[1] * sizes[2],
              sizes[1],
              sizes[3],
              sizes[4],
              headDims[0],
              headDims[1]);
      if (fits(shape)) {
        return shape;
      }
      // Batch and heads first: lengths decide which tiles are met.
      int at = 0;
      while (at < 3 && sizes[at] == 1) {
        at++;
      }
      if (at == 3 && sizes[4] > sizes[3]) {
        at = 4;
      }
      sizes[at] = Math.ceilDiv(sizes[at], 2);
    }
  }

  private static int drawLength(SplittableRandom random) {
    return switch (random.nextInt(6)) {
      case 0 -> 1;
      case 1 -> 2 + random.nextInt(16);
      case 2, 3 -> AROUND_TILES[random.nextInt(AROUND_TILES.length)];
      default -> 1 + random.nextInt(200);
    };
  }

  private static BandMask drawMask(SplittableRandom random, AttentionShape shape) {
    Alignment alignment = random.nextBoolean() ? Alignment.TOP_LEFT : Alignment.BOTTOM_RIGHT;
    return switch (random.nextInt(4)) {
      case 0 -> BandMask.NONE;
      case 1 -> BandMask.causal(alignment);
      default -> new BandMask(drawSide(random, shape), drawSide(random, shape), alignment);
    };
  }

  private static int drawSide(SplittableRandom random, AttentionShape shape) {
    return switch (random.nextInt(4)) {
      case 0 -> 0;
      case 1 -> BandMask.UNBOUNDED;
      case 2 -> random.nextInt(20);
      default -> random.nextInt(shape.seqlenQ() + shape.seqlenK());
    };
  }

  private static float drawScale(SplittableRandom random, AttentionShape shape) {
    float usual = AttentionProblem.defaultScale(shape.headDim());
    return switch (random.nextInt(8)) {
      case 0 -> 0;
      case 1 -> -usual;
      case 2 -> 1;
      case 3 -> (float) random.nextGaussian();
      default -> usual;
    };
  }

  private static FuzzValues drawValues(SplittableRandom random) {
    return random.nextInt(3) == 0 ? FuzzValues.NORMAL : drawn(random, FuzzValues.values());
  }

  private static boolean fits(AttentionShape shape) {
    double scores =
        (double) shape.batch() * shape.headsQ() * shape.seqlenQ() * (double) shape.seqlenK();
    return scores <= MOST_SCORES
        && scores * ((double) shape.headDim() + shape.headDimV()) <= MOST_WORK;
  }

  /**
   * The case of that text.
   *
   * @throws IllegalArgumentException saying what is wrong with it
   */
  public static FuzzCase parse(String text) {
    Matcher parts = TEXT.matcher(text);
    if (!parts.matches()) {
      throw new IllegalArgumentException("'" + text + "' is no case; one is " + draw(0, 0));
    }
    String[] values = parts.group(5).split(",", -1);
    String[] sizes = parts.group(2).split(",", -1);
    if (values.length != 3 || sizes.length != 7) {
      throw new IllegalArgumentException(
          "'" + text + "' needs seven sizes and the values of q, k and v, as " + draw(0, 0));
    }
    try {
      int[] n = Arrays.stream(sizes).mapToInt(Integer::parseInt).toArray();
      AttentionProblem problem =
          AttentionProblem.of(new AttentionShape(n[0], n[1], n[2], n[3], n[4], n[5], n[6]))
              .withDtype(dtype(parts.group(1)))
              .withMask(mask(parts.group(3)))
              .withScale(Float.parseFloat(parts.group(4)))
              .withOptions(options(parts.group(7)));
      return new FuzzCase(
          problem,
          FuzzValues.named(values[0]),
          FuzzValues.named(values[1]),
          FuzzValues.named(values[2]),
          parts.group(8) == null ? OptionValues.PLAINEST : OptionValues.parse(parts.group(8)),
          Long.parseLong(parts.group(6)));
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException("'" + text + "': " + e.getMessage() + " is no number", e);
    }
  }

  private static AttentionOptions options(@Nullable String text) {
    return text == null ? AttentionOptions.NONE : AttentionOptions.parse(text);
  }

  private static DType dtype(String label) {
    return DType.FLOATING.stream()
        .filter(type -> type.label().equals(label))
        .findFirst()
        .orElseThrow(() ->
            new IllegalArgumentException(
                "'" + label + "' is no storage type; fp32, fp16 and bf16 are"));
  }

  private static BandMask mask(String text) {
    Matcher window = WINDOW.matcher(text);
    if (window.matches()) {
      return new BandMask(
          side(window.group(1)),
          side(window.group(2)),
          window.group(3).equals(Alignment.TOP_LEFT.label())
              ? Alignment.TOP_LEFT
              : Alignment.BOTTOM_RIGHT);
    }
    return switch (text) {
      case "none" -> BandMask.NONE;
      case "causal-top-left" -> BandMask.causal(Alignment.TOP_LEFT);
      case "causal-bottom-right" -> BandMask.causal(Alignment.BOTTOM_RIGHT);
      default ->
          throw new IllegalArgumentException(
              "'"
                  + text
                  + "' is no mask; none, causal-top-left and window-5,unbounded-bottom-right are");
    };
  }

  private static int side(String text) {
    return text.equals("unbounded") ? BandMask.UNBOUNDED : Integer.parseInt(text);
  }

  /** Storage type of q, k, v and out. */
  public DType dtype() {
    return problem.dtype();
  }

  /** The input tensors, new ones at every call. */
  public Map<String, HostTensor> tensors() {
    AttentionShape shape = problem.shape();
    Map<String, HostTensor> tensors = new HashMap<>();
    tensors.put("q", q.draw(shape.q(), dtype(), 3 * seed));
    tensors.put("k", k.draw(shape.k(), dtype(), 3 * seed + 1));
    tensors.put("v", v.draw(shape.v(), dtype(), 3 * seed + 2));
    for (TensorSpec spec : problem.inputs()) {
      tensors.computeIfAbsent(spec.name(), name -> optionValues.draw(spec, shape.seqlenK(), seed));
    }
    return tensors;
  }

  /**
   * Cases that are simpler in one way each, the boldest first: without an option, without mask,
   * sizes halved or less by one, plainer values and options. No chain of them is endless.
   */
  public List<FuzzCase> simpler() {
    Set<FuzzCase> simpler = new LinkedHashSet<>();
    AttentionOptions options = problem.options();
    if (options.kinds().size() > 1) {
      simpler.add(with(problem.withOptions(AttentionOptions.NONE)));
    }
    for (AttentionOption kind : options.kinds()) {
      simpler.add(with(problem.withOptions(options.without(kind))));
    }
    AttentionShape s = problem.shape();
    if (!problem.mask().isNone()) {
      simpler.add(with(problem.withMask(BandMask.NONE)));
    }
    for (UnaryOperator<Integer> smaller : SMALLER) {
      simpler.add(resized(smaller.apply(s.batch()), s.headsQ(), s.headsKv(), s.seqlenQ(), s));
      int group = s.groupSize();
      int headsKv = smaller.apply(s.headsKv());
      simpler.add(resized(s.batch(), headsKv * group, headsKv, s.seqlenQ(), s));
      int smallerGroup = smaller.apply(group);
      simpler.add(resized(s.batch(), s.headsKv() * smallerGroup, s.headsKv(), s.seqlenQ(), s));
      simpler.add(resized(s.batch(), s.headsQ(), s.headsKv(), smaller.apply(s.seqlenQ()), s));
      for (int[] last :
          new int[][] {
            {smaller.apply(s.seqlenK()), s.headDim(), s.headDimV()},
            {s.seqlenK(), smaller.apply(s.headDim()), s.headDimV()},
            {s.seqlenK(), s.headDim(), smaller.apply(s.headDimV())}
          }) {
        simpler.add(
            with(
                new AttentionShape(
                    s.batch(), s.headsQ(), s.headsKv(), s.seqlenQ(), last[0], last[1], last[2])));
      }
    }
    for (FuzzValues plainer : FuzzValues.values()) {
      if (plainer.compareTo(q) < 0) {
        simpler.add(new FuzzCase(problem, plainer, k, v, optionValues, seed));
      }
      if (plainer.compareTo(k) < 0) {
        simpler.add(new FuzzCase(problem, q, plainer, v, optionValues, seed));
      }
      if (plainer.compareTo(v) < 0) {
        simpler.add(new FuzzCase(problem, q, k, plainer, optionValues, seed));
      }
    }
    if (problem.softmaxScale() != 1) {
      simpler.add(with(problem.withScale(1)));
    }
    simpler.addAll(narrowerMasks());
    simpler.addAll(plainerOptions());
    simpler.remove(this);
    return new ArrayList<>(simpler);
  }

  private static final List<UnaryOperator<Integer>> SMALLER =
      List.of(n -> 1, n -> Math.ceilDiv(n, 2), n -> Math.max(1, n - 1));

  private List<FuzzCase> narrowerMasks() {
    BandMask mask = problem.mask();
    List<FuzzCase> masks = new ArrayList<>();
    for (UnaryOperator<Integer> smaller : List.<UnaryOperator<Integer>>of(n -> 0, n -> n / 2)) {
      if (mask.left() != BandMask.UNBOUNDED) {
        masks.add(
            with(
                problem.withMask(
                    new BandMask(smaller.apply(mask.left()), mask.right(), mask.alignment()))));
      }
      if (mask.right() != BandMask.UNBOUNDED) {
        masks.add(
            with(
                problem.withMask(
                    new BandMask(mask.left(), smaller.apply(mask.right()), mask.alignment()))));
      }
    }
    return masks;
  }

  private List<FuzzCase> plainerOptions() {
    AttentionOptions options = problem.options();
    List<FuzzCase> plainer = new ArrayList<>();
    Broadcast keys = new Broadcast(false, false, false);
    List<AttentionOptions> others = new ArrayList<>();
    options.mask().ifPresent(layout -> others.add(options.withMask(keys)));
    options.bias().ifPresent(layout -> others.add(options.withBias(keys)));
    options.blocks().ifPresent(layout -> others.add(options.withBlocks(ONE_SCORE)));
    if (options.softcap() != 0) {
      others.add(options.withSoftcap(1));
    }
    if (!options.dropout().isNone()) {
      others.add(options.withDropout(new Dropout(0.5f, 0)));
    }
    options.scoreOutput().ifPresent(stage -> others.add(options.withScoreOutput(ScoreStage.RAW)));
    others.forEach(other -> plainer.add(with(problem.withOptions(other))));
    for (Hiding hiding : Hiding.values()) {
      if (hiding.compareTo(optionValues.hiding()) < 0) {
        plainer.add(with(new OptionValues(hiding, optionValues.size())));
      }
    }
    for (Size size : Size.values()) {
      if (size.compareTo(optionValues.size()) < 0) {
        plainer.add(with(new OptionValues(optionValues.hiding(), size)));
      }
    }
    return plainer;
  }

  private static final Blocks ONE_SCORE = new Blocks(1, 1, false, false);

  private FuzzCase resized(int batch, int headsQ, int headsKv, int seqlenQ, AttentionShape s) {
    return with(
        new AttentionShape(
            batch, headsQ, headsKv, seqlenQ, s.seqlenK(), s.headDim(), s.headDimV()));
  }

  private FuzzCase with(AttentionShape shape) {
    return with(problem.withShape(shape));
  }

  private FuzzCase with(AttentionProblem other) {
    return new FuzzCase(other, q, k, v, optionValues, seed);
  }

  private FuzzCase with(OptionValues other) {
    return new FuzzCase(problem, q, k, v, other, seed);
  }

  /**
   * As {@code fp32/1,1,1,7,13,13,7/causal-top-left/scale=0.5/normal,rising,one-hot/17}, and where
   * there are options, they and their values, as {@code /key_lengths+bias_k/few,huge}.
   */
  @Override
  public String toString() {
    return dtype().label()
        + "/"
        + problem.shape()
        + "/"
        + problem.mask().toString().replace(' ', '-')
        + "/scale="
        + problem.softmaxScale()
        + "/"
        + q.label()
        + ","
        + k.label()
        + ","
        + v.label()
        + "/"
        + seed
        + (problem.options().isNone() ? "" : "/" + problem.options() + "/" + optionValues);
  }
}
