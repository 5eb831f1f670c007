package dev.heddle.opencl;

import dev.heddle.core.LiveCounts;

/** Counts the OpenCL objects that were created and not yet released, by kind. */
final class LiveObjects extends LiveCounts<LiveObjects.Kind> {

  /** Kinds of OpenCL objects. */
  enum Kind {
    CONTEXT,
    QUEUE,
    PROGRAM,
    KERNEL,
    MEMORY,
    EVENT
  }
}
