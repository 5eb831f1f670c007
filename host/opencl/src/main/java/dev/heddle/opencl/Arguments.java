package dev.heddle.opencl;

import dev.heddle.core.kernel.ArgumentStruct;
import dev.heddle.core.kernel.KernelSource;
import dev.heddle.opencl.Driver.AddressSpace;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jocl.cl_kernel;
import org.jocl.cl_mem;

/**
 * Binds arguments by name. Names, types and address spaces come from the compiled kernel itself
 * ({@code clGetKernelArgInfo}), members of a struct from the header that it includes, so a kernel
 * and a host that disagree stop here and nowhere later.
 *
 * @param kernel the kernel's name
 * @param arguments its arguments in order
 */
record Arguments(String kernel, List<Argument> arguments) {

  /**
   * One argument.
   *
   * @param name its name in the source
   * @param type its type in the source, without qualifiers
   * @param space where it lives
   */
  record Argument(String name, String type, AddressSpace space) {}

  /** Reads a kernel's signature; the program was built with {@code -cl-kernel-arg-info}. */
  static Arguments of(Driver driver, String name, cl_kernel kernel) {
    List<Argument> arguments = new ArrayList<>();
    int count = driver.argumentCount(kernel);
    for (int i = 0; i < count; i++) {
      arguments.add(
          new Argument(
              driver.argumentName(kernel, i),
              driver.argumentType(kernel, i),
              driver.argumentAddressSpace(kernel, i)));
    }
    return new Arguments(name, arguments);
  }

  /**
   * Sets every argument.
   *
   * @param buffers memory of each buffer argument, by name
   * @param optional buffer arguments that are null when they are not among the buffers
   * @param values members of the struct argument
   * @throws IllegalStateException when the kernel has an argument that the host has nothing for, or
   *     the host something that the kernel has no argument for
   */
  void bind(
      Driver driver,
      cl_kernel target,
      KernelSource source,
      Map<String, cl_mem> buffers,
      Set<String> optional,
      Map<String, Number> values) {
    Map<String, cl_mem> left = new LinkedHashMap<>(buffers);
    for (int i = 0; i < arguments.size(); i++) {
      Argument argument = arguments.get(i);
      switch (argument.space) {
        case GLOBAL -> {
          cl_mem memory = left.remove(argument.name);
          if (!argument.type.equals("float*")) {
            throw mismatch(argument, "the host only has float* buffers");
          }
          if (memory == null && !optional.contains(argument.name)) {
            throw mismatch(argument, "the host has buffers for " + buffers.keySet());
          }
          driver.setBuffer(target, i, memory);
        }
        case PRIVATE -> {
          ArgumentStruct struct =
              ArgumentStruct.find(argument.type, source)
                  .orElseThrow(
                      () -> mismatch(argument, "no header declares a struct of that name"));
          driver.setBytes(target, i, struct.pack(values));
        }
        case LOCAL, CONSTANT -> throw mismatch(argument, "the host binds no such memory");
      }
    }
    if (!left.isEmpty()) {
      throw new IllegalStateException(
          kernel + " has no argument for the host's buffers " + left.keySet());
    }
  }

  private IllegalStateException mismatch(Argument argument, String reason) {
    return new IllegalStateException(
        kernel + " has an argument '" + argument.type + " " + argument.name + "', but " + reason);
  }
}
