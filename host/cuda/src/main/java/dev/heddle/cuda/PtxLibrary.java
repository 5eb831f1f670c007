package dev.heddle.cuda;

import dev.heddle.core.KernelBuildException;
import dev.heddle.core.Refusal;
import java.util.Optional;

/** Finds or makes the PTX of a kernel variant for a device. */
interface PtxLibrary {

  /**
   * Why there is no PTX of that variant for that device, or empty when {@link #ptx} has it. Nothing
   * is compiled to find out.
   */
  Optional<Refusal> refusal(CudaDevice device, KernelVariant variant);

  /**
   * The PTX of a variant: shipped with Heddle, else from the cache of this user, else compiled now.
   *
   * @throws KernelBuildException with the compiler's log
   */
  Ptx ptx(CudaDevice device, KernelVariant variant);

  /** One line on which of these ways this machine has, and what is missing. */
  String ways(CudaDevice device);
}
