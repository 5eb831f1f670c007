package dev.heddle.cli;

import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.lab.Conformance;
import dev.heddle.lab.Conformance.Answer;
import dev.heddle.lab.Conformance.Counts;
import dev.heddle.lab.ConformanceJson;
import dev.heddle.lab.ConformanceJunit;
import dev.heddle.lab.ConformancePage;
import dev.heddle.lab.Installation;
import dev.heddle.lab.OnnxConformance;
import dev.heddle.lab.Question;
import dev.heddle.lab.files.AtomicFileGroup;
import dev.heddle.reference.ConformanceCase;
import dev.heddle.reference.ConformanceSuite;
import dev.heddle.reference.Feature;
import dev.heddle.reference.Policies;
import dev.heddle.reference.TolerancePolicy;
import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code heddle conform}. */
@Command(
    name = "conform",
    description = {
      "Asks every device, with its driver, whether it computes attention correctly over"
          + " everything that attention means: a suite of cases by every algorithm in every storage"
          + " type, each result judged against a double-precision reference.",
      "Prints how many results of each feature pass, FAIL or are refused, what is wrong with each"
          + " that fails, and the command that shows it again. The reference is judged, too: where"
          + " it fails, the fault is Heddle's."
    },
    mixinStandardHelpOptions = true,
    footerHeading = "%nExamples:%n",
    footer = {
      "  heddle conform",
      "  heddle conform --suite full --backend opencl --device 0 --html report.html",
      "  heddle conform --policy all --dtype fp32",
      "  heddle conform --junit conform.xml --json conform.json",
      "  heddle conform --case values/logits-of-1e5 --dtype fp32 --backend vector",
      "  heddle conform --fuzz 60 --seed 1",
      "  heddle conform --onnx onnx/backend/test/data/node/test_attention_4d"
    })
final class ConformCommand implements Callable<Integer> {
  private static final String ALL_POLICIES = "all";

  /** Failures that the terminal shows in full; the files hold all. */
  private static final int MOST_SHOWN = 20;

  @Option(
      names = "--suite",
      paramLabel = "NAME",
      description =
          "tiny: for simulators; quick: under a minute on two cores; full: larger shapes, too."
              + " Default: quick")
  private @Nullable String suite;

  @Option(
      names = "--case",
      paramLabel = "NAME",
      description = "Only this case of any suite; --list shows their names.")
  private @Nullable String caseName;

  @Option(names = "--list", description = "List the suite's cases and their features; run nothing.")
  private boolean list;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      split = ",",
      description = "Only these storage types: fp32, fp16, bf16. May be repeated. Default: all")
  private List<String> dtypes = List.of();

  @Mixin private DeviceOptions devices = new DeviceOptions();

  @Option(
      names = "--policy",
      paramLabel = "NAME",
      description =
          "The project whose published rule judges: flash-attention, pytorch, onnx or ggml; or all:"
              + " flash-attention judges, and what the others' rules would say is shown beside it."
              + " Default: flash-attention")
  private @Nullable String policy;

  @Option(names = "--junit", paramLabel = "FILE", description = "Also write JUnit XML, for CI.")
  private @Nullable Path junit;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Also write every result with its measures and provenance as JSON.")
  private @Nullable Path json;

  @Option(
      names = "--html",
      paramLabel = "FILE",
      description = "Also write a report page that needs nothing but itself.")
  private @Nullable Path html;

  @Option(
      names = "--onnx",
      paramLabel = "DIR",
      description =
          "In place of a suite the node tests in this folder, as ONNX generates them, or the one that"
              + " it is: model.onnx and test_data_set_0 with inputs and outputs. Attention,"
              + " RotaryEmbedding and LinearAttention are computed, and judged by the outputs and the"
              + " tolerance that come with the tests.")
  private @Nullable Path onnx;

  @Mixin private FuzzOptions fuzz = new FuzzOptions();

  @CommandLine.Spec private CommandLine.Model.@Nullable CommandSpec spec;

  @Override
  public Integer call() {
    CommandLine commandLine = Objects.requireNonNull(spec).commandLine();
    Map<Path, Function<Conformance, byte[]>> files = files();
    if (onnx != null) {
      if (suite != null
          || caseName != null
          || list
          || !dtypes.isEmpty()
          || policy != null
          || fuzz.isGiven()) {
        throw new IllegalArgumentException(
            "--onnx excludes --suite, --case, --list, --dtype, --policy and --fuzz: the folder says"
                + " what is asked and how it is judged");
      }
      Path folder = onnx;
      return report(
          files,
          progress ->
              OnnxConformance.run(
                  Installation.find(), folder, devices.selection(), devices.algorithm(), progress));
    }
    List<TolerancePolicy> policies = policies();
    if (fuzz.isGiven()) {
      if (suite != null || caseName != null || list || !files.isEmpty() || policies.size() > 1) {
        throw new IllegalArgumentException(
            "--fuzz, --seed and --fuzz-case exclude --suite, --case, --list, --junit, --json, --html"
                + " and --policy all");
      }
      Set<DType> given = dtypes.stream().map(DtypeOption::parse).collect(Collectors.toSet());
      return fuzz.run(
              given, devices, policies.getFirst(), commandLine.getOut(), commandLine.getErr())
          .code();
    }
    List<ConformanceCase> cases = cases();
    if (list) {
      if (!files.isEmpty()) {
        throw new IllegalArgumentException("--list runs nothing, so there is no file to write");
      }
      printCases(cases, commandLine.getOut());
      return ExitCode.PASSED.code();
    }
    return report(
        files,
        progress ->
            Conformance.run(
                Installation.find(),
                new Conformance.Request(
                    caseName == null ? suite().label() : caseName,
                    cases,
                    devices.selection(),
                    devices.algorithm(),
                    policies),
                progress));
  }

  /** Runs, prints and writes. */
  private int report(
      Map<Path, Function<Conformance, byte[]>> files, Function<Consumer<String>, Conformance> run) {
    CommandLine commandLine = Objects.requireNonNull(spec).commandLine();
    Conformance conformance;
    try (Progress progress = new Progress(commandLine.getErr())) {
      progress.accept("looking for devices");
      conformance = run.apply(progress);
    }
    print(conformance, commandLine.getOut());
    try (AtomicFileGroup group = new AtomicFileGroup()) {
      files.forEach((file, content) -> {
        byte[] document = content.apply(conformance);
        group.add(file, channel -> channel.write(ByteBuffer.wrap(document)));
      });
      group.commit();
    }
    Counts counts = conformance.counts();
    boolean sound = conformance.unusable().isEmpty() || counts.failed() > 0;
    return (sound ? exitCode(counts.failed(), counts.passed()) : ExitCode.BAD_INPUT).code();
  }

  /** The files asked for, known to be writable, and what makes their contents. */
  private Map<Path, Function<Conformance, byte[]>> files() {
    Map<Path, Function<Conformance, byte[]>> files = new LinkedHashMap<>();
    add(files, junit, ConformanceJunit::write);
    add(files, json, ConformanceJson::write);
    add(files, html, ConformancePage::write);
    files.keySet().forEach(AtomicFileGroup::requireWritable);
    return files;
  }

  private static void add(
      Map<Path, Function<Conformance, byte[]>> files,
      @Nullable Path file,
      Function<Conformance, byte[]> content) {
    if (file == null) {
      return;
    }
    if (files.keySet().stream().anyMatch(other -> RunCommand.sameFile(other, file))) {
      throw new IllegalArgumentException(file + " is named twice, once for each of two reports");
    }
    files.put(file, content);
  }

  private List<TolerancePolicy> policies() {
    if (policy == null) {
      return List.of(Policies.all().getFirst());
    }
    if (policy.equals(ALL_POLICIES)) {
      return Policies.all();
    }
    String name = policy;
    List<String> known =
        new ArrayList<>(Policies.all().stream().map(TolerancePolicy::name).toList());
    known.add(ALL_POLICIES);
    return List.of(
        Policies.named(name).orElseThrow(() -> unknown("--policy", name, "policy", known)));
  }

  private ConformanceSuite suite() {
    String name = suite == null ? ConformanceSuite.QUICK.label() : suite;
    List<String> known =
        Arrays.stream(ConformanceSuite.values()).map(ConformanceSuite::label).toList();
    return Arrays.stream(ConformanceSuite.values())
        .filter(one -> one.label().equals(name))
        .findFirst()
        .orElseThrow(() -> unknown("--suite", name, "suite", known));
  }

  private List<ConformanceCase> cases() {
    List<DType> types =
        dtypes.isEmpty()
            ? DType.FLOATING
            : dtypes.stream().map(DtypeOption::parse).distinct().toList();
    if (caseName == null) {
      ConformanceSuite chosen = suite();
      return types.stream().flatMap(dtype -> chosen.cases(dtype).stream()).toList();
    }
    if (suite != null) {
      throw new IllegalArgumentException(
          "--case excludes --suite: a case is looked for in all of them");
    }
    String name = caseName;
    return types.stream()
        .map(dtype ->
            ConformanceSuite.named(name, dtype)
                .orElseThrow(() ->
                    new IllegalArgumentException(
                        "--case: there is no case '" + name + "'; --suite full --list shows all")))
        .toList();
  }

  private static IllegalArgumentException unknown(
      String option, String name, String kind, List<String> known) {
    return new IllegalArgumentException(
        option
            + ": there is no "
            + kind
            + " '"
            + name
            + "'; there are "
            + String.join(", ", known));
  }

  static ExitCode exitCode(int failed, int passed) {
    if (failed > 0) {
      return ExitCode.FAILED;
    }
    return passed > 0 ? ExitCode.PASSED : ExitCode.NOTHING_RAN;
  }

  private static void printCases(List<ConformanceCase> cases, PrintWriter out) {
    Table table = new Table().column("CASE", Table.Align.LEFT).column("FEATURES", Table.Align.LEFT);
    Set<String> listed = new LinkedHashSet<>();
    for (ConformanceCase testCase : cases) {
      if (listed.add(testCase.name())) {
        table.row(
            testCase.name(),
            String.join(", ", testCase.features().stream().map(Feature::label).toList()));
      }
    }
    table.print(out);
  }

  private static void print(Conformance conformance, PrintWriter out) {
    out.println(
        "conformance, "
            + conformance.suite()
            + ": judged by "
            + conformance.policy().name()
            + ": "
            + conformance.policy().derivation());
    out.println();
    printMatrix(conformance, out);
    out.println();
    for (Device device : conformance.devices()) {
      out.println(device.id() + ": " + device.displayName() + ", " + device.driver());
      conformance
          .refusals(device)
          .forEach((reason, count) -> out.println("  " + count + " refused: " + reason));
    }
    conformance.missing().forEach((id, missing) -> out.println(Text.missing(id, missing)));
    if (conformance.policies().size() > 1) {
      out.println();
      printPolicies(conformance, out);
    }
    printFailures(conformance, out);
    printUnusable(conformance, out);
    out.println();
    out.println(
        counts(conformance.counts(), "nothing was asked")
            + String.format(Locale.ROOT, ", in %.1f s", conformance.elapsedNs() * 1e-9));
  }

  private static void printMatrix(Conformance conformance, PrintWriter out) {
    Table table =
        new Table()
            .column(conformance.subject().name(), Table.Align.LEFT)
            .column("TYPE", Table.Align.LEFT);
    conformance.devices().forEach(device -> table.column(device.id(), Table.Align.LEFT));
    for (Question.Row row : conformance.rows()) {
      List<String> types =
          conformance.subject() == Conformance.Subject.CASE
              ? conformance.types(row)
              : conformance.types();
      for (String type : types) {
        List<String> cells = new ArrayList<>(List.of(row.label(), type));
        for (Device device : conformance.devices()) {
          cells.add(counts(conformance.counts(row, type, device), "-"));
        }
        table.row(cells.toArray(String[]::new));
      }
    }
    table.print(out);
  }

  private static void printPolicies(Conformance conformance, PrintWriter out) {
    Table table = new Table().column("WOULD PASS THE RULE OF", Table.Align.LEFT);
    conformance.devices().forEach(device -> table.column(device.id(), Table.Align.LEFT));
    for (TolerancePolicy policy : conformance.policies()) {
      List<String> row = new ArrayList<>(List.of(policy.name()));
      for (Device device : conformance.devices()) {
        row.add(
            opinion(
                conformance.ordinaryCounts(policy, device), conformance.counts(policy, device)));
      }
      table.row(row.toArray(String[]::new));
    }
    table.print(out);
    out.println(
        "by attention on normal numbers; all: with difficult values, stages, linear layers, chains");
    conformance
        .policies()
        .forEach(policy -> out.println(policy.name() + ": " + policy.derivation()));
  }

  private static String opinion(Counts ordinary, Counts all) {
    int judged = ordinary.passed() + ordinary.failed();
    int everything = all.passed() + all.failed();
    return judged == 0
        ? "-"
        : "%s, %d of %d (all: %d of %d)"
            .formatted(
                ordinary.failed() == 0 ? "yes" : "NO",
                ordinary.passed(),
                judged,
                all.passed(),
                everything);
  }

  private static void printFailures(Conformance conformance, PrintWriter out) {
    List<Answer> failures = conformance.failures();
    for (Answer answer : failures.subList(0, Math.min(MOST_SHOWN, failures.size()))) {
      out.println();
      out.println(
          "FAIL " + answer.question() + ", " + answer.kernel() + " on " + answer.device().id());
      answer.verdict().reason().ifPresent(reason -> out.println("  " + reason));
      out.println("  again: " + conformance.command(answer));
    }
    if (failures.size() > MOST_SHOWN) {
      out.println();
      out.println(
          (failures.size() - MOST_SHOWN)
              + " more that FAIL are in the files that --junit, --json and --html write");
    }
  }

  private static void printUnusable(Conformance conformance, PrintWriter out) {
    List<Conformance.Unusable> unusable = conformance.unusable();
    if (unusable.isEmpty()) {
      return;
    }
    out.println();
    out.println("could not be read, so that no device was asked: " + unusable.size());
    unusable.forEach(one -> out.println("  " + one.name() + ": " + one.reason()));
  }

  /** As {@code 30 pass, 2 FAIL, 4 refused}; what is 0 is left out. */
  private static String counts(Counts counts, String none) {
    List<String> parts = new ArrayList<>();
    if (counts.failed() > 0) {
      parts.add(counts.failed() + " FAIL");
    }
    if (counts.passed() > 0) {
      parts.add(counts.passed() + " pass");
    }
    if (counts.refused() > 0) {
      parts.add(counts.refused() + " refused");
    }
    return parts.isEmpty() ? none : String.join(", ", parts);
  }
}
