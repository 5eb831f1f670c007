package dev.heddle.cuda;

import dev.heddle.core.Provenance;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What is compiled as one: a kernel file with its includes in place, and a value for each of its
 * macros.
 *
 * @param file name of the kernel file, such as {@code attention_flash.cu}
 * @param text what the compiler is given
 * @param macros values by name
 */
record KernelVariant(String file, String text, SortedMap<String, Integer> macros) {

  /** Freezes the macros. */
  KernelVariant {
    macros = Collections.unmodifiableSortedMap(new TreeMap<>(macros));
  }

  /** Tells variants apart: SHA-256 of file name, text and macros, in hexadecimal. */
  String key() {
    String all = file + '\n' + String.join(" ", defines()) + '\n' + text;
    return HexFormat.of()
        .formatHex(Provenance.sha256().digest(all.getBytes(StandardCharsets.UTF_8)));
  }

  /** The macros as compilers take them: {@code -DBLOCK_M=64}. */
  List<String> defines() {
    return macros.entrySet().stream()
        .map(macro -> "-D" + macro.getKey() + "=" + macro.getValue())
        .toList();
  }
}
