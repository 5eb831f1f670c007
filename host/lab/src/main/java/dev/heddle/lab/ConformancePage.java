package dev.heddle.lab;

import dev.heddle.core.Device;
import dev.heddle.core.Provenance;
import dev.heddle.lab.Conformance.Answer;
import dev.heddle.lab.Conformance.Counts;
import dev.heddle.reference.TolerancePolicy;
import dev.heddle.reference.Verdict;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * A conformance run as one HTML page that loads nothing and runs nothing. Every state has a sign
 * and a pattern beside its colour.
 */
public final class ConformancePage {
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss 'UTC'", Locale.ROOT)
          .withZone(ZoneOffset.UTC);

  private final Markup page = Markup.html();
  private final Conformance conformance;

  private ConformancePage(Conformance conformance) {
    this.conformance = conformance;
  }

  /** The whole page. */
  public static byte[] write(Conformance conformance) {
    return new ConformancePage(conformance).document();
  }

  private byte[] document() {
    page.element(
        "html",
        () -> {
          page.element("head", this::head).newline();
          page.element("body", this::body).newline();
        },
        "lang",
        "en");
    return page.newline().bytes();
  }

  private void head() {
    page.empty("meta", "charset", "utf-8");
    page.empty("meta", "name", "viewport", "content", "width=device-width, initial-scale=1");
    page.empty(
        "meta",
        "http-equiv",
        "Content-Security-Policy",
        "content",
        "default-src 'none'; style-src 'unsafe-inline'");
    page.element("title", "Heddle conformance: " + headline());
    page.element("style", style());
  }

  private static String style() {
    try (InputStream css = ConformancePage.class.getResourceAsStream("conformance.css")) {
      if (css == null) {
        throw new IllegalStateException("conformance.css is not in the jar");
      }
      return new String(css.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private String headline() {
    Counts counts = conformance.counts();
    int judged = counts.passed() + counts.failed();
    int unusable = conformance.unusable().size();
    String beside = unusable == 0 ? "" : "; \u2717 " + unusable + " could not be read";
    if (judged == 0) {
      return (counts.refused() > 0 ? "\u2013 everything is refused" : "\u2013 nothing was asked")
          + beside;
    }
    return (counts.failed() == 0
            ? "\u2713 all " + judged + " results pass"
            : "\u2717 " + counts.failed() + " of " + judged + " results FAIL")
        + beside;
  }

  private void body() {
    page.element("header", this::title).newline();
    page.element(
        "main",
        () -> {
          matrix();
          if (conformance.policies().size() > 1) {
            policies();
          }
          unusable();
          failures();
          errors();
          devices();
          kernels();
          host();
        });
  }

  private void title() {
    page.element("h1", "Heddle conformance, " + conformance.suite());
    page.element(
        "div",
        headline(),
        "class",
        conformance.counts().failed() > 0 || !conformance.unusable().isEmpty()
            ? "headline fail"
            : "headline");
    page.element(
        "p",
        () -> {
          page.text("Judged by ");
          page.element("b", conformance.policy().name());
          page.text(": ").element("code", conformance.policy().derivation());
        });
    Counts counts = conformance.counts();
    page.element(
        "p",
        "%s, %.1f s. A result is one case by one algorithm on one device; %d were refused, which is"
                .formatted(
                    TIME.format(conformance.start()),
                    conformance.elapsedNs() * 1e-9,
                    counts.refused())
            + " what a backend declares not to support.",
        "class",
        "soft");
  }

  private void section(String heading, String explanation) {
    page.newline().element("h2", heading);
    page.element("p", explanation, "class", "soft");
  }

  private void matrix() {
    section(
        "What was asked",
        conformance.subject() == Conformance.Subject.FEATURE
            ? "Results by feature, device and storage type. A result counts in every row whose"
                + " feature its case has."
            : "Results by case and device: one for each algorithm.");
    page.element(
        "p",
        () -> {
          page.element("span", "\u2713 n pass", "class", "pass");
          page.element("span", "\u2717 n FAIL", "class", "fail-cell");
          page.element("span", "\u2013 n refused", "class", "refused");
        },
        "class",
        "legend");
    page.element(
        "div", () -> page.element("table", this::matrixRows, "class", "matrix"), "class", "scroll");
  }

  private void matrixRows() {
    boolean byType = conformance.rows().stream().anyMatch(row -> conformance.types(row).size() > 1);
    if (byType) {
      matrixByType();
    } else {
      matrixOfOneType();
    }
  }

  /** A column for each device, as each row is of one storage type. */
  private void matrixOfOneType() {
    page.element(
        "thead",
        () ->
            page.element(
                "tr",
                () -> {
                  page.element("th", conformance.subject().label());
                  page.element("th", "type");
                  conformance
                      .devices()
                      .forEach(device -> page.element("th", () -> heading(device)));
                }));
    page.newline();
    page.element(
        "tbody",
        () -> {
          for (Question.Row row : conformance.rows()) {
            String type = conformance.types(row).getFirst();
            page.element(
                "tr",
                () -> {
                  page.element("th", row.label(), "scope", "row");
                  page.element("td", type);
                  conformance
                      .devices()
                      .forEach(device -> cell(conformance.counts(row, type, device), "first"));
                });
            page.newline();
          }
        });
  }

  private void heading(Device device) {
    page.text(device.id());
    page.element("span", device.displayName(), "class", "note");
  }

  /** A column for each device and storage type. */
  private void matrixByType() {
    List<String> types = conformance.types();
    page.element(
        "thead",
        () -> {
          page.element(
              "tr",
              () -> {
                page.element("th", conformance.subject().label(), "rowspan", "2");
                for (Device device : conformance.devices()) {
                  page.element(
                      "th", () -> heading(device), "colspan", Integer.toString(types.size()));
                }
              });
          page.element(
              "tr",
              () -> {
                for (int d = 0; d < conformance.devices().size(); d++) {
                  types.forEach(type -> page.element("th", type, "class", place(types, type)));
                }
              });
        });
    page.newline();
    page.element(
        "tbody",
        () -> {
          for (Question.Row row : conformance.rows()) {
            page.element(
                "tr",
                () -> {
                  page.element("th", row.label(), "scope", "row");
                  for (Device device : conformance.devices()) {
                    for (String type : types) {
                      cell(conformance.counts(row, type, device), place(types, type));
                    }
                  }
                });
            page.newline();
          }
        });
  }

  /** Whether a device's columns begin with the type's. */
  private static String place(List<String> types, String type) {
    return type.equals(types.getFirst()) ? "first" : "next";
  }

  private void cell(Counts counts, String place) {
    if (counts.failed() > 0) {
      page.element(
          "td",
          () -> {
            page.text("\u2717 " + counts.failed() + " FAIL");
            note(counts.passed() > 0, counts.passed() + " pass");
            note(counts.refused() > 0, counts.refused() + " refused");
          },
          "class",
          "fail-cell " + place);
    } else if (counts.passed() > 0) {
      page.element(
          "td",
          () -> {
            page.text("\u2713 " + counts.passed());
            note(counts.refused() > 0, "\u2013 " + counts.refused() + " refused");
          },
          "class",
          "pass " + place);
    } else if (counts.refused() > 0) {
      page.element("td", "\u2013 " + counts.refused(), "class", "refused " + place);
    } else {
      page.element("td", "", "class", place);
    }
  }

  private void note(boolean shown, String text) {
    if (shown) {
      page.element("span", text, "class", "note");
    }
  }

  private void policies() {
    section(
        "Whose tests these results would pass",
        "Attention on normal numbers by each project's published rule; below it all results, with"
            + " difficult values and long sums among them. A relative rule forbids in a result that"
            + " is small by cancellation what is ordinary rounding elsewhere.");
    page.element("div", () -> page.element("table", this::policyRows), "class", "scroll");
  }

  private void policyRows() {
    page.element(
        "thead",
        () ->
            page.element(
                "tr",
                () -> {
                  page.element("th", "project");
                  conformance.devices().forEach(device -> page.element("th", device.id()));
                  page.element("th", "rule");
                }));
    page.element(
        "tbody",
        () -> {
          for (TolerancePolicy policy : conformance.policies()) {
            page.element(
                "tr",
                () -> {
                  page.element("th", policy.name(), "scope", "row");
                  for (Device device : conformance.devices()) {
                    policyCell(
                        conformance.ordinaryCounts(policy, device),
                        conformance.counts(policy, device));
                  }
                  page.element(
                      "td", () -> page.element("code", policy.derivation()), "class", "rule");
                });
          }
        });
  }

  private void policyCell(Counts ordinary, Counts all) {
    int judged = ordinary.passed() + ordinary.failed();
    String verdict =
        judged == 0
            ? "\u2013 nothing judged"
            : ordinary.failed() == 0
                ? "\u2713 " + judged + " of " + judged
                : "\u2717 FAILS " + ordinary.failed() + " of " + judged;
    page.element(
        "td",
        () -> {
          page.text(verdict);
          int everything = all.passed() + all.failed();
          note(everything > 0, "of all: " + all.passed() + " of " + everything);
        },
        "class",
        "opinion " + (judged == 0 ? "refused" : ordinary.failed() == 0 ? "pass" : "fail-cell"));
  }

  private void unusable() {
    if (conformance.unusable().isEmpty()) {
      return;
    }
    section("What could not be read", "No device was asked these; what is wrong is in the files.");
    page.element(
        "ul",
        () ->
            conformance
                .unusable()
                .forEach(one -> page.element("li", one.name() + ": " + one.reason())));
  }

  private void failures() {
    List<Answer> failures = conformance.failures();
    if (failures.isEmpty()) {
      return;
    }
    section(
        "What FAILs",
        "Each with the element that is furthest off, and the command that computes it again.");
    failures.forEach(
        answer -> page.newline().element("div", () -> failure(answer), "class", "failure"));
  }

  private void failure(Answer answer) {
    page.element(
        "h3",
        "\u2717 " + answer.question() + ", " + answer.kernel() + " on " + answer.device().id());
    page.element(
        "div",
        answer.device().displayName() + "; inputs: " + answer.question().inputs(),
        "class",
        "soft");
    page.element("div", answer.verdict().reason().orElse(""));
    if (!answer.verdict().tensors().isEmpty()) {
      page.element("div", () -> page.element("table", () -> evidence(answer)), "class", "scroll");
    }
    page.element("pre", conformance.command(answer));
  }

  private void evidence(Answer answer) {
    page.element(
        "thead",
        () ->
            page.element(
                "tr",
                () ->
                    List.of(
                            "tensor",
                            "worst element",
                            "expected",
                            "got",
                            "judged",
                            "value",
                            "bound",
                            "units in the last place: count")
                        .forEach(heading -> page.element("th", heading))));
    page.element(
        "tbody",
        () -> {
          for (Verdict.Judged judged : answer.verdict().tensors()) {
            page.element(
                "tr",
                () -> {
                  page.element("td", (judged.passes() ? "\u2713 " : "\u2717 ") + judged.tensor());
                  String position =
                      answer
                          .question()
                          .position(judged.tensor(), judged.worst().index())
                          .toString();
                  for (String value :
                      List.of(
                          position,
                          number(judged.worst().expected(), 8),
                          number(judged.worst().got(), 8),
                          judged.measure(),
                          number(judged.error(), 3),
                          number(judged.bound(), 3),
                          judged.measures().ulps().toString())) {
                    page.element("td", value, "class", "number");
                  }
                });
          }
        });
  }

  private static String number(double value, int digits) {
    return Double.isFinite(value)
        ? String.format(Locale.ROOT, "%." + digits + "g", value)
        : Double.toString(value);
  }

  private void errors() {
    List<Answer> judged =
        conformance.answers().stream()
            .filter(answer -> answer.verdict().worst().isPresent())
            .toList();
    if (judged.isEmpty()) {
      return;
    }
    section(
        "How near the bound",
        "Each result's largest share of what the rule allows, on a logarithmic scale; to the left of"
            + " the red line it passes. The height of a bar grows with the logarithm of its count.");
    new Strips(judged).draw();
  }

  /** A histogram for each device and storage type. */
  private final class Strips {
    private static final int LEFT = 150;
    private static final int ROW = 34;
    private static final int TOP = 24;
    private static final int BIN = 22;

    /** Bins to a factor of ten. */
    private static final int PER_DECADE = 5;

    /** Bins are cut off below this power of ten, and above {@link #DECADES} more. */
    private static final int LOWEST = -5;

    private static final int DECADES = 7;
    private static final int BINS = DECADES * PER_DECADE;

    /** First bin in which nothing passes. */
    private static final int BOUND = -LOWEST * PER_DECADE;

    /** Counts by bin, by device and type. */
    private final Map<String, int[]> rows = new LinkedHashMap<>();

    private int most = 1;

    Strips(List<Answer> judged) {
      for (Device device : conformance.devices()) {
        for (String type : conformance.types()) {
          int[] bins = new int[BINS];
          for (Answer answer : judged) {
            if (answer.device().equals(device) && answer.question().type().equals(type)) {
              int bin = bin(answer.verdict().worst().orElseThrow());
              bins[bin]++;
              most = Math.max(most, bins[bin]);
            }
          }
          if (java.util.Arrays.stream(bins).anyMatch(count -> count > 0)) {
            rows.put(device.id() + " " + type, bins);
          }
        }
      }
    }

    private int bin(Verdict.Judged worst) {
      double ratio = worst.errorRatio();
      if (!worst.passes()) {
        double over = Double.isNaN(ratio) ? Double.POSITIVE_INFINITY : Math.log10(ratio);
        return (int) Math.clamp(Math.floor((over - LOWEST) * PER_DECADE), BOUND, BINS - 1);
      }
      return (int)
          Math.clamp(Math.ceil((Math.log10(ratio) - LOWEST) * PER_DECADE) - 1, 0, BOUND - 1);
    }

    void draw() {
      int width = LEFT + BINS * BIN + 16;
      int height = TOP + rows.size() * ROW + 12;
      page.element(
          "svg",
          () -> {
            axis(height);
            int row = 0;
            for (Map.Entry<String, int[]> entry : rows.entrySet()) {
              strip(entry.getKey(), entry.getValue(), TOP + (++row) * ROW);
            }
            line("bound", LEFT + BOUND * BIN, height);
          },
          "viewBox",
          "0 0 " + width + " " + height,
          "width",
          Integer.toString(width),
          "role",
          "img",
          "aria-label",
          "Histograms of error over bound for each device and storage type");
    }

    private void axis(int height) {
      for (int decade = 0; decade <= DECADES; decade++) {
        int x = LEFT + decade * PER_DECADE * BIN;
        line("grid", x, height);
        String label =
            decade == 0
                ? "\u2264 1e" + LOWEST
                : decade == DECADES
                    ? "\u2265"
                    : decade + LOWEST == 0 ? "bound" : "1e" + (decade + LOWEST);
        text(label, x, 14, decade == DECADES ? "end" : "middle", "axis");
      }
    }

    private void strip(String name, int[] bins, int base) {
      text(name, LEFT - 46, base - 8, "end", "name");
      for (int bin = 0; bin < BINS; bin++) {
        if (bins[bin] > 0) {
          double share = Math.log1p(bins[bin]) / Math.log1p(most);
          long tall = Math.max(3, Math.round(share * (ROW - 6)));
          String says = bins[bin] + (bin < BOUND ? " pass" : " FAIL");
          page.element(
              "rect",
              () -> page.element("title", says),
              "class",
              bin < BOUND ? "bar" : "over",
              "x",
              Integer.toString(LEFT + bin * BIN + 2),
              "y",
              Long.toString(base - tall),
              "width",
              Integer.toString(BIN - 4),
              "height",
              Long.toString(tall));
        }
      }
    }

    private void line(String kind, int x, int height) {
      String at = Integer.toString(x);
      page.element(
          "line",
          "",
          "class",
          kind,
          "x1",
          at,
          "x2",
          at,
          "y1",
          Integer.toString(TOP - 4),
          "y2",
          Integer.toString(height - 6));
    }

    private void text(String text, int x, int y, String anchor, String kind) {
      page.element(
          "text",
          text,
          "x",
          Integer.toString(x),
          "y",
          Integer.toString(y),
          "text-anchor",
          anchor,
          "class",
          kind);
    }
  }

  private void devices() {
    section("Devices", "What answered, and why it refused what it refused.");
    page.element(
        "div",
        () ->
            conformance
                .devices()
                .forEach(device -> page.element("div", () -> device(device), "class", "card")),
        "class",
        "cards");
    conformance
        .missing()
        .forEach((id, missing) ->
            page.element(
                "p",
                "\u2013 " + id + " is unavailable: " + missing.reason() + "; " + missing.remedy()));
  }

  private void device(Device device) {
    page.element("h3", device.id() + ": " + device.displayName());
    page.element(
        "dl",
        () -> {
          fact("driver", device.driver());
          fact(
              "kind",
              device.kind().name().toLowerCase(Locale.ROOT)
                  + (device.emulated() ? ", emulated" : ""));
          fact("compute units", Integer.toString(device.limits().computeUnits()));
          fact("memory", device.limits().memoryBytes() / (1 << 20) + " MiB");
          fact("local memory", device.limits().localMemoryBytes() / 1024 + " KiB");
          fact("work-group", device.limits().workGroupSize() + " at most");
          conformance.refusals(device).forEach((reason, count) -> fact(count + " refused", reason));
        });
  }

  private void fact(String name, String value) {
    page.element("dt", name);
    page.element("dd", value);
  }

  private void kernels() {
    section(
        "Kernels",
        "What ran on each device, with its tunables and the SHA-256 of its source text.");
    for (Device device : conformance.devices()) {
      List<Provenance> ran =
          conformance.answers().stream()
              .filter(answer -> answer.device().equals(device))
              .flatMap(answer -> answer.provenance().stream())
              .distinct()
              .toList();
      if (!ran.isEmpty()) {
        page.element(
            "details",
            () -> {
              page.element("summary", device.id() + ": " + ran.size() + " builds");
              page.element(
                  "div", () -> page.element("table", () -> kernelRows(ran)), "class", "scroll");
            });
      }
    }
  }

  private void kernelRows(List<Provenance> ran) {
    page.element(
        "thead",
        () ->
            page.element(
                "tr",
                () ->
                    List.of("algorithm", "tunables", "sources", "SHA-256")
                        .forEach(heading -> page.element("th", heading))));
    page.element(
        "tbody",
        () -> {
          for (Provenance provenance : ran) {
            page.element(
                "tr",
                () -> {
                  page.element("td", provenance.plan().algorithm());
                  page.element("td", provenance.plan().tunables().toString(), "class", "number");
                  page.element("td", String.join(", ", provenance.sources()), "class", "number");
                  page.element("td", provenance.sourceHash(), "class", "number");
                });
          }
        });
  }

  private void host() {
    section("Host", "The machine and the JVM that asked.");
    page.element("dl", () -> Host.facts().forEach(this::fact), "class", "facts");
  }
}
