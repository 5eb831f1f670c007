package dev.heddle.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.lang.reflect.Constructor;

/**
 * The caller's own standard output and error, where the launcher has put something else in their
 * place.
 *
 * <p>The JVM warns on standard error that the Vector API is an incubator module, before any code of
 * the application runs, and native code of TornadoVM complains on standard output. The launcher
 * therefore starts the JVM with descriptor 2 on a filter that drops this one line, with descriptor
 * 1 on the caller's standard error where TornadoVM takes part, and with the caller's own streams on
 * other descriptors, whose numbers it passes in the system properties {@code heddle.stderr} and
 * {@code heddle.stdout}. Writing there keeps the result free of what others write, and the
 * application's messages in order and complete when the process ends.
 */
final class StandardStreams {
  private StandardStreams() {}

  /** Where results go; {@link System#out} stays what libraries write to. */
  static PrintStream out() {
    return own("heddle.stdout", System.out);
  }

  /** Where messages go. */
  static PrintStream err() {
    return own("heddle.stderr", System.err);
  }

  private static PrintStream own(String property, PrintStream standard) {
    Integer descriptor = Integer.getInteger(property);
    if (descriptor == null) {
      return standard;
    }
    try {
      Constructor<FileDescriptor> constructor =
          FileDescriptor.class.getDeclaredConstructor(int.class);
      constructor.setAccessible(true);
      var stream = new FileOutputStream(constructor.newInstance(descriptor));
      return new PrintStream(stream, true, standard.charset());
    } catch (ReflectiveOperationException | RuntimeException inaccessible) {
      // Without --add-opens java.base/java.io everything still comes, together with the rest.
      return standard;
    }
  }
}
