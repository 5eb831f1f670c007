package dev.heddle.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.heddle.core.KernelBuildException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * NVIDIA's run-time compiler, of whatever version is there: its functions keep their signatures,
 * and only the library's name changes from one CUDA version to the next.
 */
final class Nvrtc implements KernelCompiler {
  /** Names the library to use in place of those that the system finds. */
  static final String PROPERTY = "heddle.nvrtc.library";

  /** Major versions whose library is looked for by name: those that exist, and some to come. */
  private static final List<Integer> VERSIONS =
      IntStream.iterate(19, major -> major >= 12, major -> major - 1).boxed().toList();

  /** What NVRTC compiles for in versions that can't be asked: those before CUDA 11.2. */
  private static final List<Integer> WITHOUT_LIST = List.of(52, 53, 60, 61, 62, 70, 72, 75, 80);

  private static final int SUCCESS = 0;

  private final String location;
  private final SymbolLookup library;
  private final String version;
  private final List<Integer> architectures;

  private Nvrtc(String location, SymbolLookup library) {
    this.location = location;
    this.library = library;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment major = arena.allocate(JAVA_INT);
      MemorySegment minor = arena.allocate(JAVA_INT);
      check("nvrtcVersion", call("nvrtcVersion", major, minor));
      this.version = major.get(JAVA_INT, 0) + "." + minor.get(JAVA_INT, 0);
      loadBuiltIns();
      this.architectures = architectures(arena);
    }
  }

  /** The NVRTC that the property names, else the newest that the system finds. */
  static Optional<Nvrtc> onThisMachine() {
    String named = System.getProperty(PROPERTY);
    Stream<String> candidates =
        named == null
            ? candidates(Platform.current().os(), System.getenv())
            : Stream.of(Path.of(named).toAbsolutePath().toString());
    return candidates.flatMap(candidate -> at(candidate).stream()).findFirst();
  }

  /** Names to ask the system's loader for, and the same in the toolkit's own folder. */
  static Stream<String> candidates(Platform.Os os, Map<String, String> environment) {
    String toolkit =
        environment.getOrDefault("CUDA_PATH", environment.getOrDefault("CUDA_HOME", ""));
    boolean windows = os == Platform.Os.WINDOWS;
    List<String> names =
        windows
            ? Stream.concat(
                    VERSIONS.stream().map(major -> "nvrtc64_" + major + "0_0.dll"),
                    Stream.of("nvrtc64_112_0.dll", "nvrtc64_111_0.dll", "nvrtc64_110_0.dll"))
                .toList()
            : Stream.concat(
                    VERSIONS.stream().map(major -> "libnvrtc.so." + major),
                    Stream.of("libnvrtc.so.11.2", "libnvrtc.so.11.1", "libnvrtc.so.11.0"))
                .toList();
    Path folder =
        windows
            ? Path.of(toolkit, "bin")
            : Path.of(toolkit.isEmpty() ? "/usr/local/cuda" : toolkit, "lib64");
    return Stream.concat(
        names.stream(), names.stream().map(name -> folder.resolve(name).toString()));
  }

  /** The NVRTC of that file or name. */
  static Optional<Nvrtc> at(String location) {
    try {
      return Optional.of(new Nvrtc(location, SymbolLookup.libraryLookup(location, Arena.global())));
    } catch (IllegalArgumentException | IllegalStateException e) {
      // Not here, or not NVRTC.
      return Optional.empty();
    }
  }

  /**
   * NVRTC asks for a second library by its bare name. Loaded from beside the first one, it is found
   * although that folder is not among those that the system searches.
   */
  private void loadBuiltIns() {
    Path folder = Path.of(location).getParent();
    if (folder != null) {
      Path builtIns = folder.resolve("libnvrtc-builtins.so." + version);
      if (Files.isRegularFile(builtIns)) {
        SymbolLookup.libraryLookup(builtIns, Arena.global());
      }
    }
  }

  @Override
  public String name() {
    return "NVRTC " + version;
  }

  @Override
  public String location() {
    return location;
  }

  @Override
  public List<Integer> architectures() {
    return architectures;
  }

  private List<Integer> architectures(Arena arena) {
    if (library.find("nvrtcGetSupportedArchs").isEmpty()) {
      return WITHOUT_LIST;
    }
    MemorySegment count = arena.allocate(JAVA_INT);
    check("nvrtcGetNumSupportedArchs", call("nvrtcGetNumSupportedArchs", count));
    MemorySegment list = arena.allocate(JAVA_INT, count.get(JAVA_INT, 0));
    check("nvrtcGetSupportedArchs", call("nvrtcGetSupportedArchs", list));
    return Arrays.stream(list.toArray(JAVA_INT)).sorted().boxed().toList();
  }

  @Override
  public String compile(KernelVariant variant, int architecture) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment handle = arena.allocate(ADDRESS);
      check(
          "nvrtcCreateProgram",
          call(
              "nvrtcCreateProgram",
              handle,
              arena.allocateFrom(variant.text()),
              arena.allocateFrom(variant.file()),
              0,
              MemorySegment.NULL,
              MemorySegment.NULL));
      try {
        MemorySegment program = handle.get(ADDRESS, 0);
        List<String> options = variant.options(architecture);
        MemorySegment list = arena.allocate(ADDRESS, options.size());
        for (int i = 0; i < options.size(); i++) {
          list.setAtIndex(ADDRESS, i, arena.allocateFrom(options.get(i)));
        }
        int code = call("nvrtcCompileProgram", program, options.size(), list);
        if (code != SUCCESS) {
          String log = text(arena, program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
          throw new KernelBuildException(
              variant.file(),
              log + "from: " + name() + " " + String.join(" ", options),
              variant.text());
        }
        return text(arena, program, "nvrtcGetPTXSize", "nvrtcGetPTX");
      } finally {
        check("nvrtcDestroyProgram", call("nvrtcDestroyProgram", handle));
      }
    }
  }

  /** One of NVRTC's texts: a call tells its size with the terminating zero, another fills it in. */
  private String text(Arena arena, MemorySegment program, String sizeOf, String get) {
    MemorySegment size = arena.allocate(JAVA_LONG);
    check(sizeOf, call(sizeOf, program, size));
    MemorySegment text = arena.allocate(size.get(JAVA_LONG, 0) + 1);
    check(get, call(get, program, text));
    return text.getString(0);
  }

  /** Calls a function that takes pointers and ints, and gives a code. */
  private int call(String function, Object... arguments) {
    MemorySegment symbol =
        library
            .find(function)
            .orElseThrow(() -> new IllegalStateException(location + " has no " + function));
    MemoryLayout[] types =
        Arrays.stream(arguments)
            .map(argument -> argument instanceof Integer ? JAVA_INT : ADDRESS)
            .toArray(MemoryLayout[]::new);
    MethodHandle handle =
        Linker.nativeLinker().downcallHandle(symbol, FunctionDescriptor.of(JAVA_INT, types));
    try {
      return (int) handle.invokeWithArguments(arguments);
    } catch (Throwable e) {
      throw new IllegalStateException(function + " can't be called", e);
    }
  }

  private void check(String function, int code) {
    if (code != SUCCESS) {
      throw new IllegalStateException(function + " of " + location + " failed: code " + code);
    }
  }
}
