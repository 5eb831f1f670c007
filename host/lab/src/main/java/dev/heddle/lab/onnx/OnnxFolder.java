package dev.heddle.lab.onnx;

import dev.heddle.lab.files.TensorFileException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** A folder of node tests, as ONNX generates them. */
public final class OnnxFolder {
  private static final String MODEL = "model.onnx";
  private static final String SET = "test_data_set_";

  private OnnxFolder() {}

  /**
   * One data set of a test, not yet read.
   *
   * @param name the test's name, with the data set's where there are several
   * @param folder the test's folder
   * @param set the data set's folder
   */
  public record Entry(String name, Path folder, Path set) {

    /**
     * Reads it.
     *
     * @throws TensorFileException naming what is wrong, and the file
     */
    public OnnxTest read() {
      return OnnxTest.read(folder, set);
    }
  }

  /**
   * The tests in a folder, by name; the folder may be a test itself.
   *
   * @throws TensorFileException when there is no such folder or no test in it
   */
  public static List<Entry> tests(Path folder) {
    if (!Files.exists(folder)) {
      throw new TensorFileException(folder, "no such folder");
    }
    if (!Files.isDirectory(folder)) {
      throw new TensorFileException(folder, "is a file; a folder of ONNX's node tests is needed");
    }
    if (Files.exists(folder.resolve(MODEL))) {
      return sets(folder);
    }
    List<Path> tests =
        list(folder).stream()
            .filter(Files::isDirectory)
            .filter(test -> !name(test).startsWith("."))
            .toList();
    if (tests.isEmpty()) {
      throw new TensorFileException(
          folder, "has no test in it: no folder with " + MODEL + " and " + SET + "0");
    }
    return tests.stream().flatMap(test -> sets(test).stream()).toList();
  }

  /** The data sets of a test; one that is missing is read, too, and found missing then. */
  private static List<Entry> sets(Path test) {
    List<Path> sets =
        list(test).stream()
            .filter(set -> name(set).startsWith(SET) && Files.isDirectory(set))
            .sorted(
                Comparator.comparingInt((Path set) -> name(set).length())
                    .thenComparing(OnnxFolder::name))
            .toList();
    if (sets.isEmpty()) {
      return List.of(new Entry(name(test), test, test.resolve(SET + "0")));
    }
    List<Entry> entries = new ArrayList<>();
    for (Path set : sets) {
      String name = sets.size() == 1 ? name(test) : name(test) + "/" + name(set);
      entries.add(new Entry(name, test, set));
    }
    return entries;
  }

  private static List<Path> list(Path folder) {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.sorted(Comparator.comparing(OnnxFolder::name)).toList();
    } catch (IOException | UncheckedIOException e) {
      throw new TensorFileException(folder, "can't be listed: " + e.getMessage());
    }
  }

  private static String name(Path path) {
    Path last = path.toAbsolutePath().normalize().getFileName();
    return last == null ? path.toString() : last.toString();
  }
}
