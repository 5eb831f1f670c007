/** The use cases with a terminal. */
@NullMarked
package dev.heddle.cli;

import org.jspecify.annotations.NullMarked;
