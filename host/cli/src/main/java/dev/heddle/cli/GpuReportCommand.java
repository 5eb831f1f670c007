package dev.heddle.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.lab.GpuReport;
import dev.heddle.lab.files.AtomicFileGroup;
import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code heddle gpu-report}, the last step of {@code bench/gpu}; not for users to type. */
@Command(
    name = "gpu-report",
    hidden = true,
    description =
        "Puts the pieces that bench/gpu left in a folder together: a table, and one JSON.",
    mixinStandardHelpOptions = true)
final class GpuReportCommand implements Callable<Integer> {
  @Parameters(paramLabel = "FOLDER", description = "Where the pieces are.")
  private @Nullable Path pieces;

  @Option(
      names = "--out",
      paramLabel = "FILE",
      required = true,
      description = "Where the JSON goes.")
  private @Nullable Path out;

  @CommandLine.Spec private CommandLine.Model.@Nullable CommandSpec spec;

  @Override
  public Integer call() {
    PrintWriter terminal = Objects.requireNonNull(spec).commandLine().getOut();
    ObjectNode report = GpuReport.of(Objects.requireNonNull(pieces));
    byte[] document = GpuReport.write(report);
    try (AtomicFileGroup files = new AtomicFileGroup()) {
      files.add(Objects.requireNonNull(out), channel -> channel.write(ByteBuffer.wrap(document)));
      files.commit();
    }
    print(report, terminal);
    if (GpuReport.failed(report)) {
      return ExitCode.FAILED.code();
    }
    return (GpuReport.passed(report) ? ExitCode.PASSED : ExitCode.NOTHING_RAN).code();
  }

  private static void print(ObjectNode report, PrintWriter out) {
    out.println();
    report
        .path("facts")
        .properties()
        .forEach(fact -> out.println(fact.getKey() + ": " + fact.getValue().asText()));
    for (JsonNode missing : report.path("missing")) {
      out.println(
          "missing: " + missing.path("what").asText() + ": " + missing.path("why").asText());
    }
    contract(report.path("contract"), out);
    if (!report.path("problems").isEmpty()) {
      problems(report.path("problems"), out);
    }
  }

  private static void contract(JsonNode contract, PrintWriter out) {
    if (contract.isNull()) {
      return;
    }
    if (contract.has("error")) {
      out.println("contract: gave nothing: " + contract.path("error").asText());
      return;
    }
    out.printf(
        Locale.ROOT,
        "contract: %d passed, %d failed, %d skipped%n",
        contract.path("passed").asInt(),
        contract.path("failed").asInt(),
        contract.path("skipped").asInt());
    for (JsonNode remark : contract.path("remarks")) {
      out.println(
          "  "
              + remark.path("outcome").asText()
              + ": "
              + remark.path("promise").asText()
              + (remark.path("test").asText().isEmpty() ? "" : " > " + remark.path("test").asText())
              + ": "
              + remark.path("message").asText());
    }
  }

  private static void problems(JsonNode problems, PrintWriter out) {
    Set<String> peers = new LinkedHashSet<>();
    boolean timed = false;
    for (JsonNode problem : problems) {
      problem.path("peers").forEach(peer -> peers.add(peer.path("name").asText()));
      timed |= problem.has("heddle");
    }
    Table table =
        new Table()
            .column("SHAPE", Table.Align.LEFT)
            .column("DTYPE", Table.Align.LEFT)
            .column("MASK", Table.Align.LEFT)
            .column("KERNEL", Table.Align.LEFT)
            .column("VERDICT", Table.Align.LEFT)
            .column("OF BOUND", Table.Align.RIGHT);
    if (timed) {
      table
          .column("TIME", Table.Align.RIGHT)
          .column("ROUNDS", Table.Align.RIGHT)
          .column("TFLOP/S", Table.Align.RIGHT)
          .column("OF PEAK", Table.Align.RIGHT);
      peers.forEach(peer -> table.column(peer.toUpperCase(Locale.ROOT), Table.Align.RIGHT));
    }
    List<String> remarks = new ArrayList<>();
    for (JsonNode problem : problems) {
      table.row(row(problem, timed, peers).toArray(String[]::new));
      remarks(problem, remarks);
    }
    out.println();
    table.print(out);
    out.println();
    remarks.stream().distinct().forEach(out::println);
    if (timed) {
      out.println(
          "TIME: median of all rounds by the device's clock; ROUNDS: by how much the slowest round's"
              + " median exceeds the fastest's; TFLOP/S: by the visible (query, key) pairs; OF PEAK:"
              + " of the card's measured fp32 FMA rate; the others: TFLOP/S of that implementation"
              + " in the same minute, and how many times faster Heddle is");
    }
  }

  private static List<String> row(JsonNode problem, boolean timed, Set<String> peers) {
    JsonNode result = problem.path("comparison").path("results").path(0);
    List<String> row = new ArrayList<>();
    List<String> words = List.of(problem.path("command").asText().split(" "));
    row.add(after(words, "--shape"));
    row.add(after(words, "--dtype"));
    row.add(words.contains("--causal") ? "causal" : "none");
    row.add("attention_" + after(words, "--algorithm"));
    row.add(problem.path("verdict").asText());
    row.add(number("%.2f", result.path("errorRatio")));
    if (timed) {
      JsonNode own = problem.path("heddle");
      row.add(own.has("medianNs") ? Text.time(own.path("medianNs").asLong()) : "-");
      row.add(drift(own.path("roundMediansNs")));
      row.add(rate(own.path("tflops")));
      row.add(
          own.has("ofFp32FmaPeak")
              ? String.format(Locale.ROOT, "%.0f%%", own.path("ofFp32FmaPeak").asDouble() * 100)
              : "-");
      for (String name : peers) {
        row.add(peer(problem.path("peers"), name));
      }
    }
    return row;
  }

  private static String peer(JsonNode peers, String name) {
    for (JsonNode peer : peers) {
      if (peer.path("name").asText().equals(name) && peer.has("tflops")) {
        return rate(peer.path("tflops")) + " x" + number("%.2f", peer.path("heddleIsFasterBy"));
      }
    }
    return "-";
  }

  private static String drift(JsonNode medians) {
    long min = Long.MAX_VALUE;
    long max = 0;
    for (JsonNode median : medians) {
      min = Math.min(min, median.asLong());
      max = Math.max(max, median.asLong());
    }
    return max == 0 ? "-" : String.format(Locale.ROOT, "+%.1f%%", 100.0 * (max - min) / min);
  }

  private static void remarks(JsonNode problem, List<String> remarks) {
    String reason = problem.path("reason").asText("");
    if (!reason.isEmpty() && !reason.equals("null")) {
      remarks.add(problem.path("command").asText() + ": " + reason);
    }
    JsonNode error = problem.path("comparison").path("peer").path("error");
    if (error.isTextual()) {
      remarks.add("PyTorch: " + error.asText());
    }
    for (JsonNode peer : problem.path("peers")) {
      if (peer.path("error").isTextual()) {
        String dtype = problem.path("comparison").path("problem").path("dtype").asText();
        remarks.add(
            "PyTorch "
                + peer.path("name").asText()
                + ", "
                + dtype
                + ": "
                + peer.path("error").asText());
      }
    }
  }

  /** The word after an option; a dash where it was not given. */
  private static String after(List<String> words, String option) {
    int at = words.indexOf(option);
    return at < 0 ? "-" : words.get(at + 1);
  }

  private static String rate(JsonNode tflops) {
    return number(tflops.asDouble() < 10 ? "%.2f" : "%.1f", tflops);
  }

  private static String number(String format, JsonNode value) {
    return value.isNumber() ? String.format(Locale.ROOT, format, value.asDouble()) : "-";
  }
}
