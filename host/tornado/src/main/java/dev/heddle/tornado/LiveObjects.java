package dev.heddle.tornado;

import dev.heddle.core.LiveCounts;

/** Counts the device buffers that were allocated through TornadoVM and not yet released. */
final class LiveObjects extends LiveCounts<LiveObjects.Kind> {

  /** Kinds of objects. */
  enum Kind {
    BUFFER
  }
}
