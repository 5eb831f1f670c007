package dev.heddle.core.kernel;

import dev.heddle.core.DType;
import dev.heddle.core.Shape;
import dev.heddle.core.TensorSpec;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * How one rung of the ladder computes one operation: which file is compiled with which macros, and
 * which of its kernels run on which tensors.
 *
 * @param file the kernel file
 * @param macros every macro's value, tunables included
 * @param launches kernels in order
 * @param args values of the members of the kernels' argument structs
 * @param scratch fp32 tensors that live only between the launches, by name
 * @param optional arguments that kernels accept as null where the operation has no such tensor
 * @param localBytes most local memory (CUDA: shared memory) that a group takes in one of the
 *     kernels, bytes
 * @param privateBytes most private memory that a work-item's arrays take in one of the kernels,
 *     bytes
 */
public record Recipe(
    String file,
    SortedMap<String, Integer> macros,
    List<Launch> launches,
    Map<String, Number> args,
    Map<String, Shape> scratch,
    Set<String> optional,
    long localBytes,
    long privateBytes) {

  /** Freezes the collections. */
  public Recipe {
    macros = Collections.unmodifiableSortedMap(new TreeMap<>(macros));
    launches = List.copyOf(launches);
    args = Map.copyOf(args);
    scratch = Collections.unmodifiableSortedMap(new TreeMap<>(scratch));
    optional = Set.copyOf(optional);
  }

  /** A recipe without scratch tensors, optional arguments or memory of a group's own. */
  public static Recipe of(
      String file,
      SortedMap<String, Integer> macros,
      List<Launch> launches,
      Map<String, Number> args) {
    return new Recipe(file, macros, launches, args, Map.of(), Set.of(), 0, 0);
  }

  /**
   * One kernel.
   *
   * @param kernel its name
   * @param groups work-groups (CUDA: blocks) along each axis
   * @param local work-items (CUDA: threads) of a group along each axis
   * @param tensors for each buffer argument, the operation's or the scratch tensor behind it
   * @param dynamicBytes memory of a group that is sized at the launch (CUDA: dynamic shared
   *     memory), bytes; part of the recipe's {@code localBytes}
   */
  public record Launch(
      String kernel,
      List<Long> groups,
      List<Integer> local,
      Map<String, String> tensors,
      int dynamicBytes) {

    /** Freezes the collections. */
    public Launch {
      groups = List.copyOf(groups);
      local = List.copyOf(local);
      tensors = Map.copyOf(tensors);
    }

    /** A launch whose kernel says itself what memory a group of it takes. */
    public Launch(
        String kernel, List<Long> groups, List<Integer> local, Map<String, String> tensors) {
      this(kernel, groups, local, tensors, 0);
    }

    /** The same launch with other tensors behind its buffer arguments. */
    public Launch withTensors(Map<String, String> other) {
      return new Launch(kernel, groups, local, other, dynamicBytes);
    }

    /** The same launch with so much memory of a group, bytes. */
    public Launch withDynamicBytes(int bytes) {
      return new Launch(kernel, groups, local, tensors, bytes);
    }

    /** The tensor behind each buffer argument; those that the operation lacks are left out. */
    public <T> SortedMap<String, T> bound(Map<String, T> available) {
      SortedMap<String, T> bound = new TreeMap<>();
      tensors.forEach((argument, name) -> {
        T tensor = available.get(name);
        if (tensor != null) {
          bound.put(argument, tensor);
        }
      });
      return bound;
    }

    /** Work-items along each axis. */
    public long[] globalSize() {
      long[] global = new long[groups.size()];
      for (int axis = 0; axis < global.length; axis++) {
        global[axis] = Math.multiplyExact(groups.get(axis), (long) local.get(axis));
      }
      return global;
    }

    /** Work-items of a group along each axis. */
    public long[] localSize() {
      return local.stream().mapToLong(Integer::longValue).toArray();
    }

    /** Work-items of a group. */
    public int groupSize() {
      return local.stream().reduce(1, Math::multiplyExact);
    }
  }

  /** The same recipe with one macro more, or with another value for it. */
  public Recipe withMacro(String name, int value) {
    SortedMap<String, Integer> more = new TreeMap<>(macros);
    more.put(name, value);
    return new Recipe(file, more, launches, args, scratch, optional, localBytes, privateBytes);
  }

  /** The same recipe with other launches. */
  public Recipe withLaunches(List<Launch> other) {
    return new Recipe(file, macros, other, args, scratch, optional, localBytes, privateBytes);
  }

  /** The same recipe with other values for the members of the kernels' argument structs. */
  public Recipe withArgs(Map<String, Number> other) {
    return new Recipe(file, macros, launches, other, scratch, optional, localBytes, privateBytes);
  }

  /** The same recipe with these scratch tensors. */
  public Recipe withScratch(Map<String, Shape> other) {
    return new Recipe(file, macros, launches, args, other, optional, localBytes, privateBytes);
  }

  /** The same recipe with these optional arguments. */
  public Recipe withOptional(String... other) {
    return new Recipe(
        file, macros, launches, args, scratch, Set.of(other), localBytes, privateBytes);
  }

  /** The same recipe with so much memory of a group, and of each of its work-items, bytes. */
  public Recipe withMemory(long local, long each) {
    return new Recipe(file, macros, launches, args, scratch, optional, local, each);
  }

  /** Work-items of the largest group. */
  public int largestGroup() {
    return launches.stream().mapToInt(Launch::groupSize).max().orElse(1);
  }

  /** The scratch tensors. */
  public List<TensorSpec> scratchTensors() {
    return scratch.entrySet().stream()
        .map(entry -> new TensorSpec(entry.getKey(), entry.getValue(), DType.FP32))
        .toList();
  }

  /** Bytes of all scratch tensors. */
  public long scratchBytes() {
    return scratchTensors().stream().mapToLong(TensorSpec::bytes).reduce(0, Math::addExact);
  }
}
