package dev.heddle.reference;

import dev.heddle.core.DType;
import dev.heddle.core.Shape;
import java.util.Arrays;

/**
 * What a tensor should hold, for all of its rows or for a sample of them.
 *
 * @param name the tensor's name in its chain
 * @param shape the whole tensor's dimensions
 * @param dtype the whole tensor's storage type
 * @param rowLength elements of one row
 * @param rows indices of the rows that {@code exact} holds, ascending
 * @param exact the oracle's values, {@code [rows, rowLength]}
 * @param samePrecisionError largest absolute error that plain arithmetic of the operands' own
 *     precision makes on these rows, as {@link Precision} has it
 */
public record ExpectedTensor(
    String name,
    Shape shape,
    DType dtype,
    int rowLength,
    int[] rows,
    double[] exact,
    double samePrecisionError) {

  /** Whether only some of the rows were computed. */
  public boolean sampled() {
    return exact.length < shape.elements();
  }

  /** The same with every value rounded to the storage type: what a project that stores it has. */
  ExpectedTensor stored() {
    double[] rounded = Arrays.stream(exact).map(value -> dtype.round((float) value)).toArray();
    return new ExpectedTensor(name, shape, dtype, rowLength, rows, rounded, samePrecisionError);
  }

  /** Index in the whole tensor of element {@code index} of {@code exact}. */
  int position(int index) {
    return rows[index / rowLength] * rowLength + index % rowLength;
  }
}
