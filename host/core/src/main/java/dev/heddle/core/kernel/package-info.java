/**
 * What the host has to know of kernel files, whatever device language they are written in: their
 * text with includes in place, tunables with their values and constraints, the layout of argument
 * structs, the recipes of the kernels that device languages have in common, and best known values.
 * All of it is read from the files themselves; nothing here knows a device's driver.
 */
@NullMarked
package dev.heddle.core.kernel;

import org.jspecify.annotations.NullMarked;
