package dev.heddle.tornado;

import java.lang.reflect.Method;
import java.lang.reflect.Parameter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

/**
 * A kernel that is a Java method, and the one way in which arguments are bound to its parameters:
 * by name.
 *
 * <ul>
 *   <li>{@link KernelContext}: TornadoVM's own.
 *   <li>{@link FloatArray}{@code q}, {@link ShortArray}{@code qBits}: the tensor {@code q}, as fp32
 *       and as 16-bit patterns. Both are the same device buffer; the constant {@code dtype} says
 *       which of them the kernel looks at.
 *   <li>{@link IntArray}{@code args}: what the kernel is told at run time.
 *   <li>{@code int blockM}: the macro {@code BLOCK_M} of the sibling kernels, which TornadoVM
 *       compiles in as a constant. {@code hasLse} is 1 where the operation has a tensor {@code
 *       lse}, else 0.
 * </ul>
 *
 * @param kernel the kernel's name: {@code attention_flash}
 * @param method the method
 * @param parameters its parameters in order
 */
record KernelMethod(String kernel, Method method, List<Slot> parameters) {
  private static final String BITS = "Bits";
  private static final String HAS = "has";

  /** What a parameter is bound to. */
  sealed interface Slot {

    /** TornadoVM's context. */
    record Context() implements Slot {}

    /**
     * A tensor.
     *
     * @param name its name in the recipe
     * @param bits whether the parameter sees 16-bit patterns
     */
    record Tensor(String name, boolean bits) implements Slot {}

    /** The arguments of the run. */
    record Arguments() implements Slot {}

    /** A constant, by the name of its macro. */
    record Constant(String macro) implements Slot {}

    /** Whether there is a tensor of that name. */
    record Presence(String tensor) implements Slot {}
  }

  /** Freezes the list. */
  KernelMethod {
    parameters = List.copyOf(parameters);
  }

  /**
   * Reads a method's parameters.
   *
   * @throws IllegalStateException when one is nothing that the host binds
   */
  static KernelMethod of(String kernel, Method method) {
    List<Slot> slots = new ArrayList<>();
    for (Parameter parameter : method.getParameters()) {
      if (!parameter.isNamePresent()) {
        throw new IllegalStateException(method + " was compiled without -parameters");
      }
      slots.add(slot(kernel, parameter));
    }
    return new KernelMethod(kernel, method, slots);
  }

  private static Slot slot(String kernel, Parameter parameter) {
    String name = parameter.getName();
    Class<?> type = parameter.getType();
    if (type == KernelContext.class) {
      return new Slot.Context();
    }
    if (type == FloatArray.class) {
      return new Slot.Tensor(snake(name), false);
    }
    if (type == ShortArray.class && name.endsWith(BITS)) {
      return new Slot.Tensor(snake(name.substring(0, name.length() - BITS.length())), true);
    }
    if (type == IntArray.class && name.equals("args")) {
      return new Slot.Arguments();
    }
    if (type == int.class) {
      return name.startsWith(HAS)
          ? new Slot.Presence(snake(name.substring(HAS.length())))
          : new Slot.Constant(snake(name).toUpperCase(Locale.ROOT));
    }
    throw new IllegalStateException(
        kernel + " has a parameter '" + parameter + "' that the host binds nothing to");
  }

  /** {@code headDimV} as {@code head_dim_v}. */
  private static String snake(String camel) {
    return camel.replaceAll("(?<=.)(?=[A-Z])", "_").toLowerCase(Locale.ROOT);
  }

  /**
   * The values that TornadoVM compiles in, by parameter.
   *
   * @param macros the recipe's macros
   * @param tensors names of the tensors that the operation has
   * @throws IllegalStateException when the host has no value for one, or a tensor that the kernel
   *     has no parameter for
   */
  List<Integer> constants(Map<String, Integer> macros, Set<String> tensors) {
    Set<String> left = new TreeSet<>(tensors);
    List<Integer> constants = new ArrayList<>();
    for (Slot slot : parameters) {
      switch (slot) {
        case Slot.Constant(String macro) -> {
          Integer value = macros.get(macro);
          if (value == null) {
            throw new IllegalStateException(
                "%s has a constant %s, but the host has values for %s"
                    .formatted(kernel, macro, macros.keySet()));
          }
          constants.add(value);
        }
        case Slot.Presence(String tensor) -> constants.add(tensors.contains(tensor) ? 1 : 0);
        case Slot.Tensor(String name, boolean bits) -> left.remove(name);
        case Slot.Context() -> {}
        case Slot.Arguments() -> {}
      }
    }
    if (!left.isEmpty()) {
      throw new IllegalStateException(kernel + " has no parameter for the host's tensors " + left);
    }
    return List.copyOf(constants);
  }

  /**
   * One value for each parameter.
   *
   * @param constants what {@link #constants} gave
   */
  <T> List<T> bind(
      T context,
      Function<Slot.Tensor, T> tensor,
      T arguments,
      List<Integer> constants,
      Function<Integer, T> constant) {
    List<T> bound = new ArrayList<>();
    int next = 0;
    for (Slot slot : parameters) {
      bound.add(
          switch (slot) {
            case Slot.Context() -> context;
            case Slot.Tensor given -> tensor.apply(given);
            case Slot.Arguments() -> arguments;
            case Slot.Constant given -> constant.apply(constants.get(next++));
            case Slot.Presence given -> constant.apply(constants.get(next++));
          });
    }
    return bound;
  }
}
