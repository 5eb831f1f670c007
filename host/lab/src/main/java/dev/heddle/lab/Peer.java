package dev.heddle.lab;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.core.AttentionProblem;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/**
 * Another program that times the same attention problem in turn with Heddle's devices, so that both
 * meet the same clocks and temperatures.
 *
 * <p>It is started early, to load while the reference is computed. It speaks JSON, one object a
 * line: it first says its {@code name} or an {@code error}, then answers each problem that it reads
 * with the times of its {@code implementations}; {@code bench/peers/torch_sdpa} has the fields. One
 * that fails, or takes longer than {@link #PATIENCE}, is told of and not waited for again.
 */
public final class Peer implements AutoCloseable {
  /** Longest wait for one answer. */
  static final Duration PATIENCE = Duration.ofMinutes(3);

  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * What one of a peer's implementations made of a problem.
   *
   * @param name as the peer calls it
   * @param rounds times of each round's counted runs, ns; empty when it failed
   * @param error why there are no times
   */
  public record Implementation(String name, List<List<Long>> rounds, Optional<String> error) {
    /** Freezes the lists; a failure has no times, not even those from before it. */
    public Implementation {
      rounds = error.isPresent() ? List.of() : rounds.stream().map(List::copyOf).toList();
    }

    /** Median of all rounds' runs, ns; empty when there are none. */
    public Optional<Long> medianNs() {
      OptionalLong median =
          Measurement.median(rounds.stream().flatMap(List::stream).mapToLong(Long::longValue));
      return median.isPresent() ? Optional.of(median.getAsLong()) : Optional.empty();
    }
  }

  /**
   * All that a peer said.
   *
   * @param greeting its own words about itself, as JSON
   * @param implementations what it timed
   * @param error why it could not be asked, or not any more
   */
  public record Result(
      Map<String, String> greeting, List<Implementation> implementations, Optional<String> error) {
    /** Freezes the collections. */
    public Result {
      greeting = java.util.Collections.unmodifiableMap(new LinkedHashMap<>(greeting));
      implementations = List.copyOf(implementations);
    }
  }

  private final Process process;
  private final BufferedReader answers;
  private final Duration patience;
  private final Map<String, String> greeting = new LinkedHashMap<>();
  private final Map<String, List<List<Long>>> times = new LinkedHashMap<>();
  private final Map<String, String> failures = new LinkedHashMap<>();
  private boolean greeted;
  private @Nullable String error;

  private Peer(Process process, Duration patience) {
    this.process = process;
    this.patience = patience;
    answers =
        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
  }

  /**
   * Starts a program; what it writes to standard error goes where Heddle's does.
   *
   * @throws IllegalArgumentException when there is no such program
   */
  public static Peer start(Path program) {
    return start(program, PATIENCE);
  }

  static Peer start(Path program, Duration patience) {
    try {
      return new Peer(
          new ProcessBuilder(program.toAbsolutePath().toString())
              .redirectError(ProcessBuilder.Redirect.INHERIT)
              .start(),
          patience);
    } catch (IOException e) {
      throw new IllegalArgumentException(
          "the peer " + program + " can't be started: " + e.getMessage(), e);
    }
  }

  /** Lets the program time a problem once more; does nothing when it has failed as a whole. */
  void round(AttentionProblem problem, Protocol protocol) {
    try {
      greet();
      if (error == null) {
        ask(JSON.writeValueAsString(request(problem, protocol)));
        hear(answer());
      }
    } catch (IOException e) {
      fail("it gave no answer: " + e.getMessage());
    }
  }

  /** All that was heard so far. */
  Result result() {
    try {
      greet();
    } catch (IOException e) {
      fail("it gave no answer: " + e.getMessage());
    }
    List<Implementation> implementations = new ArrayList<>();
    times.forEach((name, rounds) ->
        implementations.add(
            new Implementation(name, rounds, Optional.ofNullable(failures.get(name)))));
    return new Result(greeting, implementations, Optional.ofNullable(error));
  }

  /** Ends the program. */
  @Override
  public void close() {
    process.destroy();
    try {
      if (!process.waitFor(2, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }

  private void ask(String line) throws IOException {
    try {
      process.outputWriter(StandardCharsets.UTF_8).append(line).append('\n').flush();
    } catch (IOException e) {
      // Whether the pipe is said to be broken or closed is a matter of timing.
      throw new IOException("it has ended", e);
    }
  }

  private void greet() throws IOException {
    if (greeted) {
      return;
    }
    greeted = true;
    answer()
        .properties()
        .forEach(field -> {
          if (field.getKey().equals("error")) {
            error = field.getValue().asText();
          } else {
            greeting.put(field.getKey(), field.getValue().asText());
          }
        });
  }

  private void hear(JsonNode answer) {
    if (answer.has("error")) {
      fail(answer.get("error").asText());
    }
    for (JsonNode node : answer.path("implementations")) {
      String name = node.path("name").asText();
      List<List<Long>> rounds = times.computeIfAbsent(name, unheard -> new ArrayList<>());
      List<Long> samples = new ArrayList<>();
      node.path("samplesNs").forEach(sample -> samples.add(sample.asLong()));
      if (node.has("error") || samples.isEmpty()) {
        failures.putIfAbsent(name, node.path("error").asText("no times"));
      } else {
        rounds.add(samples);
      }
    }
  }

  private JsonNode answer() throws IOException {
    FutureTask<@Nullable String> reading = new FutureTask<>(answers::readLine);
    Thread.ofVirtual().start(reading);
    try {
      String line = reading.get(patience.toMillis(), TimeUnit.MILLISECONDS);
      if (line == null) {
        throw new IOException("it has ended");
      }
      return JSON.readTree(line);
    } catch (JsonProcessingException e) {
      throw new IOException("its answer is not JSON");
    } catch (TimeoutException e) {
      throw new IOException("nothing came within " + patience.toSeconds() + " s");
    } catch (ExecutionException e) {
      throw new IOException(String.valueOf(e.getCause()));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted");
    }
  }

  private void fail(String reason) {
    if (error == null) {
      error = reason;
    }
  }

  private static ObjectNode request(AttentionProblem problem, Protocol protocol) {
    ObjectNode request = ComparisonJson.problem(problem);
    request.put("softmaxScale", problem.softmaxScale());
    request.put("warmUpNs", protocol.warmUpNs());
    request.put("countedNs", protocol.countedNs());
    request.put("fewestRuns", protocol.fewestRuns());
    request.put("mostRuns", protocol.mostRuns());
    return request;
  }
}
