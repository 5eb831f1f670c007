package dev.heddle.tornado;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.function.Supplier;

/**
 * Keeps lines of native code off the process's standard output.
 *
 * <p>TornadoVM's native part writes a line there for every call of a driver that fails, and at its
 * start some fail as a matter of course: it asks every platform for its devices and for a context,
 * also those that have no device.
 */
final class NativeOutput {
  private static final int STANDARD_OUTPUT = 1;

  private NativeOutput() {}

  /**
   * Runs an action while the process's standard output is the null device, and restores it whatever
   * happens. What other threads write meanwhile is lost too. Where the C library lacks POSIX's
   * functions for it, the action just runs.
   */
  static synchronized <T> T silenced(Supplier<T> action) {
    if (!C.isPosix()) {
      return action.get();
    }
    // What is still in C's own buffers belongs to before, what is there afterwards to the action.
    C.flush();
    int original = C.call("dup", STANDARD_OUTPUT);
    if (original < 0) {
      return action.get();
    }
    try {
      int nowhere = C.creat("/dev/null");
      C.call("dup2", nowhere, STANDARD_OUTPUT);
      C.call("close", nowhere);
      return action.get();
    } finally {
      C.flush();
      C.call("dup2", original, STANDARD_OUTPUT);
      C.call("close", original);
    }
  }

  /** Functions of the C library that take and return an {@code int}. */
  private static final class C {
    private static final Linker LINKER = Linker.nativeLinker();

    static boolean isPosix() {
      return List.of("dup", "dup2", "creat", "close", "fflush").stream()
          .allMatch(name -> LINKER.defaultLookup().find(name).isPresent());
    }

    static int creat(String path) {
      try (Arena arena = Arena.ofConfined()) {
        return call("creat", arena.allocateFrom(path), 0);
      }
    }

    /** Empties the buffers of all of C's streams. */
    static void flush() {
      call("fflush", MemorySegment.NULL);
    }

    @SuppressWarnings("restricted")
    static int call(String function, Object... arguments) {
      ValueLayout[] parameters = new ValueLayout[arguments.length];
      for (int i = 0; i < arguments.length; i++) {
        parameters[i] =
            arguments[i] instanceof MemorySegment ? ValueLayout.ADDRESS : ValueLayout.JAVA_INT;
      }
      try {
        return (int)
            LINKER
                .downcallHandle(
                    LINKER.defaultLookup().findOrThrow(function),
                    FunctionDescriptor.of(ValueLayout.JAVA_INT, parameters))
                .invokeWithArguments(arguments);
      } catch (Throwable e) {
        throw new AssertionError("calling " + function + " of the C library", e);
      }
    }
  }
}
