package dev.heddle.cuda;

import dev.heddle.core.KernelBuildException;
import java.util.List;

/** A compiler from CUDA C++ to PTX that is on this machine. */
interface KernelCompiler {

  /** What users know it by: {@code nvcc 13.0}, {@code NVRTC 12.6}. */
  String name();

  /** Where it is. */
  String location();

  /** Architectures that it compiles for, ascending: 75, 80, 86, 90, 120. */
  List<Integer> architectures();

  /**
   * Compiles.
   *
   * @param architecture one of those that it compiles for
   * @return PTX as the compiler wrote it
   * @throws KernelBuildException with the compiler's log
   */
  String compile(KernelVariant variant, int architecture);
}
