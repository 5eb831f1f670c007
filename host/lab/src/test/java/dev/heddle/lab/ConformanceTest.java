package dev.heddle.lab;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.lab.Conformance.Answer;
import dev.heddle.lab.Conformance.Counts;
import dev.heddle.reference.CaseInputs;
import dev.heddle.reference.ConformanceCase;
import dev.heddle.reference.Feature;
import dev.heddle.reference.PlantedBackend;
import dev.heddle.reference.PlantedBackend.Fault;
import dev.heddle.reference.Policies;
import dev.heddle.reference.ReferenceBackend;
import dev.heddle.reference.TolerancePolicy;
import dev.heddle.reference.Verdict;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

class ConformanceTest {
  private static final AttentionProblem PROBLEM =
      AttentionProblem.of(new AttentionShape(1, 2, 1, 9, 13, 8, 8));
  private static final ConformanceCase ATTENTION =
      ConformanceCase.of("attention/small", PROBLEM, CaseInputs.NORMAL);
  private static final ConformanceCase LINEAR =
      ConformanceCase.of(
          "linear/small", new LinearProblem(3, 5, 4, true, DType.FP32), CaseInputs.NORMAL);
  private static final ConformanceCase HALVES =
      ConformanceCase.of("attention/small", PROBLEM.withDtype(DType.FP16), CaseInputs.NORMAL);
  private static final Counts PASS = new Counts(1, 0, 0);
  private static final Counts FAIL = new Counts(0, 1, 0);
  private static final Counts REFUSED = new Counts(0, 0, 1);

  private static Conformance run(Backend backend) {
    return run(List.of(backend), Selection.ALL, Optional.empty(), Policies.all());
  }

  private static Conformance run(
      List<Backend> backends,
      Selection selection,
      Optional<String> algorithm,
      List<TolerancePolicy> policies) {
    return Conformance.run(
        Installation.of(backends),
        new Conformance.Request(
            "test", List.of(ATTENTION, LINEAR, HALVES), selection, algorithm, policies),
        doing -> {});
  }

  @Test
  void everyFaultIsAFailAndNothingElseIs() {
    Conformance conformance = run(new PlantedBackend());
    for (Fault fault : Fault.values()) {
      Device device = conformance.devices().get(fault.ordinal());
      Counts attention = conformance.counts(Question.Row.of(Feature.GROUPED_HEADS), "fp32", device);
      Counts linear = conformance.counts(Question.Row.of(Feature.LINEAR), "fp32", device);
      switch (fault) {
        case NONE, SLOW, EMULATED, WRONG_WHEN_WARM -> {
          assertThat(attention).as("%s", fault).isEqualTo(PASS);
          assertThat(linear).as("%s", fault).isEqualTo(PASS);
        }
        case WRONG_VALUE, NAN, NOT_WRITTEN, BREAKS, THROWS -> {
          assertThat(attention).as("%s", fault).isEqualTo(FAIL);
          assertThat(linear).as("%s", fault).isEqualTo(FAIL);
        }
        case REFUSES -> {
          assertThat(attention).as("%s", fault).isEqualTo(REFUSED);
          assertThat(linear).as("%s", fault).isEqualTo(REFUSED);
        }
        // Attention's naive kernel kills its session; flash has one of its own.
        case DIES -> {
          assertThat(attention).as("%s", fault).isEqualTo(new Counts(1, 1, 0));
          assertThat(linear).as("%s", fault).isEqualTo(PASS);
        }
        // The last answer before a session is closed is the one that tells of it.
        case STAYS_OPEN -> {
          assertThat(attention).as("%s", fault).isEqualTo(PASS);
          assertThat(linear).as("%s", fault).isEqualTo(FAIL);
          assertThat(conformance.failures())
              .filteredOn(answer -> answer.device().equals(device))
              .hasSize(2)
              .allSatisfy(answer ->
                  assertThat(answer.verdict().reason().orElseThrow()).contains("plantedClose"));
        }
      }
    }
    assertThat(conformance.failures().size()).isEqualTo(conformance.counts().failed());
    assertThat(conformance.failures()).allMatch(Answer::failed);
    assertThat(conformance.types()).containsExactly("fp32", "fp16");
  }

  /** One session for each storage type, and one more for what comes after a failure. */
  @Test
  void answersThatAreRightShareASessionAndAWrongOneEndsIt() {
    PlantedBackend sound = new PlantedBackend("planted", Fault.NONE);
    assertThat(run(sound).counts()).isEqualTo(new Counts(3, 0, 0));
    assertThat(sound.opened()).isEqualTo(2);
    PlantedBackend wrong = new PlantedBackend("planted", Fault.NAN);
    assertThat(run(wrong).counts()).isEqualTo(new Counts(0, 3, 0));
    assertThat(wrong.opened()).isEqualTo(3);
  }

  /** An error of a thousandth and a bit in one element: too much for all but the whole's mean. */
  @Test
  void everyPolicyHasItsOwnOpinionOfOneRun() {
    Conformance conformance = run(new PlantedBackend("planted", Fault.WRONG_VALUE));
    Device device = conformance.devices().getFirst();
    List<Integer> failed =
        Policies.all().stream().map(p -> conformance.counts(p, device).failed()).toList();
    assertThat(failed.subList(0, 3)).containsOnly(3);
    assertThat(failed.get(3)).as("ggml").isZero();
    assertThat(conformance.ordinaryCounts(Policies.all().get(3), device))
        .isEqualTo(new Counts(2, 0, 0));
    assertThat(conformance.policy()).isSameAs(Policies.all().getFirst());
    Conformance byGgml =
        run(
            List.of(new PlantedBackend("planted", Fault.WRONG_VALUE)),
            Selection.ALL,
            Optional.empty(),
            List.of(Policies.all().get(3)));
    assertThat(byGgml.counts()).isEqualTo(new Counts(3, 0, 0));
  }

  @Test
  void aFailureNamesItsWorstElementAndTheCommandThatShowsItAgain() {
    Conformance conformance = run(new PlantedBackend("planted", Fault.NONE, Fault.WRONG_VALUE));
    Answer answer = conformance.failures().getFirst();
    Verdict.Judged worst = answer.verdict().worst().orElseThrow();
    assertThat(worst.worst().index()).isZero();
    assertThat(worst.error()).isGreaterThan(worst.bound());
    assertThat(answer.verdict().reason().orElseThrow()).contains("[0, 0, 0", "expected", "bound");
    assertThat(conformance.command(answer))
        .isEqualTo(
            "./heddle conform --case attention/small --dtype fp32 --backend planted --device 1"
                + " --algorithm naive --policy flash-attention");
  }

  @Test
  void anEmulatorIsStartedByTheCommandToo() {
    Conformance conformance = run(new PlantedBackend("cuda", Fault.EMULATED));
    assertThat(conformance.command(conformance.answers().getFirst()))
        .startsWith("HEDDLE_CUDA=emulator ./heddle conform --case");
  }

  @Test
  void aDeviceWithoutAnyAlgorithmRefuses() {
    Conformance conformance = run(new EmptyBackend());
    assertThat(conformance.counts()).isEqualTo(new Counts(0, 0, 3));
    assertThat(conformance.refusals(conformance.devices().getFirst()))
        .containsEntry("operation: empty:0 has no attention", 2)
        .containsEntry("operation: empty:0 has no linear", 1);
    assertThat(conformance.answers()).allMatch(answer -> answer.algorithm().isEmpty());
  }

  @Test
  void selectionsAndAlgorithmsThatDoNotExist() {
    assertThatThrownBy(() ->
            run(
                List.of(new ReferenceBackend()),
                Selection.ALL,
                Optional.of("quick"),
                Policies.all()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'quick'; there are naive, staged, flash");
    assertThatThrownBy(() ->
            run(
                List.of(new ReferenceBackend()),
                new Selection(Optional.of("metal"), OptionalInt.empty()),
                Optional.empty(),
                Policies.all()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("no backend 'metal'");
    assertThatThrownBy(() -> run(List.of(), Selection.ALL, Optional.empty(), Policies.all()))
        .isInstanceOf(NothingToRunException.class);
    Conformance flash =
        run(List.of(new ReferenceBackend()), Selection.ALL, Optional.of("flash"), Policies.all());
    assertThat(flash.answers()).hasSize(2).allMatch(a -> a.kernel().equals("attention_flash"));
  }

  @Test
  void theJsonHoldsEveryAnswerWithItsProvenance() throws IOException {
    Conformance conformance = run(new PlantedBackend());
    JsonNode root = new ObjectMapper().readTree(ConformanceJson.write(conformance));
    assertThat(root.get("format").asText()).isEqualTo("heddle-conformance");
    assertThat(root.get("version").asInt()).isEqualTo(1);
    assertThat(root.get("results")).hasSize(conformance.answers().size());
    assertThat(root.get("host").get("java").asText()).isEqualTo(Runtime.version().toString());
    assertThat(root.get("counts").get("fail").asInt()).isEqualTo(conformance.counts().failed());
    assertThat(root.get("devices")).hasSize(Fault.values().length);
    assertThat(root.get("devices").get(0).get("driver").asText()).isEqualTo("none");
    assertThat(root.get("policies")).hasSize(4);
    assertThat(root.get("policies").get(1).get("judges").asBoolean()).isFalse();
    int fails = 0;
    for (JsonNode cell : root.get("matrix")) {
      fails += cell.get("feature").asText().equals("linear") ? cell.get("fail").asInt() : 0;
    }
    assertThat(fails).isEqualTo(6);
    for (JsonNode result : root.get("results")) {
      Fault fault = Fault.values()[Integer.parseInt(result.get("device").asText().split(":")[1])];
      String verdict = result.get("verdict").asText();
      assertThat(result.get("judgements").get(0).get("verdict").asText()).isEqualTo(verdict);
      assertThat(result.get("command").asText()).contains("--device " + fault.ordinal());
      if (verdict.equals("pass")) {
        JsonNode kernel = root.get("kernels").get(result.get("kernels").get(0).asInt());
        assertThat(kernel.get("sourceSha256").asText()).hasSize(64);
        assertThat(kernel.get("device").asText()).startsWith("reference:");
        assertThat(kernel.has("tunables")).isTrue();
      }
      if (fault == Fault.NAN) {
        JsonNode last = result.get("judgements").get(0).get("tensors").get(0);
        assertThat(last.get("worst").get("got").asText()).isEqualTo("NaN");
        assertThat(last.get("value").asText()).isEqualTo("NaN");
      }
    }
  }

  @Test
  void theJunitXmlCountsWhatItHolds() throws Exception {
    Conformance conformance = run(new PlantedBackend());
    Document xml = parse(ConformanceJunit.write(conformance));
    Element root = xml.getDocumentElement();
    assertThat(root.getTagName()).isEqualTo("testsuites");
    assertThat(root.getAttribute("failures"))
        .isEqualTo(Integer.toString(conformance.counts().failed()));
    List<Element> suites = elements(root, "testsuite");
    assertThat(suites).hasSize(2 * Fault.values().length);
    int tests = 0;
    for (Element suite : suites) {
      List<Element> cases = elements(suite, "testcase");
      tests += cases.size();
      assertThat(suite.getAttribute("tests")).isEqualTo(Integer.toString(cases.size()));
      assertThat(suite.getAttribute("failures"))
          .isEqualTo(Integer.toString(elements(suite, "failure").size()));
      assertThat(suite.getAttribute("skipped"))
          .isEqualTo(Integer.toString(elements(suite, "skipped").size()));
      assertThat(suite.getAttribute("errors")).isEqualTo("0");
      assertThat(suite.getAttribute("time")).matches("[0-9]+\\.[0-9]{3}");
      assertThat(suite.getAttribute("timestamp"))
          .matches("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}");
      assertThat(cases).allMatch(one -> !one.getAttribute("classname").isEmpty());
      assertThat(cases).extracting(one -> one.getAttribute("name")).doesNotHaveDuplicates();
    }
    assertThat(tests).isEqualTo(conformance.answers().size());
    Element failure = elements(root, "failure").getFirst();
    assertThat(failure.getTextContent()).contains("again: ./heddle conform --case");
    assertThat(failure.getAttribute("message")).isNotEmpty();
  }

  @Test
  void thePageShowsEveryFailureAndLoadsNothing() throws Exception {
    Conformance conformance = run(new PlantedBackend());
    byte[] page = ConformancePage.write(conformance);
    String text = new String(page, StandardCharsets.UTF_8);
    assertThat(text).startsWith("<!DOCTYPE html>");
    Document html = parse(page);
    assertThat(elements(html.getDocumentElement(), "pre"))
        .extracting(Element::getTextContent)
        .containsExactlyElementsOf(
            conformance.failures().stream().map(conformance::command).toList());
    assertThat(text).contains(conformance.counts().failed() + " of ", "results FAIL");
    assertThat(text)
        .contains("default-src 'none'")
        .doesNotContain("http://", "https://", "<script");
    assertThat(elements(html.getDocumentElement(), "img")).isEmpty();
    assertThat(elements(html.getDocumentElement(), "link")).isEmpty();
    long cells =
        elements(html.getDocumentElement(), "td").stream()
            .filter(td -> td.getAttribute("class").startsWith("fail-cell "))
            .count();
    assertThat(cells).as("cells of the matrix with a failure").isPositive();
    String sound =
        new String(
            ConformancePage.write(run(new PlantedBackend("sound", Fault.NONE))),
            StandardCharsets.UTF_8);
    assertThat(sound).contains("\u2713 all 3 results pass").doesNotContain("class=\"failure\"");
  }

  /** What a driver calls itself is no one's to trust. */
  @Test
  void whatADriverSaysIsTextAndNeverMarkup() throws Exception {
    String hostile = "</title><script>alert(1)</script> & \"quoted\" ' ]]> \u0001 \uD800";
    Conformance conformance = run(new EmptyBackend(hostile));
    for (byte[] document :
        List.of(ConformancePage.write(conformance), ConformanceJunit.write(conformance))) {
      Document parsed = parse(document);
      assertThat(elements(parsed.getDocumentElement(), "script")).isEmpty();
      assertThat(new String(document, StandardCharsets.UTF_8))
          .contains("&lt;script")
          .doesNotContain("<script", "\u0001");
    }
    JsonNode root = new ObjectMapper().readTree(ConformanceJson.write(conformance));
    assertThat(root.get("devices").get(0).get("driver").asText()).contains("<script>");
  }

  private static Document parse(byte[] document) throws Exception {
    return DocumentBuilderFactory.newDefaultInstance()
        .newDocumentBuilder()
        .parse(new ByteArrayInputStream(document));
  }

  private static List<Element> elements(Element root, String tag) {
    NodeList found = root.getElementsByTagName(tag);
    List<Element> elements = new ArrayList<>();
    for (int i = 0; i < found.getLength(); i++) {
      elements.add((Element) found.item(i));
    }
    return elements;
  }

  /** One device that has no algorithm for anything. */
  private record EmptyBackend(String driver) implements Backend {
    EmptyBackend() {
      this("none");
    }

    @Override
    public String id() {
      return "empty";
    }

    @Override
    public Probe probe() {
      Device.Limits limits = new Device.Limits(1, 1, 0, 1, 1);
      Device device = new Device("empty", 0, driver, driver, Device.Kind.GPU, false, limits);
      return new Probe.Available(List.of(device), List.of());
    }

    @Override
    public List<String> algorithms(Device device, Operation operation) {
      return List.of();
    }

    @Override
    public Optional<Refusal> refusal(Device device, Operation operation, Plan plan) {
      throw new IllegalStateException("there is no plan");
    }

    @Override
    public Session open(Device device) {
      throw new IllegalStateException("there is nothing to run");
    }
  }
}
