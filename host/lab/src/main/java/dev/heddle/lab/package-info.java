/**
 * The use cases without a terminal: which devices are there, how do they compare on a problem, and
 * attention on a user's own tensors.
 */
@NullMarked
package dev.heddle.lab;

import org.jspecify.annotations.NullMarked;
