/**
 * What every backend and every use case agree on: problems, shapes, masks, tensors, plans and the
 * backend interface. Nothing here knows a device.
 */
@NullMarked
package dev.heddle.core;

import org.jspecify.annotations.NullMarked;
