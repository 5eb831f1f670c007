/** The kernels. */
@NullMarked
package dev.heddle.tornado.kernels;

import org.jspecify.annotations.NullMarked;
