package dev.heddle.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Optional;
import jcuda.JCudaVersion;
import jcuda.LogLevel;
import jcuda.driver.JCudaDriver;
import org.jspecify.annotations.Nullable;

/**
 * Brings the NVIDIA driver's library and JCuda's native half into this process.
 *
 * <p>JCuda's half names {@code libcuda.so.1} as what it needs. Whichever library of that name the
 * process has loaded before is the one it gets: that is how a stand-in, such as the PTX emulator,
 * takes the driver's place ({@value #PROPERTY}).
 */
final class CudaLibrary {
  /** Names the library to use in place of the system's driver. */
  static final String PROPERTY = "heddle.cuda.library";

  private static final String LINUX_NAME = "libcuda.so.1";
  private static final String WINDOWS_NAME = "nvcuda.dll";
  private static final int RTLD_LAZY = 1;

  private CudaLibrary() {}

  /** Why CUDA can't be used in this process. */
  static final class Missing extends Exception {
    private static final long serialVersionUID = 1L;

    private final String remedy;

    Missing(String reason, String remedy) {
      super(reason);
      this.remedy = remedy;
    }

    String reason() {
      return String.valueOf(getMessage());
    }

    String remedy() {
      return remedy;
    }
  }

  /**
   * Loads both; JCuda's driver API can be called afterwards.
   *
   * @throws Missing when one of them can't be loaded
   */
  static synchronized void load() throws Missing {
    Platform platform = Platform.current();
    String resource = nativeResource(platform);
    String standIn = System.getProperty(PROPERTY);
    if (standIn == null) {
      findDriver(platform);
    } else {
      loadStandIn(standIn);
    }
    loadBinding(resource);
  }

  /** What the emulator has to say about the last kernel that trapped; empty with a real driver. */
  static Optional<String> lastTrap() {
    if (System.getProperty(PROPERTY) == null) {
      return Optional.empty();
    }
    return SymbolLookup.loaderLookup()
        .find("ptx_emulator_last_trap")
        .map(symbol -> {
          try {
            MemorySegment text =
                (MemorySegment)
                    Linker.nativeLinker()
                        .downcallHandle(symbol, FunctionDescriptor.of(ValueLayout.ADDRESS))
                        .invokeExact();
            return string(text);
          } catch (Throwable e) {
            throw new IllegalStateException("ptx_emulator_last_trap failed", e);
          }
        })
        .filter(text -> !text.isBlank());
  }

  // ---- the driver

  private static void loadStandIn(String file) throws Missing {
    try {
      System.load(Path.of(file).toAbsolutePath().toString());
    } catch (UnsatisfiedLinkError e) {
      throw new Missing(
          PROPERTY + " names " + file + ", which can't be loaded: " + e.getMessage(),
          "for the emulator: HEDDLE_CUDA=emulator ./heddle; for the system's driver: leave "
              + PROPERTY
              + " unset");
    }
  }

  /**
   * Asks for the driver's library before JCuda does: on a machine without one nothing of JCuda is
   * unpacked, and the reason is told apart from those of JCuda's own loading.
   */
  private static void findDriver(Platform platform) throws Missing {
    String name = platform.os() == Platform.Os.WINDOWS ? WINDOWS_NAME : LINUX_NAME;
    try {
      SymbolLookup.libraryLookup(name, Arena.global());
    } catch (IllegalArgumentException e) {
      String error = platform.os() == Platform.Os.WINDOWS ? null : loaderError(name);
      if (error == null || error.startsWith(name + ": cannot open shared object file: No such")) {
        throw new Missing(
            "no NVIDIA driver (" + name + " not found)",
            "install the driver of your NVIDIA GPU; without a GPU: HEDDLE_CUDA=emulator ./heddle");
      }
      throw new Missing(
          "the NVIDIA driver's library can't be loaded: " + error, "reinstall the NVIDIA driver");
    }
  }

  /** What the system's loader says about a library that it can't load. */
  private static @Nullable String loaderError(String name) {
    Linker linker = Linker.nativeLinker();
    SymbolLookup libc = linker.defaultLookup();
    Optional<MemorySegment> open = libc.find("dlopen");
    Optional<MemorySegment> error = libc.find("dlerror");
    if (open.isEmpty() || error.isEmpty()) {
      return null;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment library =
          (MemorySegment)
              linker
                  .downcallHandle(
                      open.get(),
                      FunctionDescriptor.of(
                          ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.JAVA_INT))
                  .invokeExact(arena.allocateFrom(name), RTLD_LAZY);
      MemorySegment text =
          (MemorySegment)
              linker
                  .downcallHandle(error.get(), FunctionDescriptor.of(ValueLayout.ADDRESS))
                  .invokeExact();
      return library.address() == 0 && text.address() != 0 ? string(text) : null;
    } catch (Throwable e) {
      throw new IllegalStateException("dlopen of " + name + " failed", e);
    }
  }

  private static String string(MemorySegment text) {
    return text.address() == 0 ? "" : text.reinterpret(Long.MAX_VALUE).getString(0);
  }

  // ---- JCuda

  private static String nativeResource(Platform platform) throws Missing {
    String version = JCudaVersion.get();
    return switch (platform.os()) {
      case LINUX -> checked(platform, "/lib/libJCudaDriver-" + version + "-linux-x86_64.so");
      case WINDOWS -> checked(platform, "/lib/JCudaDriver-" + version + "-windows-x86_64.dll");
      case MAC, OTHER ->
          throw new Missing(
              "CUDA has no driver for " + platform, "use another backend: ./heddle devices");
    };
  }

  private static String checked(Platform platform, String resource) throws Missing {
    if (!platform.isX86()) {
      throw new Missing(
          "JCuda, the CUDA binding, has no native library for " + platform,
          "it has them for Linux and Windows on x86_64");
    }
    if (JCudaDriver.class.getResource(resource) == null) {
      throw new Missing(
          "JCuda's native library for " + platform + " is not in this build",
          "build Heddle on the platform that it shall run on");
    }
    return resource;
  }

  /**
   * JCuda unpacks its library into the shared temporary folder under a name that never changes, so
   * that two users of one machine collide. It takes a file that is there already, so it is shown
   * one in a folder of this user's own for as long as it looks.
   */
  private static void loadBinding(String resource) throws Missing {
    String temporary = System.getProperty("java.io.tmpdir");
    try {
      System.setProperty("java.io.tmpdir", unpack(resource).toString());
      JCudaDriver.setLogLevel(LogLevel.LOG_QUIET);
      JCudaDriver.setExceptionsEnabled(false);
    } catch (IOException e) {
      throw new Missing(
          "JCuda's native library can't be unpacked: " + e.getMessage(),
          "make " + UserCache.folder() + " or " + temporary + " writable");
    } catch (LinkageError | RuntimeException e) {
      throw new Missing(
          "JCuda, the CUDA binding, can't load its native library: " + essence(e),
          "its folder must not be mounted noexec: XDG_CACHE_HOME names another one");
    } finally {
      System.setProperty("java.io.tmpdir", temporary);
    }
  }

  /** The folder that holds the library. */
  private static Path unpack(String resource) throws IOException {
    try (InputStream stream = JCudaDriver.class.getResourceAsStream(resource)) {
      if (stream == null) {
        throw new IOException("no " + resource + " in this build");
      }
      String name = resource.substring(resource.lastIndexOf('/') + 1);
      return UserCache.folderWith("jcuda", name, stream.readAllBytes());
    }
  }

  /** What failed, in one line: JCuda puts the stack traces of its attempts into one message. */
  private static String essence(Throwable thrown) {
    Throwable root = thrown;
    while (root.getCause() != null) {
      root = root.getCause();
    }
    String message = String.valueOf(root.getMessage());
    return message
        .lines()
        .filter(line -> line.startsWith("java."))
        .reduce((first, second) -> second)
        .orElseGet(() -> message.lines().findFirst().orElse(message));
  }
}
