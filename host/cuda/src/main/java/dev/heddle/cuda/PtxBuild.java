package dev.heddle.cuda;

import dev.heddle.core.KernelBuildException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Makes the PTX that the jar ships; a step of the build, run when the classes have been compiled.
 *
 * <p>What is there from before and whose source, options and compiler are the same is kept; so is
 * what this user's cache holds, where another build of the same sources came before. Where the
 * build machine has no nvcc, nothing is shipped, and kernels are compiled at run time.
 */
public final class PtxBuild {
  /** The architecture whose tensor-core and copy instructions the kernels are written for. */
  private static final int MAIN = 80;

  /** The oldest that anything is shipped for; older devices need a compiler of their time. */
  private static final int OLDEST = 75;

  private final Path folder;
  private final KernelCompiler compiler;
  private final PtxCache cache;

  private PtxBuild(Path folder, KernelCompiler compiler, PtxCache cache) {
    this.folder = folder;
    this.compiler = compiler;
    this.cache = cache;
  }

  /**
   * Fills a folder.
   *
   * @param arguments the folder of the classes
   * @throws KernelBuildException when a kernel does not compile
   * @throws IOException when the folder can't be written
   */
  public static void main(String[] arguments) throws IOException {
    Path folder = Path.of(arguments[0]).resolve(ShippedPtx.FOLDER);
    CompilerSearch search = CompilerSearch.forNvcc();
    if (search.compiler().isEmpty()) {
      say(search.missing() + ": no PTX is shipped, and kernels are compiled when they are run");
      build(folder, Optional.empty(), PtxCache.ofThisUser(), List.of());
    } else {
      build(folder, search.compiler(), PtxCache.ofThisUser(), ShippedKernels.variants());
    }
  }

  /** Brings a folder up to date. */
  static void build(
      Path folder,
      Optional<KernelCompiler> compiler,
      PtxCache cache,
      Collection<KernelVariant> variants)
      throws IOException {
    if (compiler.isEmpty()) {
      keepOnly(folder, Set.of());
    } else {
      new PtxBuild(folder, compiler.get(), cache).build(variants);
    }
  }

  /** One text to make. */
  private record Job(KernelVariant variant, ShippedPtx.Entry entry) {}

  private void build(Collection<KernelVariant> variants) throws IOException {
    long start = System.nanoTime();
    List<Job> jobs = variants.stream().flatMap(this::jobs).distinct().toList();
    List<ShippedPtx.Entry> entries = jobs.stream().map(Job::entry).toList();
    Set<ShippedPtx.Entry> before = before();
    List<Job> stale =
        jobs.stream()
            .filter(job ->
                !before.contains(job.entry)
                    || !Files.isRegularFile(folder.resolve(job.entry.fileName())))
            .toList();
    Set<String> wanted =
        entries.stream().map(ShippedPtx.Entry::fileName).collect(Collectors.toSet());
    wanted.add(ShippedPtx.INDEX);
    keepOnly(folder, wanted);
    if (!stale.isEmpty()) {
      // An interrupted build leaves no index, and the next one starts anew.
      Files.deleteIfExists(folder.resolve(ShippedPtx.INDEX));
      compile(stale);
      say(
          "%d PTX files from %s in %.1f s"
              .formatted(stale.size(), compiler.name(), (System.nanoTime() - start) / 1e9));
    }
    ShippedPtx index = new ShippedPtx(compiler.name(), entries);
    UserCache.write(
        folder.resolve(ShippedPtx.INDEX), index.json().getBytes(StandardCharsets.UTF_8));
  }

  /** A text for the oldest devices runs on all others: a second one is made where it differs. */
  private Stream<Job> jobs(KernelVariant variant) {
    int oldest = lowestFrom(OLDEST);
    int main = lowestFrom(MAIN);
    boolean allowed = variant.refusal(oldest).isEmpty();
    return Stream.of(oldest, main)
        .filter(architecture ->
            architecture == oldest ? allowed : !allowed || variant.dependsOnArchitecture())
        .map(architecture -> new Job(variant, ShippedPtx.Entry.of(variant, architecture)));
  }

  /** The lowest architecture from that one on that the compiler has: each drops some in time. */
  private int lowestFrom(int architecture) {
    return compiler.architectures().stream()
        .filter(candidate -> candidate >= architecture)
        .min(Comparator.naturalOrder())
        .orElseThrow(() ->
            new IllegalStateException(
                compiler.name()
                    + " compiles for "
                    + compiler.architectures()
                    + " and for nothing from "
                    + architecture
                    + " on"));
  }

  /** What an earlier build with the same compiler made. */
  private Set<ShippedPtx.Entry> before() throws IOException {
    Path index = folder.resolve(ShippedPtx.INDEX);
    if (!Files.isRegularFile(index)) {
      return Set.of();
    }
    ShippedPtx before = ShippedPtx.parse(Files.readString(index));
    return before.compiler().equals(compiler.name())
        ? new LinkedHashSet<>(before.entries())
        : Set.of();
  }

  private void compile(List<Job> jobs) throws IOException {
    int threads = Runtime.getRuntime().availableProcessors();
    try (ExecutorService pool = Executors.newFixedThreadPool(threads)) {
      List<Future<?>> running = new ArrayList<>();
      for (Job job : jobs) {
        running.add(
            pool.submit(() -> {
              compile(job);
              return null;
            }));
      }
      try {
        for (Future<?> each : running) {
          each.get();
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IOException("interrupted", e);
      } catch (ExecutionException e) {
        pool.shutdownNow();
        switch (e.getCause()) {
          case IOException io -> throw io;
          case RuntimeException failure -> throw failure;
          case null, default -> throw new IllegalStateException(e);
        }
      }
    }
  }

  private void compile(Job job) throws IOException {
    String ptx = cache.compiled(job.variant, compiler, job.entry.architecture());
    UserCache.write(folder.resolve(job.entry.fileName()), ptx.getBytes(StandardCharsets.UTF_8));
  }

  private static void keepOnly(Path folder, Set<String> names) throws IOException {
    if (!Files.isDirectory(folder)) {
      return;
    }
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.toList()) {
        if (!names.contains(file.getFileName().toString())) {
          Files.delete(file);
        }
      }
    }
  }

  private static void say(String what) {
    System.out.println("heddle-cuda: " + what);
  }
}
