package dev.heddle.core.kernel;

import dev.heddle.core.AttentionOption;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;

/**
 * What backends whose kernels are files of their own have in common: devices are looked for once,
 * plans come from the tables of best known tunables, and what a kernel file declares is refused in
 * its own words.
 *
 * @param <D> a device with what the language needs to address it
 * @param <K> where the language has its kernels
 */
public abstract class KernelBackend<D, K extends KernelCatalog> implements Backend {

  /**
   * What was found on this machine.
   *
   * @param devices the devices, by index
   * @param probe the same for the rest of Heddle, or why there is none
   */
  public record Found<D>(List<D> devices, Probe probe) {
    /** Freezes the list. */
    public Found {
      devices = List.copyOf(devices);
    }
  }

  private final K kernels;
  private final TunedTable tuned = new TunedTable();
  private volatile Optional<Found<D>> found = Optional.empty();

  /** A backend with these kernels. */
  protected KernelBackend(K kernels) {
    this.kernels = kernels;
  }

  /** Looks for devices; the first thing that may load anything native. Never throws. */
  protected abstract Found<D> discover();

  /** What the rest of Heddle sees of a device. */
  protected abstract Device device(D target);

  /** The rungs for an operation on a device, slowest first. */
  protected abstract List<String> ladder(D target, Operation operation);

  /** The storage types in which a rung runs an operation. */
  protected abstract Set<DType> dtypes(Operation operation, String algorithm);

  /** The options of attention that a rung has; none by default. */
  protected Set<AttentionOption> options(Operation operation, String algorithm) {
    return Set.of();
  }

  /** Macros that an operation and a device give a kernel for it; no plan chooses them. */
  protected abstract SortedMap<String, Integer> given(D target, Operation operation);

  /** Device families whose best known tunables apply, the most special first. */
  protected abstract List<String> families(D target);

  /**
   * What a rung launches.
   *
   * @param file the rung's kernel file
   * @param tunables a value for every tunable of that file
   */
  protected abstract Recipe recipe(
      String file, Operation operation, String algorithm, SortedMap<String, Integer> tunables);

  /** What a file's own refusal is to users of a device: the words of the file, by default. */
  protected Refusal inWordsOf(D target, Refusal refusal) {
    return refusal;
  }

  /** The device's limit that a recipe passes, if any. */
  protected abstract Optional<Refusal> refusal(D target, Operation operation, Recipe recipe);

  @Override
  public final Probe probe() {
    return found().probe();
  }

  @Override
  public final List<String> algorithms(Device device, Operation operation) {
    return ladder(target(device), operation);
  }

  @Override
  public final Plan plan(Device device, Operation operation, String algorithm) {
    D target = target(device);
    return ladder(target, operation).contains(algorithm)
        ? plan(target, operation, algorithm)
        : Plan.of(algorithm);
  }

  /** The first of the best known tunables that is not refused, or the file's defaults. */
  private Plan plan(D target, Operation operation, String algorithm) {
    return tuned
        .candidates(families(target), operation, Siblings.kernel(operation, algorithm))
        .stream()
        .map(tunables -> Plan.of(algorithm, tunables))
        .filter(plan -> refusal(target, operation, plan).isEmpty())
        .findFirst()
        .orElse(Plan.of(algorithm));
  }

  @Override
  public final Optional<Refusal> refusal(Device device, Operation operation, Plan plan) {
    return refusal(target(device), operation, plan);
  }

  private Optional<Refusal> refusal(D target, Operation operation, Plan plan) {
    return Refusal.ofAlgorithm(device(target), operation, plan, ladder(target, operation))
        .or(() -> Refusal.unlessAmong(dtypes(operation, plan.algorithm()), operation.dtype()))
        .or(() ->
            Refusal.unlessOptions(
                options(operation, plan.algorithm()), operation, plan.algorithm()))
        .or(() ->
            kernels
                .tunables(file(operation, plan.algorithm()))
                .refusal(plan.tunables(), given(target, operation))
                .map(refusal -> inWordsOf(target, refusal)))
        .or(() -> refusal(target, operation, recipe(operation, plan)));
  }

  /** What a plan launches. */
  public final Recipe recipe(Operation operation, Plan plan) {
    String file = file(operation, plan.algorithm());
    return recipe(
        file, operation, plan.algorithm(), kernels.tunables(file).complete(plan.tunables()));
  }

  /** The kernels. */
  public final K kernels() {
    return kernels;
  }

  /** A device as the language addresses it. */
  protected final D target(Device device) {
    return found().devices().stream()
        .filter(candidate -> device(candidate).equals(device))
        .findFirst()
        .orElseThrow(() ->
            new IllegalArgumentException(
                device.id() + " is no device that " + id() + " found on this machine"));
  }

  private String file(Operation operation, String algorithm) {
    return kernels.name(Siblings.kernel(operation, algorithm));
  }

  private Found<D> found() {
    if (found.isEmpty()) {
      synchronized (this) {
        if (found.isEmpty()) {
          found = Optional.of(discover());
        }
      }
    }
    return found.get();
  }
}
