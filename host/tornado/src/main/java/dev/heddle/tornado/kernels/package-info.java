/**
 * Kernels in Java, which TornadoVM compiles for a device: static methods over TornadoVM's arrays.
 * Each class is the sibling of a file in {@code cl/}: the same names, sections and order, where
 * Java and TornadoVM allow it.
 *
 * <p>Scalar parameters are constants of a compilation; they fold, and with them the tiles' sizes,
 * the loops over a work-item's share and the branches on {@code dtype}, {@code hasLse} and {@code
 * hasBias}. All that varies from run to run comes in {@code args}. Small static methods are inlined
 * whole.
 *
 * <p>What else decides how these kernels are written is what TornadoVM 5.2 (OpenCL) makes of Java,
 * mostly without a word:
 *
 * <ul>
 *   <li>An array in local memory that is passed to a method is then indexed in the wrong unit, far
 *       past its end. So the loops over tiles stand in the kernels themselves; arrays in private
 *       memory may be passed.
 *   <li>A condition with {@code &&} or {@code ||} whose branches both do something runs one branch
 *       after the other. So a branch hangs on one comparison, {@link
 *       dev.heddle.tornado.kernels.AttentionArgs#visible} for one, or {@code if}s are nested.
 *   <li>A scalar parameter that bounds a {@code @Parallel} loop is replaced by the size of the
 *       grid, wherever else it is used too. So these bounds are read from {@code args}, or
 *       computed.
 *   <li>{@code a * b + c} becomes one fused multiply-add, but {@code a * b - c} does not, and
 *       {@code a * b + -c} is turned into that. So a term to subtract is {@code 0.0f - c} first.
 *       {@code Math.fma} is not compiled.
 *   <li>{@code Float.intBitsToFloat} and its inverse are compiled only next to a store to global
 *       memory, and {@code Float.float16ToFloat} converts the pattern as if it were an int. {@link
 *       dev.heddle.tornado.kernels.Storage} has arithmetic in their place.
 *   <li>A NaN constant is printed as something that no driver knows. Infinities are fine.
 *   <li>A method named like a function of OpenCL C ends the process.
 * </ul>
 */
@NullMarked
package dev.heddle.tornado.kernels;

import org.jspecify.annotations.NullMarked;
