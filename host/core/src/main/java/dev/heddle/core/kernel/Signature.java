package dev.heddle.core.kernel;

import dev.heddle.core.DType;
import dev.heddle.core.DeviceTensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/**
 * A kernel's parameters, and the one way in which arguments are bound to them: by name. Members of
 * a struct come from the header that the kernel includes, so a kernel and a host that disagree stop
 * here and nowhere later.
 *
 * @param kernel the kernel's name
 * @param parameters its parameters in order
 */
public record Signature(String kernel, List<Parameter> parameters) {

  /** Freezes the list. */
  public Signature {
    parameters = List.copyOf(parameters);
  }

  /**
   * One parameter.
   *
   * @param name its name in the source
   * @param type its type in the source without qualifiers; for a pointer, what it points to
   * @param pointer whether it points to a tensor's elements; a struct by value otherwise
   */
  public record Parameter(String name, String type, boolean pointer) {
    @Override
    public String toString() {
      return type + (pointer ? " *" : " ") + name;
    }
  }

  /**
   * What is bound to one parameter.
   *
   * @param <T> the host's tensors
   */
  public sealed interface Argument<T> {

    /**
     * A tensor.
     *
     * @param tensor empty for a null pointer
     */
    record Tensor<T>(Optional<T> tensor) implements Argument<T> {}

    /** A struct by value. */
    record Struct<T>(byte[] bytes) implements Argument<T> {}
  }

  /**
   * The arguments in the kernel's order.
   *
   * @param source the kernel file
   * @param elements storage types by the names that the language has for them: {@code float}
   * @param tensors the tensors that the host has, by the parameter's name
   * @param optional parameters that are null when they are not among the tensors
   * @param values members of the structs
   * @throws IllegalStateException when the kernel has a parameter that the host has nothing for, or
   *     the host something that the kernel has no parameter for
   */
  public <T extends DeviceTensor> List<Argument<T>> bind(
      KernelSource source,
      Map<String, DType> elements,
      Map<String, T> tensors,
      Set<String> optional,
      Map<String, Number> values) {
    Set<String> left = new TreeSet<>(tensors.keySet());
    List<Argument<T>> arguments = new ArrayList<>();
    for (Parameter parameter : parameters) {
      if (parameter.pointer) {
        left.remove(parameter.name);
        arguments.add(tensor(parameter, elements, tensors, optional));
      } else {
        ArgumentStruct struct =
            ArgumentStruct.find(parameter.type, source)
                .orElseThrow(() -> mismatch(parameter, "no header declares a struct of that name"));
        arguments.add(new Argument.Struct<>(struct.pack(values)));
      }
    }
    if (!left.isEmpty()) {
      throw new IllegalStateException(kernel + " has no parameter for the host's tensors " + left);
    }
    Set<String> unknown = new TreeSet<>(values.keySet());
    ArgumentStruct.all(source).forEach(struct -> unknown.removeAll(struct.names()));
    if (!unknown.isEmpty()) {
      throw new IllegalStateException(
          "%s includes no struct with the members %s that the host has values for"
              .formatted(kernel, unknown));
    }
    return arguments;
  }

  private <T extends DeviceTensor> Argument<T> tensor(
      Parameter parameter,
      Map<String, DType> elements,
      Map<String, T> tensors,
      Set<String> optional) {
    DType type = elements.get(parameter.type);
    if (type == null) {
      throw mismatch(parameter, "the host only has tensors of " + elements.keySet());
    }
    Optional<T> tensor = Optional.ofNullable(tensors.get(parameter.name));
    if (tensor.isEmpty() && !optional.contains(parameter.name)) {
      throw mismatch(parameter, "the host has tensors for " + tensors.keySet());
    }
    tensor
        .filter(given -> given.dtype() != type)
        .ifPresent(given -> {
          throw mismatch(parameter, "the host's tensor is " + given.dtype().label());
        });
    return new Argument.Tensor<>(tensor);
  }

  private IllegalStateException mismatch(Parameter parameter, String reason) {
    return new IllegalStateException(
        kernel + " has a parameter '" + parameter + "', but " + reason);
  }
}
