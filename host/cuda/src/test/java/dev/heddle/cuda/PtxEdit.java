package dev.heddle.cuda;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A deliberate change of instructions in a kernel's PTX.
 *
 * <p>A place is named by what is there and not by where it lies: the instructions of a kernel that
 * match a pattern and that the line information attributes to some text of the kernel's sources.
 * Where there is no such place, or there are several and one was meant, the change fails: it can't
 * quietly vanish when the kernel or the compiler change.
 *
 * @param kernel the entry point
 * @param source text of the kernel's sources, may be that of several lines; comments and spacing do
 *     not count; empty: any place
 * @param instruction a regular expression that is found in the instruction, words of which are one
 *     blank apart
 * @param replacement what takes the place of what is found, {@code $1} being a group of it
 * @param choice which of the places
 */
record PtxEdit(
    String kernel, String source, String instruction, String replacement, Choice choice) {
  /** Heddle's own files: the compiler's headers are in the table as well. */
  private static final Pattern FILE =
      Pattern.compile("(?m)^\\s*\\.file\\s+(\\d+)\\s+\"([^\"]+\\.(?:cu|h))\"");

  private static final Pattern LOCATION = Pattern.compile("\\.loc (\\d+) (\\d+) \\d+");

  /** Which of the places are changed. */
  sealed interface Choice {
    /** The one that there is. */
    record Only() implements Choice {}

    /** All that there are. */
    record Every() implements Choice {}

    /** The n-th, counted from 0, in the order of the text. */
    record Nth(int index) implements Choice {}

    /** The last one before the place of another change. */
    record Before(PtxEdit next) implements Choice {}
  }

  /** An instruction, its line in the PTX, and the file and line that it was compiled from. */
  private record Instruction(int at, String text, String origin) {}

  /** Puts something in the place of what is found in an instruction. */
  static PtxEdit replace(String instruction, String replacement) {
    return new PtxEdit("", "", instruction, replacement, new Choice.Only());
  }

  /** Takes an instruction out. */
  static PtxEdit remove(String instruction) {
    return replace("^" + instruction + ".*", "");
  }

  /** The same in that kernel. */
  PtxEdit in(String entry) {
    return new PtxEdit(entry, source, instruction, replacement, choice);
  }

  /** The same for what was compiled from that text of the sources. */
  PtxEdit from(String text) {
    return new PtxEdit(kernel, text, instruction, replacement, choice);
  }

  /** The same for all places. */
  PtxEdit every() {
    return choosing(new Choice.Every());
  }

  /** The same for the n-th place, counted from 0. */
  PtxEdit nth(int index) {
    return choosing(new Choice.Nth(index));
  }

  /** The same for the last place before that of another change, of the same kernel. */
  PtxEdit before(PtxEdit next) {
    return choosing(new Choice.Before(next));
  }

  private PtxEdit choosing(Choice other) {
    return new PtxEdit(kernel, source, instruction, replacement, other);
  }

  /**
   * The text with the change made.
   *
   * @param sources text of a kernel file or header by its name
   * @throws AssertionError when the place is not there, or not one where one is meant
   */
  String apply(String ptx, Function<String, String> sources) {
    String[] lines = ptx.split("\n", -1);
    Pattern pattern = Pattern.compile(instruction);
    for (Instruction place : chosen(ptx, sources)) {
      String changed = pattern.matcher(place.text).replaceFirst(replacement);
      if (changed.equals(place.text)) {
        throw new AssertionError(this + " changes nothing of: " + place.text);
      }
      lines[place.at] = changed;
    }
    return String.join("\n", lines);
  }

  /** The places of the change. */
  private List<Instruction> chosen(String ptx, Function<String, String> sources) {
    Map<String, String> files = new HashMap<>();
    FILE.matcher(ptx).results().forEach(file -> files.put(file.group(1), file.group(2)));
    Set<String> origins = new HashSet<>();
    if (!source.isEmpty()) {
      files.values().forEach(file -> origins.addAll(origins(file, sources.apply(file))));
      if (origins.isEmpty()) {
        throw new AssertionError(files.values() + " no longer hold: " + source);
      }
    }
    Pattern pattern = Pattern.compile(instruction);
    List<Instruction> places =
        instructions(ptx, files).stream()
            .filter(each -> pattern.matcher(each.text).find())
            .filter(each -> source.isEmpty() || origins.contains(each.origin))
            .toList();
    List<Instruction> chosen =
        switch (choice) {
          case Choice.Only only -> places.size() == 1 ? places : List.of();
          case Choice.Every every -> places;
          case Choice.Nth(int index) ->
              index < places.size() ? places.subList(index, index + 1) : List.of();
          case Choice.Before(PtxEdit next) -> {
            int end = next.in(kernel).chosen(ptx, sources).getFirst().at;
            List<Instruction> earlier = places.stream().filter(each -> each.at < end).toList();
            yield earlier.isEmpty() ? earlier : List.of(earlier.getLast());
          }
        };
    if (chosen.isEmpty()) {
      throw new AssertionError(this + " has " + places.size() + " places: " + places);
    }
    return chosen;
  }

  /** Instructions of the kernel. */
  private List<Instruction> instructions(String ptx, Map<String, String> files) {
    String[] lines = ptx.split("\n", -1);
    List<Instruction> instructions = new ArrayList<>();
    boolean inside = false;
    String origin = "";
    for (int at = 0; at < lines.length; at++) {
      String line = lines[at].strip().replaceAll("\\s+", " ");
      Matcher location = LOCATION.matcher(line);
      if (lines[at].startsWith(".visible .entry " + kernel + "(")) {
        inside = true;
      } else if (lines[at].equals("}")) {
        inside = false;
      } else if (location.matches()) {
        origin = files.get(location.group(1)) + ":" + location.group(2);
      } else if (inside && line.endsWith(";") && !line.startsWith(".")) {
        instructions.add(new Instruction(at, line, origin));
      }
    }
    return instructions;
  }

  /** File and line of each line that has part in an occurrence of the text. */
  private Set<String> origins(String file, String text) {
    StringBuilder code = new StringBuilder();
    List<Integer> lineOf = new ArrayList<>();
    int number = 0;
    for (String line : text.split("\n", -1)) {
      number++;
      String stripped = line.replaceFirst("//.*", "").strip().replaceAll("\\s+", " ");
      if (!stripped.isEmpty()) {
        code.append(stripped).append(' ');
        while (lineOf.size() < code.length()) {
          lineOf.add(number);
        }
      }
    }
    Set<String> origins = new HashSet<>();
    for (int at = code.indexOf(source); at >= 0; at = code.indexOf(source, at + 1)) {
      for (int part = at; part < at + source.length(); part++) {
        origins.add(file + ":" + lineOf.get(part));
      }
    }
    return origins;
  }

  /** How often an instruction is in a kernel. */
  static int count(String ptx, String kernel, String instruction) {
    Pattern pattern = Pattern.compile(instruction);
    return Math.toIntExact(
        remove(instruction).in(kernel).instructions(ptx, Map.of()).stream()
            .filter(each -> pattern.matcher(each.text).find())
            .count());
  }
}
