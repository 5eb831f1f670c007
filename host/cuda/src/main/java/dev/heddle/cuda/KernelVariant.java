package dev.heddle.cuda;

import dev.heddle.core.Provenance;
import dev.heddle.core.Refusal;
import dev.heddle.core.kernel.KernelSource;
import dev.heddle.core.kernel.Tunables;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * What is compiled as one: a kernel file, and a value for each of its macros.
 *
 * @param source the kernel file with its includes in place
 * @param macros values by name
 */
record KernelVariant(KernelSource source, SortedMap<String, Integer> macros) {
  private static final Pattern LINE = Pattern.compile("(?m)^#line \\d+ \"([^\"]+)\"");

  /** Ten times the architecture, where a text asks for it. */
  private static final String ARCHITECTURE = "__CUDA_ARCH__";

  /** What every compiler is told besides the macros and the architecture. */
  private static final List<String> OPTIONS = List.of("-std=c++17", "-lineinfo");

  /** Freezes the macros. */
  KernelVariant {
    macros = Collections.unmodifiableSortedMap(new TreeMap<>(macros));
  }

  /** Name of the kernel file, such as {@code attention_flash.cu}. */
  String file() {
    return source.file();
  }

  /** What a compiler is given. */
  String text() {
    return source.text();
  }

  /** Name of the kernel file without its extension, for the names of what is made from it. */
  String baseName() {
    return file().substring(0, file().lastIndexOf('.'));
  }

  /** Tells variants apart: SHA-256 of file name, options and text, in hexadecimal. */
  String key() {
    return key(PtxText.FORMAT);
  }

  /** The key where what a compiler wrote is rewritten in another way. */
  String key(int format) {
    String all = file() + '\n' + OPTIONS + macros + " PTX text " + format + '\n' + text();
    return HexFormat.of()
        .formatHex(Provenance.sha256().digest(all.getBytes(StandardCharsets.UTF_8)));
  }

  /** What a compiler is told, in the words that nvcc and NVRTC share. */
  List<String> options(int architecture) {
    List<String> options = new ArrayList<>(OPTIONS);
    options.add("-arch=compute_" + architecture);
    macros.forEach((name, value) -> options.add("-D" + name + "=" + value));
    return options;
  }

  /** The macros that are chosen; those that follow from the others or from the source are not. */
  SortedMap<String, Integer> choices() {
    SortedMap<String, Integer> choices = new TreeMap<>(macros);
    choices.keySet().removeIf(name -> name.endsWith("_BYTES"));
    return choices;
  }

  /** Whether the text asks what it is compiled for. */
  boolean dependsOnArchitecture() {
    return text().contains(ARCHITECTURE);
  }

  /** Why the file itself refuses to be compiled for an architecture, or empty when it does not. */
  Optional<Refusal> refusal(int architecture) {
    SortedMap<String, Integer> given = new TreeMap<>(macros);
    given.put(ARCHITECTURE, 10 * architecture);
    return Tunables.of(source).refusal(Map.of(), given);
  }

  /** The files that the text was put together from. */
  Set<String> files() {
    return LINE.matcher(text()).results().map(match -> match.group(1)).collect(Collectors.toSet());
  }
}
