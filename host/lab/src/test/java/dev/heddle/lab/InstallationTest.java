package dev.heddle.lab;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.Backend;
import dev.heddle.core.Device;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which backends there are. */
class InstallationTest {
  @TempDir private Path folder;

  @Test
  void aBackendThatIsLeftOutIsListedAndRefuses() {
    Installation installation = Installation.find();
    assertThat(tornado(installation)).singleElement().isInstanceOf(Probe.Unavailable.class);
    Selection selection = new Selection(Optional.of("tornado"), OptionalInt.empty());
    assertThatThrownBy(() -> installation.candidates(selection))
        .isInstanceOf(NothingToRunException.class)
        .hasMessageStartingWith("tornado is unavailable: ")
        .hasMessageContaining("; sdk install tornadovm, or set TORNADOVM_HOME")
        .hasMessageContaining("JDK " + Runtime.version().feature());
  }

  @Test
  void aBackendThatIsThereStandsForItself() throws IOException {
    Path services = Files.createDirectories(folder.resolve("META-INF/services"));
    Files.writeString(services.resolve(Backend.class.getName()), Present.class.getName());
    Thread thread = Thread.currentThread();
    ClassLoader before = thread.getContextClassLoader();
    try (var loader = new URLClassLoader(new URL[] {folder.toUri().toURL()}, before)) {
      thread.setContextClassLoader(loader);
      assertThat(tornado(Installation.find()))
          .containsExactly(new Probe.Available(List.of(), List.of("the real one")));
    } finally {
      thread.setContextClassLoader(before);
    }
  }

  private static List<Probe> tornado(Installation installation) {
    return installation.probes().entrySet().stream()
        .filter(entry -> entry.getKey().id().equals("tornado"))
        .map(entry -> entry.getValue())
        .toList();
  }

  /** Takes the id of the backend that may be left out. */
  public static final class Present implements Backend {
    @Override
    public String id() {
      return "tornado";
    }

    @Override
    public Probe probe() {
      return new Probe.Available(List.of(), List.of("the real one"));
    }

    @Override
    public List<String> algorithms(Device device, Operation operation) {
      return List.of();
    }

    @Override
    public Optional<Refusal> refusal(Device device, Operation operation, Plan plan) {
      return Optional.empty();
    }

    @Override
    public Session open(Device device) {
      throw new IllegalStateException("nothing to open");
    }
  }
}
