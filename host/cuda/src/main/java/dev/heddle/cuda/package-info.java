/**
 * The CUDA backend. JCuda's types stay in this package, and of CUDA only the driver API is used.
 *
 * <p>Kernels reach the driver as PTX: shipped in the jar for the default tunables, compiled on this
 * machine for any others. What the host has to know of a kernel, it reads from the kernel's source:
 * tunables with their values and constraints, argument names, and the layout of argument structs.
 */
@NullMarked
package dev.heddle.cuda;

import org.jspecify.annotations.NullMarked;
