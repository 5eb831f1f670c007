/**
 * The TornadoVM backend: attention as Java methods that TornadoVM compiles for a device. Its parts
 * below the task graph are used, because a task graph is bound to its arrays when it is built: here
 * one compilation serves every shape, and tensors outlive the operations on them.
 */
@NullMarked
package dev.heddle.tornado;

import org.jspecify.annotations.NullMarked;
