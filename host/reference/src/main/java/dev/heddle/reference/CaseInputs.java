package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.CacheAppend;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearAttention;
import dev.heddle.core.LinearAttention.FeatureMap;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.RotaryEmbedding;
import dev.heddle.core.TensorSpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/**
 * What the tensors of a case hold, as data: standard normal numbers by a seed, then changes one
 * after another. The same on every machine.
 *
 * @param seed of the normal numbers; each tensor has a stream of its own, by its name
 * @param changes made in this order
 */
public record CaseInputs(long seed, List<Change> changes) {
  /** Standard normal numbers and nothing else. */
  public static final CaseInputs NORMAL = new CaseInputs(0, List.of());

  /** Freezes the list. */
  public CaseInputs {
    changes = List.copyOf(changes);
  }

  /** A change to one tensor. */
  public sealed interface Change {
    /** The tensor's name in the chain. */
    String tensor();

    /** Makes the change. */
    void apply(HostTensor values);
  }

  /**
   * Every element times a factor.
   *
   * @param tensor the tensor's name
   * @param factor the factor
   */
  public record Scale(String tensor, float factor) implements Change {
    @Override
    public void apply(HostTensor values) {
      for (int i = 0; i < values.size(); i++) {
        values.set(i, values.get(i) * factor);
      }
    }

    @Override
    public String toString() {
      return tensor + " x " + factor;
    }
  }

  /**
   * One value in some elements, evenly spaced.
   *
   * @param tensor the tensor's name
   * @param first row-major index of the first
   * @param stride distance to the next
   * @param value what they hold
   */
  public record Put(String tensor, int first, int stride, float value) implements Change {

    /**
     * Checks the indices.
     *
     * @throws IllegalArgumentException when the first is negative or the stride not positive
     */
    public Put {
      if (first < 0 || stride < 1) {
        throw new IllegalArgumentException(
            tensor + "[" + first + "::" + stride + "]; first is 0 or more, stride 1 or more");
      }
    }

    /** The value everywhere. */
    public static Put everywhere(String tensor, float value) {
      return new Put(tensor, 0, 1, value);
    }

    /** The value in one element. */
    public static Put one(String tensor, int index, float value) {
      return new Put(tensor, index, Integer.MAX_VALUE, value);
    }

    @Override
    public void apply(HostTensor values) {
      for (long i = first; i < values.size(); i += stride) {
        values.set((int) i, value);
      }
    }

    @Override
    public String toString() {
      String where =
          stride == Integer.MAX_VALUE
              ? "[" + first + "]"
              : first == 0 && stride == 1 ? "" : "[" + first + "::" + stride + "]";
      return tensor + where + " = " + value;
    }
  }

  /**
   * Integers drawn from a range, both ends among them where there are two elements or more.
   *
   * @param tensor the tensor's name
   * @param least the smallest
   * @param most the largest
   */
  public record Integers(String tensor, int least, int most) implements Change {
    @Override
    public void apply(HostTensor values) {
      SplittableRandom random = new SplittableRandom(tensor.hashCode());
      int[] ints = values.ints();
      Arrays.setAll(ints, i -> random.nextInt(least, most + 1));
      if (ints.length > 1) {
        ints[0] = most;
        ints[ints.length - 1] = least;
      }
    }

    @Override
    public String toString() {
      return tensor + " from " + least + " to " + most;
    }
  }

  /**
   * Every element brought between two limits by the logistic function, as gates are.
   *
   * @param tensor the tensor's name
   * @param low what large negative elements become
   * @param high what large positive elements become
   */
  public record Between(String tensor, float low, float high) implements Change {
    @Override
    public void apply(HostTensor values) {
      for (int i = 0; i < values.size(); i++) {
        // Of StrictMath, so that it is the same on every machine.
        double part = 1 / (1 + StrictMath.exp(-values.get(i)));
        values.set(i, (float) (low + (high - low) * part));
      }
    }

    @Override
    public String toString() {
      return tensor + " between " + low + " and " + high;
    }
  }

  /**
   * The table of a rotary embedding.
   *
   * @param tensor the tensor's name; {@code [MAX_POSITIONS, ROTARY_DIM / 2]}
   * @param base of the angles
   * @param sine whether it holds sines, not cosines
   */
  public record Angles(String tensor, double base, boolean sine) implements Change {
    @Override
    public void apply(HostTensor values) {
      int positions = values.shape().dim(0);
      int rotaryDim = 2 * values.shape().rowLength();
      HostTensor table =
          sine
              ? RotaryEmbedding.sinTable(positions, rotaryDim, base)
              : RotaryEmbedding.cosTable(positions, rotaryDim, base);
      for (int i = 0; i < values.size(); i++) {
        values.set(i, table.get(i));
      }
    }

    @Override
    public String toString() {
      return tensor + " = " + (sine ? "sines" : "cosines") + " of base " + base;
    }
  }

  /**
   * Normal numbers, changed where an operation needs others: lengths that fit a cache, positions
   * that are in a table, keys and beta with which a delta rule does not let the state grow without
   * limit, and decay below 0.
   */
  public static CaseInputs fitting(Operation operation) {
    return switch (operation) {
      case CacheAppend append ->
          NORMAL.then(new Integers("lengths", 0, append.capacity() - append.added()));
      case RotaryEmbedding rotary ->
          NORMAL.then(new Integers("positions", 0, rotary.maxPositions() - 1));
      case LinearAttention linear -> {
        CaseInputs inputs =
            NORMAL.then(new Scale("k", (float) (1 / Math.sqrt(linear.shape().headDim()))));
        if (linear.rule().isGated()) {
          inputs = inputs.then(new Between("decay", -0.5f, 0));
        }
        // A part of what a key finds: its features are of norm 1 as they are, and each around 1
        // where they are made positive.
        float most = linear.featureMap() == FeatureMap.IDENTITY ? 1 : 1f / linear.shape().headDim();
        yield linear.rule().isDelta() ? inputs.then(new Between("beta", 0, most)) : inputs;
      }
      case AttentionProblem attention -> NORMAL;
      case AttentionStage stage -> NORMAL;
      case LinearProblem linear -> NORMAL;
      case HeadsTranspose heads -> NORMAL;
    };
  }

  /** The same with one more change. */
  public CaseInputs then(Change change) {
    List<Change> more = new ArrayList<>(changes);
    more.add(change);
    return new CaseInputs(seed, more);
  }

  /** The same without the changes to tensors that are not among these. */
  CaseInputs forTensors(List<TensorSpec> specs) {
    List<String> names = specs.stream().map(TensorSpec::name).toList();
    return new CaseInputs(
        seed, changes.stream().filter(change -> names.contains(change.tensor())).toList());
  }

  /**
   * The tensors themselves, new ones at every call.
   *
   * @throws IllegalArgumentException when a change names a tensor that is not there
   */
  public Map<String, HostTensor> draw(List<TensorSpec> specs) {
    Map<String, HostTensor> tensors = new HashMap<>();
    for (TensorSpec spec : specs) {
      tensors.put(spec.name(), draw(spec, seed + spec.name().hashCode()));
    }
    for (Change change : changes) {
      HostTensor values = tensors.get(change.tensor());
      if (values == null) {
        throw new IllegalArgumentException(
            "'" + change + "' changes '" + change.tensor() + "', which is no input");
      }
      change.apply(values);
    }
    return tensors;
  }

  /** Normal numbers; booleans are true where the number is above -0.5; integers are 0. */
  private static HostTensor draw(TensorSpec spec, long seed) {
    return switch (spec.dtype()) {
      case FP32, FP16, BF16 -> HostTensor.gaussian(spec.shape(), spec.dtype(), seed);
      case INT32 -> HostTensor.zeros(spec.shape(), spec.dtype());
      case BOOL -> {
        HostTensor values = HostTensor.zeros(spec.shape(), spec.dtype());
        HostTensor normal = HostTensor.gaussian(spec.shape(), DType.FP32, seed);
        for (int i = 0; i < values.size(); i++) {
          values.set(i, normal.get(i) > -0.5f ? 1 : 0);
        }
        yield values;
      }
    };
  }

  /** As {@code normal, seed 0; q x 300.0; k[5] = 4.0}. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder("normal, seed ").append(seed);
    changes.forEach(change -> text.append("; ").append(change));
    return text.toString();
  }
}
