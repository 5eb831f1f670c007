package dev.heddle.lab.onnx;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.core.Refusal;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.lab.files.InputFile;
import dev.heddle.lab.files.TensorFileException;
import dev.heddle.reference.AllClosePolicy;
import dev.heddle.reference.Expectation;
import dev.heddle.reference.ExpectedTensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * One data set of a node test, read: what is asked, by what, and with which answer.
 *
 * @param title the operator and its version
 * @param type storage type of the first input, as reports show it
 * @param inputs the tensors that are fed, for people
 * @param content what is to be computed
 */
public record OnnxTest(String title, String type, String inputs, Content content) {
  /** Where the model does not tell the type of its first input, as shape inference needs none. */
  private static final String UNKNOWN_TYPE = "-";

  private static final int MOST_JSON_BYTES = 1 << 20;

  /** What a test asks. */
  public sealed interface Content {

    /**
     * A chain with the outputs that it should have.
     *
     * @param task what is computed
     * @param expectation the outputs that come with the test, by the operator's names
     * @param tolerance what the test allows
     */
    record Task(OnnxTask task, Expectation expectation, AllClosePolicy.Tolerance tolerance)
        implements Content {}

    /**
     * Something sound that Heddle does not compute.
     *
     * @param refusal the limit
     */
    record Declined(Refusal refusal) implements Content {}
  }

  /**
   * Reads a data set and the model that it is for.
   *
   * @param folder the test, with {@code model.onnx}
   * @param set the data set, with {@code input_0.pb} and so on
   * @throws TensorFileException naming what is wrong, and the file
   */
  static OnnxTest read(Path folder, Path set) {
    OnnxModel model = OnnxModel.read(folder.resolve("model.onnx"));
    String title = model.operator() + "-" + model.opset();
    String type =
        model.inputs().values().stream()
            .findFirst()
            .flatMap(first -> first)
            .map(ElementType::type)
            .orElse(UNKNOWN_TYPE);
    String inputs = "";
    try {
      OnnxOperator operator = OnnxOperator.of(model);
      title = operator.title();
      Map<String, OnnxTensor> fed = operands(model, operator, set);
      inputs = String.join(", ", fed.values().stream().map(OnnxTensor::toString).toList());
      OnnxOperands operands = new OnnxOperands(set, title, fed);
      return new OnnxTest(
          title, type, inputs, task(model, operator, operands, set, tolerance(folder)));
    } catch (UnsupportedProblemException e) {
      return new OnnxTest(title, type, inputs, new Content.Declined(e.refusal()));
    }
  }

  /** The tensors that the node reads, by the operator's names. */
  private static Map<String, OnnxTensor> operands(
      OnnxModel model, OnnxOperator operator, Path set) {
    Map<String, String> reads = model.reads(operator.title(), operator.inputs());
    Map<String, Path> files =
        files(
            set,
            "input",
            model.inputs().keySet().stream()
                .filter(name -> !model.constants().containsKey(name))
                .toList());
    Map<String, OnnxTensor> operands = new LinkedHashMap<>();
    reads.forEach((formal, name) -> {
      Path file = files.get(name);
      if (file == null) {
        operands.put(formal, model.constant(name, formal));
      } else {
        OnnxTensor tensor = OnnxTensor.read(file, formal);
        model.inputs().getOrDefault(name, Optional.empty()).ifPresent(tensor::requireType);
        operands.put(formal, tensor);
      }
    });
    return operands;
  }

  /** A file of a data set for each name, in order. */
  private static Map<String, Path> files(Path set, String kind, List<String> names) {
    Map<String, Path> files = new HashMap<>();
    for (String name : names) {
      Path file = set.resolve(kind + "_" + files.size() + ".pb");
      if (!Files.exists(file)) {
        throw new TensorFileException(
            file, "no such file; model.onnx has " + names.size() + " " + kind + "s");
      }
      files.put(name, file);
    }
    Path more = set.resolve(kind + "_" + names.size() + ".pb");
    if (Files.exists(more)) {
      throw new TensorFileException(
          more, "is one too many; model.onnx has " + names.size() + " " + kind + "s");
    }
    return files;
  }

  private static Content task(
      OnnxModel model,
      OnnxOperator operator,
      OnnxOperands operands,
      Path set,
      AllClosePolicy.Tolerance tolerance) {
    Map<String, String> writes = model.writes(operator.title(), operator.outputs());
    Map<String, Optional<ElementType>> wanted = new LinkedHashMap<>();
    writes.forEach((formal, name) -> {
      Optional<ElementType> stated = model.outputs().get(name);
      if (stated != null) {
        wanted.put(formal, stated);
      }
    });
    OnnxTask task;
    try {
      task = operator.task(operands, wanted);
    } catch (TensorFileException | UnsupportedProblemException e) {
      throw e;
    } catch (IllegalArgumentException | ArithmeticException e) {
      // What an operation's own constructor rejects.
      throw operands.failure("can't be computed: " + e.getMessage());
    }
    Map<String, Path> files = files(set, "output", List.copyOf(model.outputs().keySet()));
    List<ExpectedTensor> expected = new ArrayList<>();
    for (OnnxTask.Output output : task.outputs()) {
      String name = Objects.requireNonNull(writes.get(output.name()));
      Path file = Objects.requireNonNull(files.get(name));
      expected.add(expected(output, OnnxTensor.read(file, output.name()), operands));
    }
    return new Content.Task(task, new Expectation(expected), tolerance);
  }

  private static ExpectedTensor expected(
      OnnxTask.Output output, OnnxTensor tensor, OnnxOperands operands) {
    if (!tensor.dims().equals(output.shape().dims())
        || !tensor.type().operand().equals(Optional.of(output.dtype()))) {
      throw tensor.failure(
          "is "
              + tensor.type().label()
              + " "
              + tensor.dims()
              + "; "
              + operands.title()
              + " of these inputs has "
              + output.dtype().label()
              + " "
              + output.shape());
    }
    int rowLength = output.shape().rowLength();
    return new ExpectedTensor(
        output.name(),
        output.shape(),
        output.dtype(),
        rowLength,
        IntStream.range(0, tensor.count() / rowLength).toArray(),
        IntStream.range(0, tensor.count()).mapToDouble(tensor::number).toArray(),
        // No plain evaluation of Heddle's: the rule of ONNX asks for none.
        Double.NaN);
  }

  /** What {@code data.json} says in place of ONNX's own tolerance, where there is one. */
  private static AllClosePolicy.Tolerance tolerance(Path folder) {
    Path file = folder.resolve("data.json");
    if (!Files.exists(file)) {
      return AllClosePolicy.ONNX;
    }
    try (InputFile input = InputFile.open(file)) {
      if (input.size() > MOST_JSON_BYTES) {
        throw input.failure(
            "has " + input.size() + " bytes; at most " + MOST_JSON_BYTES + " are read");
      }
      JsonNode root = new ObjectMapper().readTree(input.bytes(0, (int) input.size()).array());
      if (!root.isObject()) {
        throw input.failure("is no JSON object");
      }
      return new AllClosePolicy.Tolerance(
          number(input, root, "atol", AllClosePolicy.ONNX.atol()),
          number(input, root, "rtol", AllClosePolicy.ONNX.rtol()));
    } catch (TensorFileException e) {
      throw e;
    } catch (JacksonException e) {
      throw new TensorFileException(
          file, "is no JSON: " + TensorFileException.quote(e.getOriginalMessage()));
    } catch (IOException e) {
      throw new TensorFileException(file, "can't be read: " + e.getMessage());
    } catch (IllegalArgumentException e) {
      throw new TensorFileException(file, "has " + e.getMessage());
    }
  }

  private static double number(InputFile input, JsonNode root, String name, double otherwise) {
    JsonNode value = root.get(name);
    if (value == null) {
      return otherwise;
    }
    if (!value.isNumber()) {
      throw input.failure(
          "has " + name + " = " + TensorFileException.quote(value.toString()) + ", no number");
    }
    return value.doubleValue();
  }
}
