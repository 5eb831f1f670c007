package dev.heddle.core.kernel;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;

/** The kernel files of one device language: each is read, and its tunables parsed, once. */
public final class KernelFiles implements KernelCatalog {
  private final String folder;
  private final String extension;
  private final Function<String, String> texts;
  private final Map<String, KernelSource> sources = new ConcurrentHashMap<>();
  private final Map<String, Tunables> tunables = new ConcurrentHashMap<>();

  /**
   * Kernel files from any place.
   *
   * @param folder the language's folder: {@code cl}, {@code cuda}
   * @param extension the end of its kernel files' names: {@code cl}, {@code cu}
   * @param texts text of a kernel file or header by its name
   */
  public KernelFiles(String folder, String extension, Function<String, String> texts) {
    this.folder = folder;
    this.extension = extension;
    this.texts = texts;
  }

  @Override
  public String name(String kernel) {
    return kernel + "." + extension;
  }

  /** The path of a kernel file in Heddle's sources: {@code cl/attention_flash.cl}. */
  public String path(String file) {
    return folder + "/" + file;
  }

  /** A kernel file with its includes in place. */
  public KernelSource source(String file) {
    return sources.computeIfAbsent(file, name -> KernelSource.assemble(name, texts));
  }

  @Override
  public Tunables tunables(String file) {
    return tunables.computeIfAbsent(file, name -> Tunables.of(source(name)));
  }
}
