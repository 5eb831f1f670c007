package dev.heddle.cli;

import dev.heddle.core.AttentionOptions;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.DType;
import dev.heddle.core.GeneratedCode;
import dev.heddle.lab.Comparison;
import dev.heddle.lab.ComparisonJson;
import dev.heddle.lab.Installation;
import dev.heddle.lab.Measurement;
import dev.heddle.lab.Peer;
import dev.heddle.lab.Protocol;
import dev.heddle.lab.Trial;
import dev.heddle.lab.Workload;
import dev.heddle.lab.files.AtomicFileGroup;
import dev.heddle.reference.FlashAttentionPolicy;
import dev.heddle.reference.OptionValues.Hiding;
import dev.heddle.reference.Verdict;
import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code heddle compare}. */
@Command(
    name = "compare",
    description = {
      "Runs one attention problem on every device and algorithm, judges each result against a"
          + " double-precision reference, and times those that pass.",
      "By default the problem is the self-attention of one layer of all-MiniLM-L6-v2, projections"
          + " included, on a sentence."
    },
    mixinStandardHelpOptions = true,
    footerHeading = "%nExamples:%n",
    footer = {
      "  heddle compare --text \"Warp and weft.\" --layer 3",
      "  heddle compare --shape 1,4,4,2048,2048,64,64 --causal",
      "  heddle compare --shape 1,4,4,2048,2048,64,64 --dtype fp16",
      "  heddle compare --shape 1,4,4,1024,1024,64,64 --stage softmax",
      "  heddle compare --shape 2,4,4,1024,1024,64,64 --options key_lengths+alibi+softcap_30",
      "  heddle compare --shape 1,1,1,256,256,64,64 --backend tornado --show-code",
      "  heddle compare --shape 2,8,2,1,4096,128,128 --backend vector --algorithm flash",
      "  heddle compare --shape 1,4,4,512,512,64,64 --window 128,0,bottom-right --json out.json"
    })
final class CompareCommand implements Callable<Integer> {
  private static final String SENTENCE =
      "A heddle lifts some of the warp threads so that the weft can pass.";

  @Option(
      names = "--text",
      paramLabel = "TEXT",
      description = "The sentence that the model reads. Default: \"" + SENTENCE + "\"")
  private @Nullable String text;

  @Option(
      names = "--layer",
      paramLabel = "N",
      description = "The model's layer, 0 to 5. Default: 0")
  private @Nullable Integer layer;

  @Option(
      names = "--shape",
      paramLabel = "B,HQ,HKV,SQ,SK,D,DV",
      description =
          "Instead of the model: batch, query heads, key-value heads, queries, keys, head dim, value"
              + " head dim, on normal random numbers.")
  private @Nullable String shape;

  @Option(
      names = "--stage",
      paramLabel = "STAGE",
      description =
          "With --shape: only one of the three kernels of staged attention: scores, softmax or"
              + " values.")
  private AttentionStage.@Nullable Stage stage;

  @Option(
      names = "--options",
      paramLabel = "A+B+...",
      description =
          "With --shape: what is done to the scores: key_lengths, mask_LAYOUT and bias_LAYOUT (the"
              + " axes that they have, as hqk), blocks_RxK, alibi, softcap_X, sinks,"
              + " dropout_P_SEED, scores_STAGE, joined by +.")
  private @Nullable String options;

  @Option(
      names = "--hide",
      paramLabel = "KEYS",
      description =
          "With --options: which keys lengths and masks hide: nothing, few (one in eight), most"
              + " (seven in eight) or rows. Default: few")
  private @Nullable Hiding hide;

  @Option(
      names = "--seed",
      paramLabel = "S",
      description = "Seed of the random numbers. Default: 0")
  private @Nullable Long seed;

  @Mixin private MaskOptions mask = new MaskOptions();
  @Mixin private DtypeOption type = new DtypeOption();
  @Mixin private DeviceOptions devices = new DeviceOptions();

  @Option(
      names = "--show-code",
      description =
          "Also print the code that a compiler made for the device of each kernel written in Java,"
              + " beside the name of its hand-written sibling.")
  private boolean showCode;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Also write the results, with every measure and their provenance, as JSON.")
  private @Nullable Path json;

  @Option(
      names = "--rounds",
      paramLabel = "N",
      description =
          "Divide the time in which runs are counted into rounds, each with a warm-up. Default: 1")
  private int rounds = Protocol.STANDARD.rounds();

  @Option(
      names = "--runs",
      paramLabel = "N",
      description = "Most runs that a round counts. Default: 2000")
  private int runs = Protocol.STANDARD.mostRuns();

  @Option(
      names = "--peer",
      paramLabel = "PROGRAM",
      description =
          "With --shape: another program that times the same problem after each round, such as"
              + " bench/peers/torch_sdpa; its times go to the JSON.")
  private @Nullable Path peer;

  @CommandLine.Spec private CommandLine.Model.@Nullable CommandSpec spec;

  @Override
  public Integer call() {
    CommandLine commandLine = Objects.requireNonNull(spec).commandLine();
    BandMask band = mask.mask();
    if (peer != null && (shape == null || stage != null || options != null)) {
      throw new IllegalArgumentException(
          "--peer goes with --shape and neither --stage nor --options: a peer times one plain"
              + " attention problem");
    }
    if (json != null) {
      AtomicFileGroup.requireWritable(json);
    }
    Protocol protocol = Protocol.inRounds(rounds, runs);
    Comparison comparison;
    try (Peer asked = peer == null ? null : Peer.start(peer);
        Progress progress = new Progress(commandLine.getErr())) {
      progress.accept("preparing the problem");
      comparison =
          Comparison.run(
              Installation.find(),
              workload(band),
              devices.selection(),
              devices.algorithm(),
              new FlashAttentionPolicy(),
              protocol,
              Optional.ofNullable(asked),
              progress);
    }
    print(comparison, commandLine.getOut());
    if (showCode) {
      printCode(comparison, commandLine.getOut());
    }
    if (json != null) {
      byte[] document = ComparisonJson.write(comparison);
      try (AtomicFileGroup files = new AtomicFileGroup()) {
        files.add(json, channel -> channel.write(ByteBuffer.wrap(document)));
        files.commit();
      }
    }
    return exitCode(comparison.trials()).code();
  }

  private Workload workload(BandMask band) {
    DType dtype = type.dtype().orElse(DType.FP32);
    if (shape == null) {
      if (seed != null || stage != null || options != null) {
        throw new IllegalArgumentException(
            (seed != null ? "--seed" : stage != null ? "--stage" : "--options")
                + " goes with --shape: the model is run whole");
      }
      return Workload.miniLm(
          text == null ? SENTENCE : text, layer == null ? 0 : layer, band, dtype);
    }
    if (text != null || layer != null) {
      throw new IllegalArgumentException(
          "--shape excludes --text and --layer: it is random numbers instead of the model");
    }
    AttentionShape sizes = Numbers.shape(shape);
    AttentionProblem problem =
        AttentionProblem.of(sizes)
            .withMask(band)
            .withDtype(dtype)
            .withOptions(options == null ? AttentionOptions.NONE : AttentionOptions.parse(options));
    if (hide != null && !problem.options().hidesKeys()) {
      throw new IllegalArgumentException(
          "--hide goes with --options that hide keys: key_lengths, mask, bias or blocks");
    }
    Hiding hiding = hide == null ? Hiding.FEW : hide;
    long start = seed == null ? 0 : seed;
    return stage == null
        ? Workload.random(problem, hiding, start)
        : Workload.random(new AttentionStage(stage, problem), hiding, start);
  }

  static ExitCode exitCode(List<Trial> trials) {
    if (trials.stream().anyMatch(Trial::failed)) {
      return ExitCode.FAILED;
    }
    return trials.stream().anyMatch(Trial::passed) ? ExitCode.PASSED : ExitCode.NOTHING_RAN;
  }

  private static void print(Comparison comparison, PrintWriter out) {
    out.println(comparison.workload().description());
    comparison.workload().note().ifPresent(out::println);
    out.println(
        "judged by "
            + comparison.policy().name()
            + ": "
            + comparison.policy().derivation()
            + (comparison.sampled()
                ? "; values on a sample of the rows, NaN and infinities on all"
                : ""));
    out.println();
    Table table =
        new Table()
            .column("DEVICE", Table.Align.LEFT)
            .column("KERNEL", Table.Align.LEFT)
            .column("VERDICT", Table.Align.LEFT)
            .column("MAX|ERR|", Table.Align.RIGHT)
            .column("OF BOUND", Table.Align.RIGHT)
            .column("TIME", Table.Align.RIGHT)
            .column("ON DEVICE", Table.Align.RIGHT)
            .column("GFLOP/S", Table.Align.RIGHT)
            .column("OF PEAK", Table.Align.RIGHT);
    for (Trial trial : comparison.trials()) {
      Optional<Verdict.Judged> worst = trial.verdict().worst();
      table.row(
          trial.device().id() + " " + trial.device().displayName(),
          trial.kernel(),
          trial.verdict().label(),
          worst.map(w -> format("%.2e", w.measures().maxAbs())).orElse("-"),
          worst.map(w -> format("%.2f", w.errorRatio())).orElse("-"),
          time(trial),
          deviceTime(trial),
          rate(comparison.flopsPerSecond(trial)),
          optional("%.0f%%", comparison.peakShare(trial), 100));
    }
    table.print(out);
    out.println();
    for (Trial trial : comparison.trials()) {
      trial
          .verdict()
          .reason()
          .ifPresent(reason ->
              out.println(
                  trial.device().id()
                      + " "
                      + trial.kernel()
                      + " "
                      + trial.verdict().label()
                      + ": "
                      + reason));
    }
    comparison.missing().forEach((id, missing) -> out.println(Text.missing(id, missing)));
    if (comparison.trials().stream().anyMatch(trial -> trial.measurement().isPresent())) {
      out.println(
          "time: median, submission to completion, transfers apart; on device: inside kernels, by its"
              + " own clock");
      peaks(comparison).ifPresent(out::println);
    }
  }

  /** Each code once: the steps of a chain share kernels. */
  private static void printCode(Comparison comparison, PrintWriter out) {
    Set<GeneratedCode> printed = new HashSet<>();
    for (Trial trial : comparison.trials()) {
      for (GeneratedCode code : trial.code()) {
        if (printed.add(code)) {
          out.println();
          out.println(
              "%s %s, compiled to %s in %s%s"
                  .formatted(
                      trial.device().id(),
                      code.kernel(),
                      code.language(),
                      Text.time(code.compileNs()),
                      code.sibling().map(file -> "; hand-written: " + file).orElse("")));
          out.println();
          out.println(code.text().strip());
        }
      }
    }
    if (printed.isEmpty()) {
      out.println();
      out.println(
          "--show-code: no kernel that ran was compiled from Java; hand-written ones are in cl/ and"
              + " cuda/");
    }
  }

  /** What the shares are of, where there are any. */
  private static Optional<String> peaks(Comparison comparison) {
    List<String> peaks = new ArrayList<>();
    comparison
        .hostPeakFlops()
        .ifPresent(peak -> peaks.add(format("%.0f GFLOP/s", peak * 1e-9) + " on the host's cores"));
    comparison
        .ownPeakFlops()
        .forEach((id, peak) -> peaks.add(format("%.0f GFLOP/s", peak * 1e-9) + " on " + id));
    return peaks.isEmpty()
        ? Optional.empty()
        : Optional.of(
            "of peak: on device, else time, over the fp32 FMA rate measured in this run, "
                + String.join(", ", peaks));
  }

  /** The median; for what passed on an emulator, whose time says nothing, that it is one. */
  private static String time(Trial trial) {
    String untimed = trial.passed() && trial.device().emulated() ? "emulated" : "-";
    return trial.measurement().map(Measurement::medianNs).map(Text::time).orElse(untimed);
  }

  /** The median inside kernels, of a device that has a clock of its own. */
  private static String deviceTime(Trial trial) {
    OptionalLong ns =
        trial.measurement().map(Measurement::deviceMedianNs).orElseGet(OptionalLong::empty);
    return ns.isPresent() ? Text.time(ns.getAsLong()) : "-";
  }

  /** GFLOP/s with three digits or the whole part. */
  private static String rate(OptionalDouble flops) {
    double gflops = flops.orElse(0) * 1e-9;
    return optional(gflops < 10 ? "%.2f" : gflops < 100 ? "%.1f" : "%.0f", flops, 1e-9);
  }

  private static String optional(String format, OptionalDouble value, double factor) {
    return value.isPresent() ? format(format, value.getAsDouble() * factor) : "-";
  }

  private static String format(String format, double value) {
    return String.format(Locale.ROOT, format, value);
  }
}
