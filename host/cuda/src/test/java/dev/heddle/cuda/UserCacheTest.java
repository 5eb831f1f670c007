package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.cuda.Platform.Os;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class UserCacheTest {
  @TempDir Path folder;

  @Test
  void theFolderIsWhereThisSystemKeepsCaches() {
    String home = folder.toString();
    assertThat(UserCache.folder(Os.LINUX, Map.of(), home))
        .isEqualTo(folder.resolve(".cache/heddle"));
    assertThat(UserCache.folder(Os.MAC, Map.of(), home))
        .isEqualTo(folder.resolve("Library/Caches/heddle"));
    assertThat(UserCache.folder(Os.WINDOWS, Map.of("LOCALAPPDATA", home + "/Local"), home))
        .isEqualTo(folder.resolve("Local/heddle/cache"));
    assertThat(UserCache.folder(Os.WINDOWS, Map.of(), home))
        .isEqualTo(folder.resolve("AppData/Local/heddle/cache"));
  }

  @Test
  void theFolderFollowsXdgCacheHomeWhenItIsAbsolute() {
    String home = folder.toString();
    assertThat(UserCache.folder(Os.LINUX, Map.of("XDG_CACHE_HOME", home + "/x"), home))
        .isEqualTo(folder.resolve("x/heddle"));
    assertThat(UserCache.folder(Os.LINUX, Map.of("XDG_CACHE_HOME", "x"), home))
        .as("the specification has relative paths ignored")
        .isEqualTo(folder.resolve(".cache/heddle"));
  }

  @Test
  void aReaderNeverSeesHalfAFileWhileWritersReplaceIt() throws Exception {
    Path file = folder.resolve("a/file");
    List<byte[]> contents = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      byte[] content = new byte[1 << 20];
      Arrays.fill(content, (byte) i);
      contents.add(content);
    }
    UserCache.write(file, contents.getFirst());
    try (ExecutorService pool = Executors.newFixedThreadPool(4)) {
      List<Future<Void>> writers = new ArrayList<>();
      for (byte[] content : contents) {
        Callable<Void> writer =
            () -> {
              for (int i = 0; i < 20; i++) {
                UserCache.write(file, content);
              }
              return null;
            };
        writers.add(pool.submit(writer));
      }
      while (!writers.stream().allMatch(Future::isDone)) {
        byte[] read = Files.readAllBytes(file);
        assertThat(contents).anyMatch(content -> Arrays.equals(content, read));
      }
      for (Future<Void> writer : writers) {
        writer.get();
      }
    }
    try (var files = Files.list(folder.resolve("a"))) {
      assertThat(files).as("nothing unfinished is left").containsExactly(file);
    }
  }
}
