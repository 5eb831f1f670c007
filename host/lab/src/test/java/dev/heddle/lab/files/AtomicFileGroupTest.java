package dev.heddle.lab.files;

import static dev.heddle.lab.files.FileTests.assertRefused;
import static dev.heddle.lab.files.FileTests.names;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicFileGroupTest {
  @TempDir Path folder;

  @Test
  void nothingIsSeenBeforeTheCommitAndAllAfterIt() throws IOException {
    Path out = Files.writeString(folder.resolve("out"), "old");
    Path lse = folder.resolve("lse");
    try (AtomicFileGroup files = new AtomicFileGroup()) {
      files.add(out, text("new out"));
      files.add(lse, text("new lse"));
      assertThat(out).hasContent("old");
      assertThat(lse).doesNotExist();
      assertThat(names(folder)).as("temporary files beside").hasSize(3);
      files.commit();
    }
    assertThat(out).hasContent("new out");
    assertThat(lse).hasContent("new lse");
    assertThat(names(folder)).containsExactly("lse", "out");
  }

  @Test
  void aGroupClosedWithoutCommitLeavesNoTrace() throws IOException {
    Path out = Files.writeString(folder.resolve("out"), "old");
    try (AtomicFileGroup files = new AtomicFileGroup()) {
      files.add(out, text("new"));
    }
    assertThat(out).hasContent("old");
    assertThat(names(folder)).containsExactly("out");
  }

  @Test
  void aFailureWhileWritingLeavesNoTraceAndForbidsTheCommit() {
    Path out = folder.resolve("out");
    Path lse = folder.resolve("lse");
    try (AtomicFileGroup files = new AtomicFileGroup()) {
      files.add(out, text("whole"));
      assertRefused(
          lse,
          () ->
              files.add(
                  lse,
                  channel -> {
                    channel.write(ByteBuffer.wrap("half".getBytes(UTF_8)));
                    throw new IOException("No space left on device");
                  }),
          "can't be written: No space left on device");
      assertThatThrownBy(files::commit).isInstanceOf(IllegalStateException.class);
    }
    assertThat(names(folder)).isEmpty();
  }

  @Test
  void anExceptionOfTheWriterLeavesNoTrace() {
    assertThatThrownBy(
            () -> {
              try (AtomicFileGroup files = new AtomicFileGroup()) {
                files.add(
                    folder.resolve("out"),
                    channel -> {
                      throw new IllegalStateException("planned");
                    });
              }
            })
        .hasMessage("planned");
    assertThat(names(folder)).isEmpty();
  }

  @Test
  void anInterruptedThreadLeavesNoTrace() {
    HostTensor tensor = HostTensor.zeros(Shape.of(1 << 20), DType.FP32);
    Path out = folder.resolve("out.npy");
    Thread.currentThread().interrupt();
    assertRefused(out, () -> NpyFile.write(out, tensor), "can't be written: ");
    assertThat(Thread.interrupted()).as("the interruption is still to be seen").isTrue();
    assertThat(names(folder)).isEmpty();
  }

  /** The second name is taken by a folder after staging, so that its rename fails. */
  @Test
  void aFailedRenameUndoesTheOnesBefore() throws IOException {
    Path out = Files.writeString(folder.resolve("out"), "old out");
    Path more = folder.resolve("more");
    Path lse = folder.resolve("lse");
    try (AtomicFileGroup files = new AtomicFileGroup()) {
      files.add(out, text("new out"));
      files.add(more, text("new more"));
      files.add(lse, text("new lse"));
      Files.createDirectory(lse);
      Files.createFile(lse.resolve("inside"));
      assertRefused(lse, files::commit, "can't be written: ");
    }
    assertThat(out).hasContent("old out");
    assertThat(names(folder)).containsExactly("lse", "out");
  }

  @Test
  void placesThatCanNotHoldAFileAreRefusedAhead() throws IOException {
    Path nowhere = folder.resolve("missing").resolve("out");
    assertRefused(
        nowhere,
        () -> AtomicFileGroup.requireWritable(nowhere),
        "can't be written: there is no folder ",
        "missing");
    assertRefused(
        folder,
        () -> AtomicFileGroup.requireWritable(folder),
        "is a directory; the name of a file");
    Path device = Path.of("/dev/null");
    assertRefused(
        device, () -> AtomicFileGroup.requireWritable(device), "is a pipe or device; a regular");
    Path below = Files.createFile(folder.resolve("file")).resolve("out");
    assertRefused(
        below,
        () -> AtomicFileGroup.requireWritable(below),
        "can't be written: there is no folder");
    AtomicFileGroup.requireWritable(folder.resolve("out"));
    assertThat(names(folder)).containsExactly("file");
  }

  @Test
  void oneFileForTwoOutputsIsRefused() throws IOException {
    Path out = folder.resolve("out");
    Path same = Files.createDirectory(folder.resolve("sub")).resolve("..").resolve("out");
    try (AtomicFileGroup files = new AtomicFileGroup()) {
      files.add(out, text("a"));
      assertRefused(same, () -> files.add(same, text("b")), "is named for two outputs");
    }
    assertThat(names(folder)).containsExactly("sub");
  }

  @Test
  void aLinkIsFollowed() throws IOException {
    Path real = Files.writeString(folder.resolve("real"), "old");
    Path link = Files.createSymbolicLink(folder.resolve("link"), real);
    try (AtomicFileGroup files = new AtomicFileGroup()) {
      files.add(link, text("new"));
      files.commit();
    }
    assertThat(link).isSymbolicLink();
    assertThat(real).hasContent("new");
  }

  @Test
  void permissionsAreThoseOfAnyNewFile() throws IOException {
    Path plain = Files.createFile(folder.resolve("plain"));
    Path out = folder.resolve("out");
    try (AtomicFileGroup files = new AtomicFileGroup()) {
      files.add(out, text("new"));
      files.commit();
    }
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(out)))
        .isEqualTo(PosixFilePermissions.toString(Files.getPosixFilePermissions(plain)));
  }

  @Test
  void aClosedGroupTakesNothing() {
    AtomicFileGroup files = new AtomicFileGroup();
    files.close();
    Path out = folder.resolve("out");
    assertRefused(out, () -> files.add(out, text("late")), "the group is closed");
    files.close();
    assertThat(names(folder)).isEmpty();
  }

  /** A JVM that is told to end (as by Ctrl-C) while it writes. */
  @Test
  void aJvmThatIsToldToEndLeavesNoTrace() throws Exception {
    String classPath =
        Stream.of(AtomicFileGroupTest.class, AtomicFileGroup.class, HostTensor.class)
            .map(c -> c.getProtectionDomain().getCodeSource().getLocation().getPath())
            .collect(Collectors.joining(File.pathSeparator));
    Process writer =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                classPath,
                EndlessWriter.class.getName(),
                folder.resolve("out").toString())
            .redirectErrorStream(true)
            .start();
    try {
      assertThat(writer.inputReader().readLine()).isEqualTo("writing");
      assertThat(names(folder)).as("the temporary file").hasSize(1);
      writer.destroy();
      assertThat(writer.waitFor(30, TimeUnit.SECONDS)).isTrue();
      assertThat(names(folder)).isEmpty();
    } finally {
      writer.destroyForcibly();
    }
  }

  /** Begins a file, says so, and never ends it. */
  static final class EndlessWriter {
    private EndlessWriter() {}

    public static void main(String... args) {
      try (AtomicFileGroup files = new AtomicFileGroup()) {
        files.add(
            Path.of(args[0]),
            channel -> {
              channel.write(ByteBuffer.allocate(1000));
              System.out.println("writing");
              try {
                Thread.sleep(60_000);
              } catch (InterruptedException e) {
                throw new IOException(e);
              }
            });
      }
    }
  }

  private static AtomicFileGroup.Content text(String text) {
    return channel -> channel.write(ByteBuffer.wrap(text.getBytes(UTF_8)));
  }
}
