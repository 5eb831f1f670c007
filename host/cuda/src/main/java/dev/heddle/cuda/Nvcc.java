package dev.heddle.cuda;

import dev.heddle.core.KernelBuildException;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The CUDA toolkit's compiler, as a process. */
final class Nvcc implements KernelCompiler {
  private static final Pattern VERSION = Pattern.compile("release [0-9.]+, V([0-9.]+)");
  private static final Pattern ARCHITECTURE = Pattern.compile("compute_(\\d+)\\s");

  private final Path program;
  private final String version;
  private final List<Integer> architectures;

  private Nvcc(Path program, String version, List<Integer> architectures) {
    this.program = program;
    this.version = version;
    this.architectures = architectures;
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
    try {
      Path folder = Path.of(System.getProperty("java.io.tmpdir"));
      Matcher version = VERSION.matcher(run(folder, List.of(program.toString(), "-V")).output);
      Run list = run(folder, List.of(program.toString(), "--list-gpu-arch"));
      List<Integer> architectures =
          ARCHITECTURE
              .matcher(list.output + "\n")
              .results()
              .map(match -> Integer.valueOf(match.group(1)))
              .sorted()
              .toList();
      return version.find() && !architectures.isEmpty()
          ? Optional.of(new Nvcc(program, version.group(1), architectures))
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
        Run run = run(folder, command);
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

  private static Run run(Path folder, List<String> command) throws IOException {
    Process process =
        new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true).start();
    try {
      process.getOutputStream().close();
      String output = new String(process.getInputStream().readAllBytes(), Charset.defaultCharset());
      return new Run(process.waitFor(), output);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while " + command.getFirst() + " ran", e);
    } finally {
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
