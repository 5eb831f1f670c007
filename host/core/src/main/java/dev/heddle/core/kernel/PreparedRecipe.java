package dev.heddle.core.kernel;

import dev.heddle.core.Closing;
import dev.heddle.core.GuardedTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Provenance;
import dev.heddle.core.TensorSpec;
import dev.heddle.core.TrackedOperation;
import dev.heddle.core.TrackedSession;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * A recipe whose kernels are compiled and bound, and the scratch tensors between them.
 *
 * @param <T> the session's tensors
 */
public abstract class PreparedRecipe<T extends GuardedTensor> extends TrackedOperation {
  private final Recipe recipe;
  private final List<T> scratch = new ArrayList<>();
  private final List<T> outputs = new ArrayList<>();

  /** A recipe for an operation of that session. */
  protected PreparedRecipe(
      TrackedSession<T, ?> session, Operation operation, Provenance provenance, Recipe recipe) {
    super(session, operation, provenance);
    this.recipe = recipe;
  }

  /**
   * The operation's tensors and the scratch ones, which are reserved here, by their names in the
   * recipe. The outputs answer for the scratch tensors' guard bands.
   */
  protected final Map<String, T> withScratch(
      Map<String, T> operands, Function<TensorSpec, T> reserve) {
    Map<String, T> tensors = new HashMap<>(operands);
    for (TensorSpec output : operation().outputs()) {
      T tensor = operands.get(output.name());
      if (tensor != null) {
        outputs.add(tensor);
      }
    }
    for (TensorSpec spec : recipe.scratchTensors()) {
      T tensor = reserve.apply(spec);
      scratch.add(tensor);
      tensors.put(spec.name(), tensor);
      outputs.forEach(output -> output.watch(tensor));
    }
    return tensors;
  }

  /** What it launches. */
  public final Recipe recipe() {
    return recipe;
  }

  @Override
  public final long scratchBytes() {
    return recipe.scratchBytes();
  }

  /** Frees the scratch tensors; a subclass that holds more releases that too. */
  @Override
  protected void release() {
    scratch.forEach(tensor -> outputs.forEach(output -> output.unwatch(tensor)));
    List<Runnable> steps = new ArrayList<>();
    scratch.forEach(tensor -> steps.add(tensor::close));
    scratch.clear();
    Closing.all(steps);
  }
}
