/**
 * The TornadoVM backend: kernels are Java methods, which TornadoVM compiles for the device.
 *
 * <p>Nothing of TornadoVM's own appears in what this package offers.
 */
@NullMarked
package dev.heddle.tornado;

import org.jspecify.annotations.NullMarked;
