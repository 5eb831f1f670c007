package dev.heddle.reference;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Runs a backend's contract where there is no build tool: {@code ContractRun FILE
 * CLASS[#METHOD]...} runs those test classes, or methods of them, and writes what came of it.
 *
 * <p>The file has a line for each promise of the contract and for each test that did not pass, in
 * fields between tabs: {@code promise NAME PASSED FAILED SKIPPED}, {@code failed NAME TEST MESSAGE}
 * and {@code skipped NAME TEST REASON}. It appears whole or not at all. The process ends with 0
 * when every test passed, 1 when one failed, and 3 when none ran.
 */
public final class ContractRun implements TestExecutionListener {
  private static final class Counts {
    private int passed;
    private int failed;
    private int skipped;
  }

  private final Map<String, Counts> promises = new LinkedHashMap<>();
  private final List<String> remarks = new ArrayList<>();
  private Optional<TestPlan> plan = Optional.empty();

  private ContractRun() {}

  /** Runs the classes and methods named after the result file. */
  public static void main(String[] arguments) throws IOException {
    if (arguments.length < 2) {
      System.err.println("usage: ContractRun FILE CLASS[#METHOD]...");
      System.exit(2);
    }
    System.exit(run(Path.of(arguments[0]), List.of(arguments).subList(1, arguments.length)));
  }

  /** Runs classes and methods, writes the file, and returns the exit code. */
  static int run(Path file, List<String> names) throws IOException {
    ContractRun run = new ContractRun();
    LauncherDiscoveryRequest request =
        LauncherDiscoveryRequestBuilder.request()
            .selectors(names.stream().map(ContractRun::selector).toList())
            .build();
    Launcher launcher = LauncherFactory.create();
    launcher.execute(request, run);
    run.write(file);
    return run.exitCode();
  }

  private static DiscoverySelector selector(String name) {
    return name.contains("#")
        ? DiscoverySelectors.selectMethod(name)
        : DiscoverySelectors.selectClass(name);
  }

  @Override
  public void testPlanExecutionStarted(TestPlan started) {
    plan = Optional.of(started);
  }

  @Override
  public void executionSkipped(TestIdentifier test, String reason) {
    count(test).skipped++;
    remark("skipped", test, reason);
  }

  @Override
  public void executionFinished(TestIdentifier test, TestExecutionResult result) {
    String message = result.getThrowable().map(Throwable::toString).orElse("");
    switch (result.getStatus()) {
      case SUCCESSFUL -> {
        if (test.isTest()) {
          count(test).passed++;
        }
      }
      // A container that breaks, such as a factory or what follows all tests, is a failure too.
      case FAILED -> {
        count(test).failed++;
        remark("failed", test, message);
      }
      case ABORTED -> {
        count(test).skipped++;
        remark("skipped", test, message);
      }
    }
  }

  private Counts count(TestIdentifier test) {
    return promises.computeIfAbsent(promise(test), unseen -> new Counts());
  }

  private void remark(String kind, TestIdentifier test, String message) {
    remarks.add(kind + "\t" + promise(test) + "\t" + path(test) + "\t" + oneLine(message));
  }

  /** The method of the contract that a test belongs to. */
  private String promise(TestIdentifier test) {
    return upwards(test)
        .flatMap(each -> each.getSource().stream())
        .filter(MethodSource.class::isInstance)
        .map(source -> ((MethodSource) source).getMethodName())
        .findFirst()
        .orElse(test.getDisplayName());
  }

  /** A test's name after those of what it lies in, below its method. */
  private String path(TestIdentifier test) {
    List<String> names =
        upwards(test)
            .takeWhile(
                each -> each.getUniqueIdObject().getLastSegment().getType().startsWith("dyn"))
            .map(each -> oneLine(each.getDisplayName()))
            .toList();
    return String.join(" > ", names.reversed());
  }

  private Stream<TestIdentifier> upwards(TestIdentifier test) {
    TestPlan tree = plan.orElseThrow();
    return Stream.iterate(
            Optional.of(test), Optional::isPresent, each -> each.flatMap(tree::getParent))
        .flatMap(Optional::stream);
  }

  private static String oneLine(String text) {
    return text.strip().replaceAll("\\s*\\R\\s*", " | ").replace('\t', ' ');
  }

  private void write(Path file) throws IOException {
    Path unfinished = file.resolveSibling(file.getFileName() + ".tmp");
    try (PrintWriter out =
        new PrintWriter(Files.newBufferedWriter(unfinished, StandardCharsets.UTF_8))) {
      promises.forEach((name, counts) ->
          out.printf(
              "promise\t%s\t%d\t%d\t%d\n", name, counts.passed, counts.failed, counts.skipped));
      remarks.forEach(remark -> out.print(remark + "\n"));
    }
    Files.move(unfinished, file, StandardCopyOption.ATOMIC_MOVE);
  }

  private int exitCode() {
    if (promises.values().stream().anyMatch(counts -> counts.failed > 0)) {
      return 1;
    }
    return promises.values().stream().anyMatch(counts -> counts.passed > 0) ? 0 : 3;
  }
}
