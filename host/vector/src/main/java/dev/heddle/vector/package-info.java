/**
 * The Java Vector API backend: every operation on all cores of the host, with nothing but the JDK.
 *
 * <p>One micro-kernel ({@link dev.heddle.vector.MicroKernel}) does the arithmetic of every tiled
 * algorithm; the others bring operands into its layouts. Nothing here fixes a vector width: the
 * register tile follows from {@link dev.heddle.vector.Lanes}.
 */
@NullMarked
package dev.heddle.vector;

import org.jspecify.annotations.NullMarked;
