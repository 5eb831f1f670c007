package dev.heddle.opencl;

import dev.heddle.core.Shape;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;

/**
 * How one rung of the ladder computes one operation: which file is compiled with which macros, and
 * which of its kernels run on which tensors.
 *
 * @param file the kernel file
 * @param macros every macro's value, tunables included
 * @param launches kernels in order
 * @param scratch fp32 tensors that live only between the launches, by name
 * @param args values of the members of the kernels' argument struct
 * @param optional arguments that kernels accept as null where the operation has no such tensor
 * @param localBytes most local memory that one of the kernels takes, bytes
 * @param privateBytes most private memory that a work-item's arrays take in one of the kernels,
 *     bytes
 */
record Recipe(
    String file,
    SortedMap<String, Integer> macros,
    List<Launch> launches,
    Map<String, Shape> scratch,
    Map<String, Number> args,
    Set<String> optional,
    long localBytes,
    long privateBytes) {

  /**
   * One kernel.
   *
   * @param kernel its name
   * @param groups work-groups along each axis
   * @param local work-items of a group along each axis
   * @param tensors for each buffer argument, the operation's or the scratch tensor behind it
   */
  record Launch(
      String kernel, List<Long> groups, List<Integer> local, Map<String, String> tensors) {

    /** Work-items along each axis. */
    long[] globalSize() {
      long[] global = new long[groups.size()];
      for (int axis = 0; axis < global.length; axis++) {
        global[axis] = Math.multiplyExact(groups.get(axis), (long) local.get(axis));
      }
      return global;
    }

    /** Work-items of a group along each axis. */
    long[] localSize() {
      return local.stream().mapToLong(Integer::longValue).toArray();
    }

    /** Work-items of a group. */
    int groupSize() {
      return local.stream().reduce(1, Math::multiplyExact);
    }
  }

  /** Work-items of the largest group. */
  int largestGroup() {
    return launches.stream().mapToInt(Launch::groupSize).max().orElse(1);
  }

  /** Bytes of all scratch tensors. */
  long scratchBytes() {
    return scratch.values().stream().mapToLong(Recipe::bytes).reduce(0, Math::addExact);
  }

  /** Bytes of a scratch tensor. */
  static long bytes(Shape shape) {
    return Math.multiplyExact(shape.elements(), 4L);
  }
}
