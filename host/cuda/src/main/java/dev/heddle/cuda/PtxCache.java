package dev.heddle.cuda;

import dev.heddle.core.KernelBuildException;
import dev.heddle.core.Provenance;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Optional;

/**
 * PTX that was compiled on this machine for this user, by what went into it: source, options and
 * compiler. Each file begins with the hash of what follows, so that a damaged one is noticed and
 * made again. Where the folder can't be written or read, nothing is kept, and everything works.
 *
 * @param folder where the files lie
 */
record PtxCache(Path folder) {
  private static final String HASH = "// sha256 ";

  /** This user's cache. */
  static PtxCache ofThisUser() {
    return new PtxCache(UserCache.folder().resolve("ptx"));
  }

  /**
   * The PTX of a variant, fit for old drivers: kept from before, else compiled now and kept.
   *
   * @throws KernelBuildException with the compiler's log
   */
  String compiled(KernelVariant variant, KernelCompiler compiler, int architecture) {
    return find(variant, compiler, architecture)
        .orElseGet(() -> {
          String text = PtxText.portable(compiler.compile(variant, architecture), variant.files());
          keep(variant, compiler, architecture, text);
          return text;
        });
  }

  /** The text that was kept, when it is whole. */
  private Optional<String> find(KernelVariant variant, KernelCompiler compiler, int architecture) {
    try {
      String kept = Files.readString(file(variant, compiler, architecture));
      int end = kept.indexOf('\n') + 1;
      String text = kept.substring(end);
      return kept.substring(0, end).equals(header(text)) ? Optional.of(text) : Optional.empty();
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  /** Keeps a text, where that is possible. */
  private void keep(KernelVariant variant, KernelCompiler compiler, int architecture, String text) {
    try {
      UserCache.write(
          file(variant, compiler, architecture),
          (header(text) + text).getBytes(StandardCharsets.UTF_8));
    } catch (IOException e) {
      // It is compiled again next time.
    }
  }

  /** The file of a text; its name tells a reader which kernel it is of. */
  Path file(KernelVariant variant, KernelCompiler compiler, int architecture) {
    String inputs = variant.key() + variant.options(architecture) + compiler.name();
    return folder.resolve(variant.baseName() + "-" + hash(inputs).substring(0, 32) + ".ptx");
  }

  private static String header(String text) {
    return HASH + hash(text) + "\n";
  }

  private static String hash(String text) {
    return HexFormat.of()
        .formatHex(Provenance.sha256().digest(text.getBytes(StandardCharsets.UTF_8)));
  }
}
