package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Runs a class of the tests in a JVM of its own, where a driver sees another machine. */
public final class ForkedJvm {
  private static final int TIMEOUT_MINUTES = 4;

  private ForkedJvm() {}

  /**
   * Runs it to its end, which must be a good one.
   *
   * @param folder where its output may lie meanwhile
   * @param environment variables to set for it
   * @return the lines that it and native code in it printed
   */
  public static List<String> run(
      Path folder, Class<?> main, Map<String, String> environment, String... arguments)
      throws IOException, InterruptedException {
    return run(folder, List.of(), main, environment, arguments);
  }

  /**
   * Runs it to its end, which must be a good one.
   *
   * @param folder where its output may lie meanwhile
   * @param options for its JVM
   * @param environment variables to set for it
   * @return the lines that it and native code in it printed
   */
  public static List<String> run(
      Path folder,
      List<String> options,
      Class<?> main,
      Map<String, String> environment,
      String... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(options);
    command.addAll(
        List.of(
            "--enable-native-access=ALL-UNNAMED",
            "-cp",
            System.getProperty("java.class.path"),
            main.getName()));
    command.addAll(List.of(arguments));
    Path log = Files.createTempFile(folder, "log", ".txt");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
    builder.environment().putAll(environment);
    Process process = builder.start();
    boolean ended = process.waitFor(TIMEOUT_MINUTES, TimeUnit.MINUTES);
    process.destroyForcibly().waitFor();
    List<String> output = Files.readAllLines(log, StandardCharsets.ISO_8859_1);
    assertThat(ended).as("ended in time: %s", output).isTrue();
    assertThat(process.exitValue()).as("exit code: %s", output).isZero();
    return output;
  }
}
