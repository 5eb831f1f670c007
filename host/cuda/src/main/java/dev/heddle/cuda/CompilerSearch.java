package dev.heddle.cuda;

import dev.heddle.core.KernelBuildException;
import dev.heddle.core.kernel.KernelSource;
import java.io.UncheckedIOException;
import java.util.Optional;
import java.util.TreeMap;

/**
 * What was found when a compiler was looked for.
 *
 * @param compiler the compiler to use
 * @param missing what is not there or does not work, as part of a sentence; empty with a compiler
 */
record CompilerSearch(Optional<KernelCompiler> compiler, String missing) {
  private static final KernelVariant TRIAL =
      new KernelVariant(
          new KernelSource("trial.cu", "extern \"C\" __global__ void trial() {}\n"),
          new TreeMap<>());

  /** Looked for once in a process, and only when it is needed. */
  private static final class ThisMachine {
    static final CompilerSearch FOUND = look();
  }

  /** What this machine has: nvcc on the PATH, else NVRTC. */
  static CompilerSearch onThisMachine() {
    return ThisMachine.FOUND;
  }

  private static CompilerSearch look() {
    CompilerSearch nvcc = forNvcc();
    if (nvcc.compiler.isPresent()) {
      return nvcc;
    }
    CompilerSearch nvrtc = tried(Nvrtc.onThisMachine(), "NVRTC", "");
    return nvrtc.compiler.isPresent()
        ? nvrtc
        : notFound(nvcc.missing + " and " + nvrtc.missing + " (libnvrtc)");
  }

  /** Looks for nvcc on the PATH. */
  static CompilerSearch forNvcc() {
    return tried(Nvcc.onPath(), "nvcc", " on the PATH");
  }

  /**
   * Has a compiler compile something: nvcc needs a host compiler too and NVRTC a second library,
   * and both are of no use without; nor is nvcc where no temporary file can be written. None of
   * that may keep kernels whose PTX is shipped from being run.
   */
  static CompilerSearch tried(
      Optional<? extends KernelCompiler> candidate, String name, String where) {
    if (candidate.isEmpty()) {
      return notFound("no " + name + where);
    }
    KernelCompiler compiler = candidate.get();
    try {
      compiler.compile(TRIAL, compiler.architectures().getFirst());
      return new CompilerSearch(Optional.of(compiler), "");
    } catch (KernelBuildException e) {
      String first = e.log().lines().findFirst().orElse("it says nothing");
      return broken(name, compiler, first);
    } catch (UncheckedIOException | IllegalStateException e) {
      String cause = e.getCause() == null ? "" : ": " + e.getCause();
      return broken(name, compiler, e.getMessage() + cause);
    }
  }

  private static CompilerSearch broken(String name, KernelCompiler compiler, String why) {
    return notFound("no " + name + " that works (" + compiler.location() + ": " + why + ")");
  }

  private static CompilerSearch notFound(String missing) {
    return new CompilerSearch(Optional.empty(), missing);
  }
}
