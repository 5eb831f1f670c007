package dev.heddle.cuda;

import dev.heddle.core.KernelBuildException;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The CUDA toolkit's compiler, as a process. */
final class Nvcc implements KernelCompiler {
  private static final Pattern VERSION = Pattern.compile("release [0-9.]+, V([0-9.]+)");
  private static final Pattern ARCHITECTURE = Pattern.compile("compute_(\\d+)\\s");

  /** What would change the output without being among the options that it is known by. */
  private static final Set<String> UNKNOWN_FLAGS =
      Set.of("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS");

  /** Many times what the largest kernel takes on a busy machine. */
  private static final Duration LIMIT = Duration.ofMinutes(3);

  private final Path program;
  private final String version;
  private final List<Integer> architectures;
  private final Duration limit;

  private Nvcc(Path program, String version, List<Integer> architectures, Duration limit) {
    this.program = program;
    this.version = version;
    this.architectures = architectures;
    this.limit = limit;
  }

  /** What a process printed on both its outputs, and how it ended. */
  private record Run(int status, String output) {}

  /** The first nvcc on the PATH, when it answers. */
  static Optional<Nvcc> onPath() {
    return onPath(System.getenv().getOrDefault("PATH", ""));
  }

  static Optional<Nvcc> onPath(String path) {
    String name = Platform.current().os() == Platform.Os.WINDOWS ? "nvcc.exe" : "nvcc";
    return Arrays.stream(path.split(File.pathSeparator))
        .filter(folder -> !folder.isEmpty())
        .map(folder -> Path.of(folder, name))
        .filter(Files::isExecutable)
        .findFirst()
        .flatMap(Nvcc::at);
  }

  /** The nvcc of that file; empty when it does not say its version and its architectures. */
  static Optional<Nvcc> at(Path program) {
    return at(program, LIMIT);
  }

  /** The same with a limit to the time that it may take each time it is run. */
  static Optional<Nvcc> at(Path program, Duration limit) {
    try {
      Path folder = Path.of(System.getProperty("java.io.tmpdir"));
      Matcher version =
          VERSION.matcher(run(folder, List.of(program.toString(), "-V"), limit).output);
      Run list = run(folder, List.of(program.toString(), "--list-gpu-arch"), limit);
      List<Integer> architectures =
          ARCHITECTURE
              .matcher(list.output + "\n")
              .results()
              .map(match -> Integer.valueOf(match.group(1)))
              .sorted()
              .toList();
      return version.find() && !architectures.isEmpty()
          ? Optional.of(new Nvcc(program, version.group(1), architectures, limit))
          : Optional.empty();
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  @Override
  public String name() {
    return "nvcc " + version;
  }

  @Override
  public String location() {
    return program.toString();
  }

  @Override
  public List<Integer> architectures() {
    return architectures;
  }

  /** Compiles in a folder of its own under bare names: paths find their way into the output. */
  @Override
  public String compile(KernelVariant variant, int architecture) {
    try {
      Path folder = Files.createTempDirectory("heddle-nvcc");
      try {
        Files.writeString(folder.resolve(variant.file()), variant.text());
        List<String> command = new ArrayList<>(List.of(program.toString(), "-ptx"));
        command.addAll(variant.options(architecture));
        command.addAll(List.of("-o", "kernel.ptx", variant.file()));
        Run run = run(folder, command, limit);
        if (run.status != 0) {
          throw new KernelBuildException(
              variant.file(), run.output + "from: " + String.join(" ", command), variant.text());
        }
        return Files.readString(folder.resolve("kernel.ptx"));
      } finally {
        delete(folder);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(name() + " can't be run on " + variant.file(), e);
    }
  }

  private static Run run(Path folder, List<String> command, Duration limit) throws IOException {
    ProcessBuilder builder =
        new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true);
    builder.environment().keySet().removeAll(UNKNOWN_FLAGS);
    Process process = builder.start();
    try {
      process.getOutputStream().close();
      FutureTask<byte[]> output = new FutureTask<>(() -> process.getInputStream().readAllBytes());
      Thread.ofPlatform().daemon().start(output);
      byte[] bytes = output.get(limit.toMillis(), TimeUnit.MILLISECONDS);
      return new Run(process.waitFor(), new String(bytes, Charset.defaultCharset()));
    } catch (TimeoutException e) {
      throw new IOException(command.getFirst() + " did not end in " + limit.toSeconds() + " s", e);
    } catch (ExecutionException e) {
      throw new IOException("what " + command.getFirst() + " said can't be read", e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while " + command.getFirst() + " ran", e);
    } finally {
      // nvcc leaves the work to programs of its own, which hold its output open.
      process.descendants().forEach(ProcessHandle::destroy);
      process.destroy();
    }
  }

  private static void delete(Path folder) throws IOException {
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    }
  }
}
