package dev.heddle.cuda;

import java.io.IOException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * Files that this user's processes make once and share. A file is written beside its place and
 * moved there in one step, so that no process ever sees half of one.
 */
final class UserCache {
  private static volatile Optional<Path> fallback = Optional.empty();

  private UserCache() {}

  /**
   * Heddle's folder among this user's caches: {@code $XDG_CACHE_HOME/heddle} or {@code
   * ~/.cache/heddle}; {@code %LOCALAPPDATA%\heddle\cache} on Windows, {@code
   * ~/Library/Caches/heddle} on macOS.
   */
  static Path folder() {
    return folder(Platform.current().os(), System.getenv(), System.getProperty("user.home", "."));
  }

  static Path folder(Platform.Os os, Map<String, String> environment, String home) {
    String configured = environment.getOrDefault("XDG_CACHE_HOME", "");
    if (!configured.isEmpty() && Path.of(configured).isAbsolute()) {
      return Path.of(configured, "heddle");
    }
    return switch (os) {
      case WINDOWS -> {
        String local = environment.getOrDefault("LOCALAPPDATA", "");
        yield local.isEmpty()
            ? Path.of(home, "AppData", "Local", "heddle", "cache")
            : Path.of(local, "heddle", "cache");
      }
      case MAC -> Path.of(home, "Library", "Caches", "heddle");
      case LINUX, OTHER -> Path.of(home, ".cache", "heddle");
    };
  }

  /**
   * The folder in which a file of exactly these bytes lies, from before or written now. Where the
   * cache can't be written, that is a temporary folder which this user alone can enter.
   *
   * @throws IOException when neither can be written
   */
  static Path folderWith(String subfolder, String name, byte[] content) throws IOException {
    try {
      return folderWith(folder().resolve(subfolder), name, content);
    } catch (IOException e) {
      return folderWith(temporary().resolve(subfolder), name, content);
    }
  }

  private static Path folderWith(Path folder, String name, byte[] content) throws IOException {
    Path file = folder.resolve(name);
    if (!holds(file, content)) {
      write(file, content);
    }
    return folder;
  }

  private static boolean holds(Path file, byte[] content) throws IOException {
    return Files.isRegularFile(file)
        && Files.size(file) == content.length
        && Arrays.equals(Files.readAllBytes(file), content);
  }

  /** Writes a file so that it appears whole or not at all. */
  static void write(Path file, byte[] content) throws IOException {
    Path folder = file.toAbsolutePath().getParent();
    if (folder == null) {
      throw new IOException(file + " is no file");
    }
    Files.createDirectories(folder);
    Path unfinished = Files.createTempFile(folder, file.getFileName().toString(), ".new");
    try {
      Files.write(unfinished, content);
      try {
        Files.move(unfinished, file, StandardCopyOption.ATOMIC_MOVE);
      } catch (AtomicMoveNotSupportedException e) {
        Files.move(unfinished, file, StandardCopyOption.REPLACE_EXISTING);
      }
    } finally {
      Files.deleteIfExists(unfinished);
    }
  }

  private static synchronized Path temporary() throws IOException {
    if (fallback.isEmpty()) {
      Path created = Files.createTempDirectory("heddle");
      fallback = Optional.of(created);
      Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(created)));
    }
    return fallback.get();
  }

  private static void delete(Path folder) {
    try (Stream<Path> files = Files.walk(folder)) {
      files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
    } catch (IOException e) {
      // A library that is still mapped can't be deleted on Windows; the system's clean-up has it.
    }
  }
}
