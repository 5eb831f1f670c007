package dev.heddle.cuda;

import java.util.Locale;

/**
 * What this process runs on.
 *
 * @param os the operating system
 * @param name the operating system's own name
 * @param architecture the processor's architecture as the JVM calls it
 */
record Platform(Os os, String name, String architecture) {

  /** Operating systems that differ in what is done here. */
  enum Os {
    LINUX,
    WINDOWS,
    MAC,
    OTHER
  }

  static Platform current() {
    return of(System.getProperty("os.name", ""), System.getProperty("os.arch", ""));
  }

  static Platform of(String name, String architecture) {
    String lower = name.toLowerCase(Locale.ROOT);
    Os os;
    if (lower.startsWith("linux")) {
      os = Os.LINUX;
    } else if (lower.startsWith("windows")) {
      os = Os.WINDOWS;
    } else if (lower.startsWith("mac")) {
      os = Os.MAC;
    } else {
      os = Os.OTHER;
    }
    return new Platform(os, name, architecture);
  }

  /** Whether the processor is a 64-bit x86. */
  boolean isX86() {
    return architecture.equals("amd64") || architecture.equals("x86_64");
  }

  @Override
  public String toString() {
    return name + " on " + architecture;
  }
}
