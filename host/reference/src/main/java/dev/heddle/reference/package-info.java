/**
 * The oracle: every operation in scalar Java and double precision, the measures of a result's error
 * against it, and the policies that turn them into a verdict.
 */
@NullMarked
package dev.heddle.reference;

import org.jspecify.annotations.NullMarked;
