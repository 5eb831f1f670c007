package dev.heddle.lab;

import dev.heddle.core.Device;
import dev.heddle.lab.Conformance.Answer;
import dev.heddle.reference.Verdict;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * A conformance run as JUnit XML, which every CI system reads: a suite for each device and storage
 * type, a test case for each case and kernel, refused ones as skipped; a suite of errors for what
 * could not be read. Times are those of verification, compilation included, and no measure of
 * speed.
 */
public final class ConformanceJunit {
  /** UTC; the schemas in use know no zone. */
  private static final DateTimeFormatter TIMESTAMP =
      DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss", Locale.ROOT).withZone(ZoneOffset.UTC);

  private ConformanceJunit() {}

  /** The whole document. */
  public static byte[] write(Conformance conformance) {
    Markup xml = Markup.xml();
    xml.element(
        "testsuites",
        () -> {
          for (Device device : conformance.devices()) {
            for (String type : conformance.types()) {
              suite(xml, conformance, device, type);
            }
          }
          if (!conformance.unusable().isEmpty()) {
            unusable(xml, conformance);
          }
        },
        attributes(
                "heddle conform " + conformance.suite(),
                conformance.answers(),
                conformance.unusable().size(),
                conformance.elapsedNs())
            .toArray(String[]::new));
    return xml.newline().bytes();
  }

  private static void suite(Markup xml, Conformance conformance, Device device, String type) {
    List<Answer> answers =
        conformance.answers().stream()
            .filter(answer -> answer.device().equals(device))
            .filter(answer -> answer.question().type().equals(type))
            .toList();
    if (answers.isEmpty()) {
      return;
    }
    String name = device.id() + " " + type;
    long ns = answers.stream().mapToLong(Answer::elapsedNs).sum();
    List<String> attributes = new ArrayList<>(attributes(name, answers, 0, ns));
    attributes.addAll(ofSuite(conformance, answers));
    xml.newline()
        .element(
            "testsuite",
            () -> {
              xml.newline().element("properties", () -> properties(xml, conformance, device));
              answers.forEach(answer -> testCase(xml, conformance, answer));
              xml.newline();
            },
            attributes.toArray(String[]::new));
  }

  /** What could not be read: a suite of errors, since no device is to blame. */
  private static void unusable(Markup xml, Conformance conformance) {
    List<Conformance.Unusable> all = conformance.unusable();
    List<String> attributes = new ArrayList<>(attributes("unusable", List.of(), all.size(), 0));
    attributes.addAll(ofSuite(conformance, List.of()));
    xml.newline()
        .element(
            "testsuite",
            () -> {
              for (Conformance.Unusable one : all) {
                xml.newline()
                    .element(
                        "testcase",
                        () -> xml.empty("error", "message", one.reason(), "type", "unusable"),
                        "classname",
                        "heddle.unusable",
                        "name",
                        one.name(),
                        "time",
                        seconds(0));
              }
              xml.newline();
            },
            attributes.toArray(String[]::new));
  }

  /** What a suite says beyond what the root says. */
  private static List<String> ofSuite(Conformance conformance, List<Answer> answers) {
    return List.of(
        "skipped", count(answers, Verdict.Refused.class),
        "timestamp", TIMESTAMP.format(conformance.start()));
  }

  /** What the root and a suite say of the cases in them; the schemas know no more at the root. */
  private static List<String> attributes(String name, List<Answer> answers, int unusable, long ns) {
    return List.of(
        "name", name,
        "tests", Integer.toString(answers.size() + unusable),
        "failures", count(answers, Verdict.Fail.class),
        "errors", Integer.toString(unusable),
        "time", seconds(ns));
  }

  private static String count(List<Answer> answers, Class<? extends Verdict> kind) {
    return Long.toString(
        answers.stream().filter(answer -> kind.isInstance(answer.verdict())).count());
  }

  private static void properties(Markup xml, Conformance conformance, Device device) {
    property(xml, "device", device.displayName());
    property(xml, "driver", device.driver());
    property(xml, "policy", conformance.policy().name());
    Host.facts().forEach((name, value) -> property(xml, name, value));
  }

  private static void property(Markup xml, String name, String value) {
    xml.empty("property", "name", name, "value", value);
  }

  private static void testCase(Markup xml, Conformance conformance, Answer answer) {
    xml.newline()
        .element(
            "testcase",
            () -> outcome(xml, conformance, answer),
            "classname",
            "heddle." + answer.device().id().replace(':', '.') + "." + answer.question().type(),
            "name",
            answer.question().name() + " " + answer.kernel(),
            "time",
            seconds(answer.elapsedNs()));
  }

  private static void outcome(Markup xml, Conformance conformance, Answer answer) {
    String reason = answer.verdict().reason().orElse("");
    switch (answer.verdict()) {
      case Verdict.Pass pass -> {}
      case Verdict.Fail fail ->
          xml.element(
              "failure",
              reason + "\nagain: " + conformance.command(answer),
              "message",
              reason,
              "type",
              conformance.policy().name());
      case Verdict.Refused refused -> xml.empty("skipped", "message", reason);
    }
  }

  private static String seconds(long ns) {
    return String.format(Locale.ROOT, "%.3f", ns * 1e-9);
  }
}
