package dev.heddle.lab;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;
import java.util.Set;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * What {@code bench/gpu} found on a machine, as one JSON document: put together from the pieces
 * that its steps left in a folder. {@code bench/README.md} describes the document.
 *
 * <p>The pieces: {@code facts} and {@code missing} (a line each, the name and the value between a
 * tab), {@code devices} (lines), {@code contract} (what the contract suite's runner writes) or
 * {@code contract.failed} (why it wrote nothing), and for each problem {@code <number>.command},
 * with {@code <number>.json} (a comparison) or {@code <number>.failed} (why there is none) and
 * perhaps {@code <number>.conditions} (a line of names and lines of their values between commas, as
 * nvidia-smi writes them meanwhile). Only the commands are needed.
 */
public final class GpuReport {
  private static final ObjectMapper JSON =
      new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);
  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
  private static final int FORMAT = 1;

  /** The verdict on a problem whose comparison left nothing. */
  private static final String NO_VERDICT = "none";

  private GpuReport() {}

  /**
   * Reads the pieces.
   *
   * @throws UncheckedIOException when one can't be read
   */
  public static ObjectNode of(Path pieces) {
    try {
      ObjectNode root = NODES.objectNode();
      root.put("format", FORMAT);
      root.set("facts", facts(pieces.resolve("facts")));
      ArrayNode missing = root.putArray("missing");
      for (List<String> fields : table(pieces.resolve("missing"))) {
        missing.addObject().put("what", fields.getFirst()).put("why", fields.getLast());
      }
      ArrayNode devices = root.putArray("devices");
      lines(pieces.resolve("devices")).forEach(devices::add);
      root.set("contract", contract(pieces));
      ArrayNode problems = root.putArray("problems");
      for (Path command : commands(pieces)) {
        problems.add(problem(command));
      }
      return root;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The document as a file holds it. */
  public static byte[] write(ObjectNode report) {
    try {
      return JSON.writeValueAsBytes(report);
    } catch (com.fasterxml.jackson.core.JsonProcessingException e) {
      throw new IllegalStateException("a tree of plain nodes is always valid JSON", e);
    }
  }

  /**
   * Whether the contract or a problem gave a wrong result, or was begun and gave none: what crashes
   * is not right.
   */
  public static boolean failed(ObjectNode report) {
    JsonNode contract = report.path("contract");
    return contract.has("error")
        || contract.path("failed").asInt() > 0
        || verdicts(report).anyMatch(Set.of("fail", NO_VERDICT)::contains);
  }

  /** Whether the contract or a problem gave a right result. */
  public static boolean passed(ObjectNode report) {
    return report.path("contract").path("passed").asInt() > 0
        || verdicts(report).anyMatch(verdict -> verdict.equals("pass"));
  }

  private static Stream<String> verdicts(ObjectNode report) {
    return elements(report.path("problems")).map(problem -> problem.path("verdict").asText());
  }

  private static JsonNode contract(Path pieces) throws IOException {
    Path file = pieces.resolve("contract");
    if (!Files.exists(file)) {
      Path why = pieces.resolve("contract.failed");
      return Files.exists(why)
          ? NODES.objectNode().put("error", String.join(" ", lines(why)))
          : NODES.nullNode();
    }
    ObjectNode node = NODES.objectNode();
    ArrayNode promises = NODES.arrayNode();
    ArrayNode remarks = NODES.arrayNode();
    int passed = 0;
    int failed = 0;
    int skipped = 0;
    for (List<String> fields : table(file)) {
      if (fields.getFirst().equals("promise")) {
        ObjectNode promise = promises.addObject();
        promise.put("name", fields.get(1));
        promise.put("passed", Integer.parseInt(fields.get(2)));
        promise.put("failed", Integer.parseInt(fields.get(3)));
        promise.put("skipped", Integer.parseInt(fields.get(4)));
        passed += promise.get("passed").asInt();
        failed += promise.get("failed").asInt();
        skipped += promise.get("skipped").asInt();
      } else {
        remarks
            .addObject()
            .put("outcome", fields.getFirst())
            .put("promise", fields.get(1))
            .put("test", fields.get(2))
            .put("message", fields.get(3));
      }
    }
    node.put("passed", passed);
    node.put("failed", failed);
    node.put("skipped", skipped);
    node.set("promises", promises);
    node.set("remarks", remarks);
    return node;
  }

  private static ObjectNode problem(Path command) throws IOException {
    String number = command.getFileName().toString().replace(".command", "");
    ObjectNode node = NODES.objectNode();
    node.put("command", String.join(" ", lines(command)));
    Path document = command.resolveSibling(number + ".json");
    node.put("verdict", NO_VERDICT);
    node.putNull("reason");
    if (!Files.exists(document)) {
      node.put("reason", String.join(" ", lines(command.resolveSibling(number + ".failed"))));
      return node;
    }
    JsonNode comparison = JSON.readTree(Files.readAllBytes(document));
    JsonNode result = comparison.path("results").path(0);
    node.set("verdict", result.get("verdict"));
    node.set("reason", result.get("reason"));
    boolean deviceClock = result.path("deviceMedianNs").isNumber();
    OptionalLong median = OptionalLong.empty();
    if (result.path("medianNs").isNumber()) {
      String clock = deviceClock ? "deviceNs" : "hostNs";
      List<JsonNode> rounds =
          elements(result.path("rounds")).map(round -> round.get(clock)).toList();
      ObjectNode own = node.putObject("heddle");
      own.put("clock", deviceClock ? "device" : "host");
      median = speed(own, rounds, comparison);
      JsonNode peak = result.path("peakGflops");
      if (peak.isNumber()) {
        own.put("ofFp32FmaPeak", own.get("tflops").asDouble() * 1e3 / peak.asDouble());
      }
    }
    ArrayNode peers = node.putArray("peers");
    for (JsonNode implementation : comparison.path("peer").path("implementations")) {
      ObjectNode peer = peers.addObject();
      peer.set("name", implementation.get("name"));
      peer.set("error", implementation.get("error"));
      OptionalLong time = speed(peer, elements(implementation.path("rounds")).toList(), comparison);
      if (median.isPresent() && time.isPresent()) {
        peer.put("heddleIsFasterBy", (double) time.getAsLong() / median.getAsLong());
      }
    }
    node.set("conditions", conditions(command.resolveSibling(number + ".conditions")));
    node.set("comparison", comparison);
    return node;
  }

  /** Adds the median of all rounds and what follows from it, where there is one. */
  private static OptionalLong speed(ObjectNode node, List<JsonNode> rounds, JsonNode comparison) {
    OptionalLong median = Measurement.median(rounds.stream().flatMapToLong(GpuReport::samples));
    if (median.isPresent()) {
      double ns = median.getAsLong();
      node.put("medianNs", median.getAsLong());
      node.put("tflops", comparison.path("flops").asDouble() / ns * 1e-3);
      node.put("conventionalTflops", comparison.path("conventionalFlops").asDouble() / ns * 1e-3);
      ArrayNode medians = node.putArray("roundMediansNs");
      rounds.forEach(round -> Measurement.median(samples(round)).ifPresent(medians::add));
    }
    return median;
  }

  private static java.util.stream.LongStream samples(JsonNode round) {
    return elements(round).mapToLong(JsonNode::asLong);
  }

  private static Stream<JsonNode> elements(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false);
  }

  private static List<Path> commands(Path pieces) throws IOException {
    try (Stream<Path> files = Files.list(pieces)) {
      return files.filter(file -> file.toString().endsWith(".command")).sorted().toList();
    }
  }

  /** Sums up samples of the card's conditions, those left out in which it did nothing. */
  private static ObjectNode conditions(Path file) throws IOException {
    ObjectNode node = NODES.objectNode();
    List<List<String>> rows =
        lines(file).stream().map(line -> List.of(line.split(", *", -1))).toList();
    if (rows.isEmpty()) {
      return node;
    }
    List<String> names = rows.getFirst();
    int utilization = names.indexOf("utilization.gpu");
    // A line can be a message, and the last one can be cut off.
    List<List<String>> busy =
        rows.stream()
            .skip(1)
            .filter(row -> row.size() == names.size())
            .filter(row -> utilization < 0 || !row.get(utilization).equals("0"))
            .toList();
    node.put("samples", busy.size());
    for (int field = 0; field < names.size(); field++) {
      int at = field;
      node.set(names.get(field), condition(busy.stream().map(row -> row.get(at)).toList()));
    }
    return node;
  }

  /** Of numbers the median and the largest, of bits all that were ever set. */
  private static JsonNode condition(List<String> values) {
    OptionalLong bits =
        values.stream()
            .filter(value -> value.matches("0x[0-9a-fA-F]{1,16}"))
            .mapToLong(value -> Long.parseUnsignedLong(value, 2, value.length(), 16))
            .reduce((a, b) -> a | b);
    if (bits.isPresent()) {
      return NODES.textNode(String.format(Locale.ROOT, "0x%016x", bits.getAsLong()));
    }
    double[] numbers =
        values.stream()
            .filter(value -> value.matches("-?[0-9]+(\\.[0-9]+)?"))
            .mapToDouble(Double::parseDouble)
            .sorted()
            .toArray();
    if (numbers.length == 0) {
      return NODES.nullNode();
    }
    return NODES
        .objectNode()
        .put("median", numbers[numbers.length / 2])
        .put("max", numbers[numbers.length - 1]);
  }

  private static ObjectNode facts(Path file) throws IOException {
    ObjectNode node = NODES.objectNode();
    for (List<String> fields : table(file)) {
      node.put(fields.getFirst(), fields.getLast());
    }
    return node;
  }

  private static List<List<String>> table(Path file) throws IOException {
    List<List<String>> rows = new ArrayList<>();
    for (String line : lines(file)) {
      rows.add(List.of(line.split("\t", -1)));
    }
    return rows;
  }

  private static List<String> lines(Path file) throws IOException {
    return Files.exists(file) ? Files.readAllLines(file) : List.of();
  }
}
