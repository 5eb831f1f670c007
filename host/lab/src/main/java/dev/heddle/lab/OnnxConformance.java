package dev.heddle.lab;

import dev.heddle.core.Shape;
import dev.heddle.lab.files.TensorFileException;
import dev.heddle.lab.onnx.OnnxFolder;
import dev.heddle.lab.onnx.OnnxTest;
import dev.heddle.reference.AllClosePolicy;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.regex.Pattern;

/**
 * ONNX's node tests on many devices: an operator's inputs and the outputs that come with them,
 * which judge in the oracle's place, by ONNX's own rule.
 */
public final class OnnxConformance {
  private static final Pattern PLAIN = Pattern.compile("[a-zA-Z0-9,/+._=@:-]+");

  private OnnxConformance() {}

  /**
   * Asks every selected device every test in a folder. What is wrong with a test is told in the
   * result, and the others are asked all the same.
   *
   * @param algorithm of the operator's kernel, or every one that a device has
   * @param progress told of each step before it starts, in a few words
   * @throws TensorFileException when there is no such folder or no test in it
   * @throws IllegalArgumentException when the selection names what does not exist, or no selected
   *     device has the algorithm
   * @throws NothingToRunException when the selected backend is unavailable, or there is no device
   */
  public static Conformance run(
      Installation installation,
      Path folder,
      Selection selection,
      Optional<String> algorithm,
      Consumer<String> progress) {
    List<OnnxFolder.Entry> tests = OnnxFolder.tests(folder);
    List<Supplier<Exercise>> exercises = new ArrayList<>();
    for (OnnxFolder.Entry test : tests) {
      int place = exercises.size();
      exercises.add(() -> exercise(test, place));
    }
    return Conformance.run(
        installation,
        new Conformance.Asking(
            "ONNX node tests in " + folder,
            Conformance.Subject.CASE,
            selection,
            algorithm,
            List.of(AllClosePolicy.onnxTest(AllClosePolicy.ONNX))),
        exercises,
        progress);
  }

  private static Exercise exercise(OnnxFolder.Entry entry, int place) {
    OnnxTest test;
    try {
      test = entry.read();
    } catch (TensorFileException e) {
      return broken(entry, String.valueOf(e.getMessage()));
    } catch (OutOfMemoryError e) {
      return broken(
          entry,
          "needs more memory than the JVM's heap limit of "
              + Runtime.getRuntime().maxMemory()
              + " bytes; HEDDLE_JAVA_OPTS=-Xmx... raises it");
    }
    return switch (test.content()) {
      case OnnxTest.Content.Declined(var refusal) ->
          new Exercise.Declined(
              question(entry, place, test, List.of(), Map.of()), refusal, test.title());
      case OnnxTest.Content.Task(var task, var expectation, var tolerance) -> {
        Map<String, Shape> shapes = new HashMap<>();
        task.outputs().forEach(output -> shapes.put(output.name(), output.shape()));
        Workload workload;
        try {
          workload =
              new Workload(
                  entry.name(), Optional.empty(), task.focus(), task.chain(), task.inputs());
        } catch (IllegalArgumentException e) {
          // It does not fit the heap.
          yield broken(entry, String.valueOf(e.getMessage()));
        }
        yield new Exercise.Task(
            question(entry, place, test, Question.operations(task.chain()), shapes),
            task.focus(),
            () -> workload,
            same -> expectation,
            task::results,
            rule -> AllClosePolicy.onnxTest(tolerance));
      }
    };
  }

  private static Exercise broken(OnnxFolder.Entry entry, String reason) {
    return new Exercise.Broken(new Conformance.Unusable(entry.name(), reason));
  }

  private static Question question(
      OnnxFolder.Entry entry,
      int place,
      OnnxTest test,
      List<String> operations,
      Map<String, Shape> shapes) {
    return new Question(
        entry.name(),
        test.type(),
        List.of(new Question.Row(place, entry.name(), entry.name())),
        test.title() + (test.inputs().isEmpty() ? "" : ": " + test.inputs()),
        operations,
        shapes,
        true,
        "--onnx " + quoted(entry.folder().toString()));
  }

  /** As a shell takes it for one word. */
  private static String quoted(String path) {
    return PLAIN.matcher(path).matches() ? path : "'" + path.replace("'", "'\\''") + "'";
  }
}
