package dev.heddle.core;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;

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

  /**
   * The provenance of what these classes compute. The hash is over the class files of each class's
   * nest in turn: a class, its nested and its anonymous classes, sorted by name.
   */
  public static Provenance ofClasses(Device device, Plan plan, List<Class<?>> classes) {
    MessageDigest digest = sha256();
    List<Class<?>> nests = classes.stream().flatMap(Provenance::nest).distinct().toList();
    for (Class<?> source : nests) {
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

  private static Stream<Class<?>> nest(Class<?> source) {
    return Stream.<Class<?>>of(source.getNestMembers())
        .sorted(Comparator.comparing(Class::getName));
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
