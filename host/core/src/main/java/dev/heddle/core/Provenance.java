package dev.heddle.core;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/**
 * Where a result comes from.
 *
 * @param device the device that computed it
 * @param plan algorithm and tunables
 * @param sources the kernel files or classes that ran, in order
 * @param sourceHash SHA-256 in hexadecimal of the source text the device was given, or of the
 *     compiled classes for a JVM backend
 */
public record Provenance(Device device, Plan plan, List<String> sources, String sourceHash) {

  /** Freezes the list. */
  public Provenance {
    sources = List.copyOf(sources);
  }

  /** The provenance of what these classes compute. */
  public static Provenance ofClasses(Device device, Plan plan, List<Class<?>> classes) {
    MessageDigest digest = sha256();
    for (Class<?> source : classes) {
      String file = source.getName().substring(source.getPackageName().length() + 1) + ".class";
      try (InputStream code = source.getResourceAsStream(file)) {
        if (code == null) {
          throw new IllegalStateException("no class file for " + source.getName());
        }
        digest.update(code.readAllBytes());
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
    return new Provenance(
        device,
        plan,
        classes.stream().<String>map(Class::getName).toList(),
        HexFormat.of().formatHex(digest.digest()));
  }

  /** A digest for {@link #sourceHash}. */
  public static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }
}
