package dev.heddle.cuda;

import dev.heddle.core.LiveCounts;

/** Counts the CUDA objects that were created and not yet released, by kind. */
final class LiveObjects extends LiveCounts<LiveObjects.Kind> {

  /** Kinds of CUDA objects. */
  enum Kind {
    CONTEXT,
    STREAM,
    EVENT,
    MODULE,
    MEMORY,
    PINNED_MEMORY
  }
}
