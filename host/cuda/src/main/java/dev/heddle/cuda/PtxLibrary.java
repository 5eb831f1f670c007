package dev.heddle.cuda;

import dev.heddle.core.KernelBuildException;
import dev.heddle.core.Refusal;
import java.util.Comparator;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * Finds or makes the PTX of a kernel variant for a device: shipped in the jar, else kept from
 * before, else compiled now by whichever compiler is on this machine.
 */
final class PtxLibrary {
  private final ShippedPtx shipped;
  private final Supplier<CompilerSearch> finder;
  private final PtxCache cache;
  private Optional<CompilerSearch> search = Optional.empty();

  /**
   * A library of given parts.
   *
   * @param finder looks for a compiler; asked once, and only when one is needed
   */
  PtxLibrary(ShippedPtx shipped, Supplier<CompilerSearch> finder, PtxCache cache) {
    this.shipped = shipped;
    this.finder = finder;
    this.cache = cache;
  }

  /** The library of this build, this machine's compilers and this user's cache. */
  static PtxLibrary ofThisMachine() {
    return new PtxLibrary(
        ShippedPtx.ofThisBuild(), CompilerSearch::onThisMachine, PtxCache.ofThisUser());
  }

  /**
   * Why there is no PTX of that variant for that device, which its file allows, or empty when
   * {@link #ptx} has it. Nothing is compiled to find out.
   */
  Optional<Refusal> refusal(CudaDevice device, KernelVariant variant) {
    if (shipped.find(variant, device.architecture()).isPresent()
        || compiler().flatMap(compiler -> target(compiler, device)).isPresent()) {
      return Optional.empty();
    }
    String noCompiler =
        compiler()
            .map(compiler ->
                compiler.name()
                    + " compiles for "
                    + CudaDevice.computeCapability(compiler.architectures().getFirst())
                    + " and newer only")
            .orElseGet(() -> "there is " + search().missing());
    return Optional.of(
        shipped
            .lowestArchitecture(variant)
            .map(lowest ->
                new Refusal(
                    CudaDevice.CAPABILITY,
                    "%s is shipped for %s and newer, %s has %s, and %s"
                        .formatted(
                            variant.file(),
                            CudaDevice.computeCapability(lowest),
                            device.device().name(),
                            device.computeCapability(),
                            noCompiler)))
            .orElseGet(() ->
                new Refusal(
                    "compiler",
                    "%s is not shipped with %s, and %s"
                        .formatted(variant.file(), variant.choices(), noCompiler))));
  }

  /**
   * The PTX of a variant.
   *
   * @throws KernelBuildException with the compiler's log
   * @throws IllegalStateException when the variant is refused
   */
  Ptx ptx(CudaDevice device, KernelVariant variant) {
    Optional<ShippedPtx.Entry> entry = shipped.find(variant, device.architecture());
    if (entry.isPresent()) {
      return new Ptx(entry.get().text(), "shipped, " + shipped.compiler());
    }
    KernelCompiler compiler =
        compiler()
            .orElseThrow(() -> new IllegalStateException("no compiler for " + variant.file()));
    int architecture =
        target(compiler, device)
            .orElseThrow(
                () -> new IllegalStateException(compiler.name() + " is too new for " + device));
    return new Ptx(cache.compiled(variant, compiler, architecture), compiler.name());
  }

  /** One line on which of these ways this machine has, and what is missing. */
  String ways() {
    String ours =
        shipped.entries().isEmpty()
            ? "no PTX is shipped (built without nvcc)"
            : "PTX shipped for the default tunables (" + shipped.compiler() + ")";
    return ours
        + compiler()
            .map(compiler ->
                "; others are compiled by " + compiler.name() + " (" + compiler.location() + ")")
            .orElseGet(() -> "; no other: there is " + search().missing());
  }

  /** The device's own architecture, or the highest below that the compiler knows. */
  private static Optional<Integer> target(KernelCompiler compiler, CudaDevice device) {
    return compiler.architectures().stream()
        .filter(architecture -> architecture <= device.architecture())
        .max(Comparator.naturalOrder());
  }

  private Optional<KernelCompiler> compiler() {
    return search().compiler();
  }

  private synchronized CompilerSearch search() {
    if (search.isEmpty()) {
      search = Optional.of(finder.get());
    }
    return search.get();
  }
}
