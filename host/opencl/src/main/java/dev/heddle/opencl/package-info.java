/**
 * The OpenCL backend. JOCL's types stay in this package.
 *
 * <p>Kernels are text in the jar, compiled for the device at run time; what the host has to know of
 * them, it reads from them: tunables with their values and constraints, argument names and types,
 * and the layout of argument structs.
 */
@NullMarked
package dev.heddle.opencl;

import org.jspecify.annotations.NullMarked;
