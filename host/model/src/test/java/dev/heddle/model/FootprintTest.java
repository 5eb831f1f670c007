package dev.heddle.model;

import static org.assertj.core.api.Assertions.assertThat;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.Proxy;
import java.net.URL;
import java.net.URLConnection;
import java.net.URLStreamHandler;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What the model and its tokenizer do around themselves, seen in a process of their own with the
 * JVM options that the launcher gives: nothing on the screen, no request to the network, the
 * tokenizer's native library in the user's home and nothing else on the disk.
 */
class FootprintTest {
  @TempDir private Path home;

  @Test
  void printsNothingAsksNobodyAndWritesOnlyItsLibrary() throws Exception {
    assertThat(run("quiet")).isEqualTo("4 tokens, 0 requests\n");
    try (Stream<Path> files = Files.walk(home).filter(Files::isRegularFile)) {
      List<String> written = files.map(file -> home.relativize(file).toString()).toList();
      assertThat(written)
          .allSatisfy(file -> assertThat(file).startsWith(".djl.ai"))
          .anySatisfy(file -> assertThat(file).contains(System.mapLibraryName("tokenizers")));
    }
  }

  /** Without the switches that {@link SentenceTokenizer} sets there are requests to count. */
  @Test
  void theLibraryAloneAsksTheNetwork() throws Exception {
    assertThat(run("library")).matches("4 tokens, [1-9][0-9]* requests\n");
  }

  @Test
  void aPlatformWithoutTheLibraryIsNamedInOneLine() throws Exception {
    assertThat(run("quiet", "-Dos.arch=riscv64"))
        .startsWith("the tokenizer's native library can't be loaded on ")
        .contains(" riscv64: ")
        .endsWith(" (0 requests)\n")
        .containsOnlyOnce("\n");
  }

  private String run(String how, String... options) throws IOException, InterruptedException {
    List<String> line = new ArrayList<>();
    line.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    line.add("--enable-native-access=ALL-UNNAMED");
    line.add("--sun-misc-unsafe-memory-access=allow");
    line.add("-XX:-UsePerfData");
    line.addAll(List.of("-Duser.home=" + home, "-Djava.io.tmpdir=" + home));
    line.addAll(List.of(options));
    line.addAll(List.of("-cp", System.getProperty("java.class.path")));
    line.addAll(List.of(Program.class.getName(), how));
    ProcessBuilder command = new ProcessBuilder(line).redirectErrorStream(true);
    List.of("DJL_OFFLINE", "OPT_OUT_TRACKING", "DJL_CACHE_DIR", "ENGINE_CACHE_DIR")
        .forEach(command.environment()::remove);
    Process process = command.start();
    String screen = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    process.waitFor();
    return screen;
  }

  /** Runs in the observed process: counts and refuses every request to the web. */
  static final class Program {
    private Program() {}

    public static void main(String[] arguments) throws IOException {
      AtomicInteger requests = new AtomicInteger();
      URL.setURLStreamHandlerFactory(
          protocol -> protocol.startsWith("http") ? new Refusing(requests) : null);
      try {
        int tokens = arguments[0].equals("quiet") ? countQuietly() : countWithLibraryAlone();
        System.out.print(tokens + " tokens, " + requests + " requests\n");
      } catch (ModelException e) {
        System.out.print(e.getMessage() + " (" + requests + " requests)\n");
      }
    }

    private static int countQuietly() {
      try (SentenceTokenizer tokenizer = SentenceTokenizer.open()) {
        return MiniLm.load().embed(tokenizer.tokenize("heddle")).shape().dim(0);
      }
    }

    private static int countWithLibraryAlone() throws IOException {
      try (InputStream json = ModelFile.TOKENIZER.open();
          HuggingFaceTokenizer tokenizer =
              HuggingFaceTokenizer.newInstance(json, Map.of("padding", "false"))) {
        return tokenizer.encode("heddle").getIds().length;
      }
    }
  }

  private static final class Refusing extends URLStreamHandler {
    private final AtomicInteger requests;

    private Refusing(AtomicInteger requests) {
      this.requests = requests;
    }

    @Override
    protected URLConnection openConnection(URL url) throws IOException {
      requests.incrementAndGet();
      throw new ConnectException("refused by the test");
    }

    @Override
    protected URLConnection openConnection(URL url, Proxy proxy) throws IOException {
      return openConnection(url);
    }
  }
}
