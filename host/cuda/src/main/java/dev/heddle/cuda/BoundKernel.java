package dev.heddle.cuda;

import dev.heddle.core.kernel.Recipe.Launch;
import java.util.List;
import jcuda.Pointer;
import jcuda.driver.CUfunction;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;

/** A kernel with its geometry and arguments, laid out once so that a launch is one call. */
final class BoundKernel {
  private final CUfunction function;
  private final int[] grid;
  private final int[] block;
  private final int dynamicShared;
  private final Pointer parameters;

  /**
   * Lays out a launch.
   *
   * @param function the driver's handle
   * @param launch its geometry
   * @param arguments for each parameter a pointer to its value; each launch copies the values
   * @throws ArithmeticException when the grid has more blocks along an axis than an int holds
   */
  BoundKernel(CUfunction function, Launch launch, List<Pointer> arguments) {
    this.function = function;
    this.grid = axes(launch.groups().stream().mapToInt(Math::toIntExact).toArray());
    this.block = axes(launch.local().stream().mapToInt(Integer::intValue).toArray());
    this.dynamicShared = launch.dynamicBytes();
    this.parameters = Pointer.to(arguments.toArray(Pointer[]::new));
  }

  CUfunction function() {
    return function;
  }

  /** Dynamic shared memory of a block, bytes. */
  int dynamicShared() {
    return dynamicShared;
  }

  /**
   * Queues it in the current context.
   *
   * @return the driver's code
   */
  int launch(CUstream stream) {
    return JCudaDriver.cuLaunchKernel(
        function,
        grid[0],
        grid[1],
        grid[2],
        block[0],
        block[1],
        block[2],
        dynamicShared,
        stream,
        parameters,
        null);
  }

  /** Sizes along x, y and z. */
  private static int[] axes(int[] sizes) {
    int[] all = {1, 1, 1};
    System.arraycopy(sizes, 0, all, 0, sizes.length);
    return all;
  }
}
