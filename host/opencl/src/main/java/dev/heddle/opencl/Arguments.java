package dev.heddle.opencl;

import dev.heddle.core.DType;
import dev.heddle.core.kernel.KernelSource;
import dev.heddle.core.kernel.Recipe;
import dev.heddle.core.kernel.Signature;
import dev.heddle.core.kernel.Signature.Argument;
import dev.heddle.core.kernel.Signature.Parameter;
import dev.heddle.opencl.Driver.AddressSpace;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jocl.cl_kernel;

/**
 * Sets a kernel's arguments by name. Names, types and address spaces come from the compiled kernel
 * itself ({@code clGetKernelArgInfo}).
 */
final class Arguments {
  /** What cl/storage.h makes of each storage type, and the types of what options read. */
  private static final Map<String, DType> ELEMENTS =
      Map.of(
          "float", DType.FP32,
          "half", DType.FP16,
          "ushort", DType.BF16,
          "int", DType.INT32,
          "uchar", DType.BOOL);

  private Arguments() {}

  /** Reads a kernel's signature; the program was built with {@code -cl-kernel-arg-info}. */
  static Signature signature(Driver driver, String name, cl_kernel kernel) {
    List<Parameter> parameters = new ArrayList<>();
    int count = driver.argumentCount(kernel);
    for (int i = 0; i < count; i++) {
      AddressSpace space = driver.argumentAddressSpace(kernel, i);
      if (space == AddressSpace.LOCAL || space == AddressSpace.CONSTANT) {
        throw new IllegalStateException(
            name
                + " has a parameter '"
                + driver.argumentName(kernel, i)
                + "' in a memory that the host binds nothing to");
      }
      String type = driver.argumentType(kernel, i);
      boolean pointer = space == AddressSpace.GLOBAL;
      parameters.add(
          new Parameter(
              driver.argumentName(kernel, i), pointer ? type.replace("*", "") : type, pointer));
    }
    return new Signature(name, parameters);
  }

  /**
   * Sets every argument of one of a recipe's kernels.
   *
   * @param tensors the operation's tensors and the scratch ones, by their names in the recipe
   * @throws IllegalStateException when the kernel and the host disagree
   */
  static void set(
      Driver driver,
      cl_kernel kernel,
      KernelSource source,
      Recipe recipe,
      Recipe.Launch launch,
      Map<String, DeviceBuffer> tensors) {
    List<Argument<DeviceBuffer>> arguments =
        signature(driver, launch.kernel(), kernel)
            .bind(source, ELEMENTS, launch.bound(tensors), recipe.optional(), recipe.args());
    for (int i = 0; i < arguments.size(); i++) {
      switch (arguments.get(i)) {
        case Argument.Tensor<DeviceBuffer> given ->
            driver.setBuffer(kernel, i, given.tensor().map(DeviceBuffer::memory).orElse(null));
        case Argument.Struct<DeviceBuffer> struct -> driver.setBytes(kernel, i, struct.bytes());
      }
    }
  }
}
