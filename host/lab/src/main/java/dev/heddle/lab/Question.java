package dev.heddle.lab;

import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.Shape;
import dev.heddle.reference.ConformanceCase;
import dev.heddle.reference.Feature;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What devices were asked, as reports tell of it.
 *
 * @param name names it among all questions of one type
 * @param type storage type of the operands, as users write it
 * @param rows the rows of the matrix in which its answers count
 * @param inputs what its inputs hold, for people
 * @param operations what is computed, step by step
 * @param shapes dimensions of what is judged, by name
 * @param ordinary whether it is the kind of input that the tests of attention libraries are made of
 * @param options the options of {@code heddle conform} that ask it again
 */
public record Question(
    String name,
    String type,
    List<Row> rows,
    String inputs,
    List<String> operations,
    Map<String, Shape> shapes,
    boolean ordinary,
    String options) {

  /**
   * A row of the matrix.
   *
   * @param place among the rows, ascending
   * @param id name for programs
   * @param label name for people
   */
  public record Row(int place, String id, String label) implements Comparable<Row> {
    private static final Comparator<Row> ORDER =
        Comparator.comparingInt(Row::place).thenComparing(Row::id).thenComparing(Row::label);

    /** The row of a feature. */
    public static Row of(Feature feature) {
      return new Row(feature.ordinal(), feature.name().toLowerCase(Locale.ROOT), feature.label());
    }

    @Override
    public int compareTo(Row other) {
      return ORDER.compare(this, other);
    }
  }

  /** Freezes the collections. */
  public Question {
    rows = List.copyOf(rows);
    operations = List.copyOf(operations);
    shapes = Map.copyOf(shapes);
  }

  /** A case of a suite. */
  public static Question of(ConformanceCase testCase) {
    DType dtype = testCase.dtype();
    Map<String, Shape> shapes = new HashMap<>();
    testCase.chain().tensors().forEach(spec -> shapes.put(spec.name(), spec.shape()));
    return new Question(
        testCase.name(),
        dtype.label(),
        testCase.features().stream().map(Row::of).toList(),
        testCase.inputs().toString(),
        operations(testCase.chain()),
        shapes,
        testCase.isOrdinaryAttention(),
        "--case " + testCase.name() + " --dtype " + dtype.label());
  }

  /** The steps of a chain, for people. */
  static List<String> operations(Chain chain) {
    return chain.steps().stream().map(step -> step.operation().toString()).toList();
  }

  /** Index along each axis of an element of what is judged. */
  public List<Integer> position(String tensor, int index) {
    Shape shape = shapes.get(tensor);
    if (shape == null) {
      throw new IllegalArgumentException(name + " has no tensor '" + tensor + "'");
    }
    return shape.position(index);
  }

  /** As {@code fp16 attention/1,1,1,7,13,13,7/none}. */
  @Override
  public String toString() {
    return type + " " + name;
  }
}
