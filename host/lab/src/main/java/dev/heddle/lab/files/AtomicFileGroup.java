package dev.heddle.lab.files;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;

/**
 * Output files that appear together or not at all.
 *
 * <p>Each is written beside its target under a temporary name; {@link #commit} renames them all,
 * and puts back what was there before when a rename fails. A group that is closed without a commit,
 * or whose JVM is told to end (Ctrl-C), leaves no trace. What no program can promise stays out: a
 * JVM that is killed outright leaves its temporary files, and one that is killed between two
 * renames leaves the first.
 */
public final class AtomicFileGroup implements AutoCloseable {

  /** What a file is to hold. */
  @FunctionalInterface
  public interface Content {
    /** Writes all of it. */
    void writeTo(WritableByteChannel channel) throws IOException;
  }

  private record Staged(Path file, Path target, Path temporary) {}

  private final List<Staged> staged = new ArrayList<>();
  private final Set<Path> temporaries = new LinkedHashSet<>();
  private final Thread onExit = new Thread(this::abandon, "discard temporary files");
  private int written;
  private boolean closed;

  /** An empty group. */
  public AtomicFileGroup() {
    Runtime.getRuntime().addShutdownHook(onExit);
  }

  /**
   * Checks that a file could be written there, as far as this can be known before: worth doing
   * ahead of a long computation.
   *
   * @throws TensorFileException when the folder is missing or not writable, or something other than
   *     a regular file has the name
   */
  public static void requireWritable(Path file) {
    target(file);
  }

  /**
   * Writes a file's content under a temporary name.
   *
   * @throws TensorFileException when it can't be written, or is in the group already
   */
  public void add(Path file, Content content) {
    Path target = target(file);
    try (FileChannel channel = create(file, target)) {
      content.writeTo(channel);
      // Otherwise a crash of the machine could leave the new name with none of the new content.
      channel.force(true);
      written++;
    } catch (IOException e) {
      throw TensorFileException.writing(file, e);
    }
  }

  /**
   * Gives every file its name; replaces what has that name already.
   *
   * @throws TensorFileException when one can't be renamed; all are then as they were before
   */
  public synchronized void commit() {
    if (staged.size() > written) {
      throw new IllegalStateException("a file of the group could not be written");
    }
    Deque<Undo> undos = new ArrayDeque<>();
    for (int i = 0; i < staged.size(); i++) {
      Staged one = staged.get(i);
      requireOpen(one.file);
      boolean last = i == staged.size() - 1;
      try {
        if (!last) {
          undos.push(undo(one.target));
        }
        Files.move(one.temporary, one.target, StandardCopyOption.ATOMIC_MOVE);
      } catch (IOException e) {
        TensorFileException failure = TensorFileException.writing(one.file, e);
        undoAll(undos, failure);
        throw failure;
      }
    }
    close();
  }

  /** Removes whatever has not been committed. */
  @Override
  public void close() {
    abandon();
    try {
      Runtime.getRuntime().removeShutdownHook(onExit);
    } catch (IllegalStateException e) {
      // The JVM is ending: the hook has run or will find nothing left to do.
    }
  }

  /** Puts one target back as it was. */
  private interface Undo {
    void run() throws IOException;
  }

  private synchronized FileChannel create(Path file, Path target) throws IOException {
    requireOpen(file);
    if (staged.stream().anyMatch(one -> one.target.equals(target))) {
      throw new TensorFileException(file, "is named for two outputs");
    }
    Path temporary = temporary(target);
    FileChannel channel =
        FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    staged.add(new Staged(file, target, temporary));
    return channel;
  }

  /** A name beside {@code target} that is forgotten together with the group. */
  private Path temporary(Path target) {
    Path temporary = target.resolveSibling(".heddle-" + UUID.randomUUID() + ".tmp");
    temporaries.add(temporary);
    return temporary;
  }

  private Undo undo(Path target) throws IOException {
    if (!Files.exists(target)) {
      return () -> Files.deleteIfExists(target);
    }
    Path old = temporary(target);
    try {
      Files.createLink(old, target);
    } catch (IOException | UnsupportedOperationException e) {
      // Not every file system has hard links.
      Files.copy(target, old, StandardCopyOption.COPY_ATTRIBUTES);
    }
    return () -> Files.move(old, target, StandardCopyOption.ATOMIC_MOVE);
  }

  private static void undoAll(Deque<Undo> undos, TensorFileException failure) {
    for (Undo undo : undos) {
      try {
        undo.run();
      } catch (IOException e) {
        failure.addSuppressed(e);
      }
    }
  }

  private synchronized void abandon() {
    closed = true;
    for (Path temporary : temporaries) {
      try {
        Files.deleteIfExists(temporary);
      } catch (IOException e) {
        // Its folder is gone or locked; the failure that matters has been reported.
      }
    }
    temporaries.clear();
  }

  private void requireOpen(Path file) {
    if (closed) {
      throw new TensorFileException(file, "was not written: the group is closed");
    }
  }

  /** Where the file will lie, links followed. */
  private static Path target(Path file) {
    Path absolute = file.toAbsolutePath();
    Path folder = absolute.getParent();
    if (folder == null || Files.isDirectory(absolute)) {
      throw new TensorFileException(file, "is a directory; the name of a file is needed");
    }
    if (Files.exists(absolute) && !Files.isRegularFile(absolute)) {
      throw new TensorFileException(file, "is a pipe or device; a regular file is needed");
    }
    if (!Files.isDirectory(folder)) {
      throw new TensorFileException(
          file,
          "can't be written: there is no folder " + TensorFileException.quote(folder.toString()));
    }
    try {
      Path target =
          Files.exists(absolute)
              ? absolute.toRealPath()
              : folder.toRealPath().resolve(absolute.getFileName());
      if (!Files.isWritable(target.resolveSibling(""))) {
        throw new TensorFileException(file, "can't be written: its folder is not writable");
      }
      return target;
    } catch (IOException e) {
      throw TensorFileException.writing(file, e);
    }
  }
}
