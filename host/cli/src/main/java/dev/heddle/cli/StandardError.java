package dev.heddle.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.lang.reflect.Constructor;

/**
 * Takes standard error back from the launcher's filter.
 *
 * <p>The JVM warns on standard error that the Vector API is an incubator module, before any code of
 * the application runs. The launcher therefore starts the JVM with descriptor 2 on a filter that
 * drops this one line, and with the caller's own standard error on another descriptor, whose number
 * it passes in the system property {@code heddle.stderr}. Writing there keeps the application's
 * messages in order with standard output and complete when the process ends; native code and the
 * JVM itself stay on the filter.
 */
final class StandardError {
  private static final String DESCRIPTOR = "heddle.stderr";

  private StandardError() {}

  /**
   * Makes {@link System#err} the caller's own standard error; does nothing when no launcher has set
   * it aside.
   */
  static void unfiltered() {
    Integer descriptor = Integer.getInteger(DESCRIPTOR);
    if (descriptor == null) {
      return;
    }
    try {
      Constructor<FileDescriptor> constructor =
          FileDescriptor.class.getDeclaredConstructor(int.class);
      constructor.setAccessible(true);
      var stream = new FileOutputStream(constructor.newInstance(descriptor));
      System.setErr(new PrintStream(stream, true, System.err.charset()));
    } catch (ReflectiveOperationException | RuntimeException inaccessible) {
      // Without --add-opens java.base/java.io the filter still carries every message.
    }
  }
}
