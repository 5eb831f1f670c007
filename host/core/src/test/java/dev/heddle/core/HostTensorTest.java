package dev.heddle.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class HostTensorTest {
  private static final Shape SHAPE = Shape.of(2, 3);

  @ParameterizedTest
  @EnumSource
  void storesWhatTheTypeRoundsTo(DType dtype) {
    HostTensor tensor = HostTensor.zeros(SHAPE, dtype);
    assertThat(tensor.toDoubles()).containsOnly(0);
    tensor.set(4, 0.1f);
    assertThat(tensor.get(4)).isEqualTo(dtype.round(0.1f));
    assertThat(tensor.toDoubles()).containsExactly(0, 0, 0, 0, dtype.round(0.1f), 0);
    assertThat(tensor.size()).isEqualTo(6);
    assertThat(tensor.fill(-3.3f).toDoubles()).containsOnly(dtype.round(-3.3f));
  }

  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void aSeedAlwaysGivesTheSameValues(DType dtype) {
    double[] values = HostTensor.gaussian(Shape.of(50_000), dtype, 7).toDoubles();
    assertThat(HostTensor.gaussian(Shape.of(50_000), dtype, 7).toDoubles()).isEqualTo(values);
    assertThat(HostTensor.gaussian(Shape.of(50_000), dtype, 8).toDoubles()).isNotEqualTo(values);
    double sum = 0;
    double squares = 0;
    for (double value : values) {
      sum += value;
      squares += value * value;
    }
    // Four standard errors of 50000 samples.
    assertThat(Math.abs(sum / values.length)).isLessThan(0.018);
    assertThat(Math.abs(squares / values.length - 1)).isLessThan(0.026);
  }

  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void roundingCopiesIntoTheOtherType(DType dtype) {
    float[] values = {0.1f, -3.3f, Float.NaN, Float.POSITIVE_INFINITY, 1e-41f, 70000};
    HostTensor wide = HostTensor.of(SHAPE, values);
    HostTensor rounded = wide.rounded(dtype);
    assertThat(rounded.dtype()).isEqualTo(dtype);
    assertThat(rounded.shape()).isEqualTo(SHAPE);
    for (int i = 0; i < values.length; i++) {
      assertThat((Float) rounded.get(i)).isEqualTo((Float) dtype.round(values[i]));
    }
    HostTensor back = rounded.rounded(DType.FP32);
    assertThat(back.toDoubles()).isEqualTo(rounded.toDoubles());
    back.set(0, 9);
    assertThat(wide.get(0)).isEqualTo(0.1f);
    assertThat(rounded.get(0)).isEqualTo(dtype.round(0.1f));
  }

  @Test
  void storageIsSharedNotCopied() {
    float[] values = {1, 2, 3, 4, 5, 6};
    HostTensor tensor = HostTensor.of(SHAPE, values);
    assertThat(tensor.floats()).isSameAs(values);
    tensor.reshape(Shape.of(6)).set(5, 9);
    assertThat(values[5]).isEqualTo(9);
    assertThat(tensor.get(5)).isEqualTo(9);
    HostTensor half = HostTensor.zeros(SHAPE, DType.FP16);
    half.patterns()[1] = (short) 0x3C00;
    assertThat(half.get(1)).isEqualTo(1);
  }

  @Test
  void misuseIsRefused() {
    assertThatThrownBy(() -> HostTensor.of(SHAPE, 1, 2))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("shape [2, 3] needs 6 values, not 2");
    assertThatThrownBy(() -> HostTensor.zeros(SHAPE, DType.FP32).reshape(Shape.of(5)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("[2, 3] can't be seen as [5]");
    assertThatThrownBy(() -> HostTensor.zeros(Shape.of(1 << 16, 1 << 15), DType.BF16))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "shape [65536, 32768] has 2147483648 elements; a host tensor holds at most 2147483639");
    assertThatThrownBy(() -> HostTensor.zeros(SHAPE, DType.BF16).floats())
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("a tensor of bf16 has no fp32 storage");
    assertThatThrownBy(() -> HostTensor.zeros(SHAPE, DType.FP32).patterns())
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("a tensor of fp32 has no 16-bit storage");
  }

  @Test
  void integersAndBooleansHaveStoragesOfTheirOwn() {
    HostTensor ints = HostTensor.of(SHAPE, new int[] {1, -2, 1 << 29, 0, 7, 16_777_217});
    assertThat(ints.ints()[5]).isEqualTo(16_777_217);
    assertThat(ints.toDoubles()).containsExactly(1, -2, 1 << 29, 0, 7, 16_777_217);
    HostTensor booleans = HostTensor.zeros(SHAPE, DType.BOOL);
    booleans.set(2, 5);
    booleans.set(3, Float.NaN);
    assertThat(booleans.bytes()).containsExactly(0, 0, 1, 1, 0, 0);
    assertThat(booleans.segment().byteSize()).isEqualTo(6);
    assertThat(ints.segment().byteSize()).isEqualTo(24);
    assertThatThrownBy(booleans::ints).hasMessage("a tensor of bool has no int32 storage");
    assertThatThrownBy(ints::bytes).hasMessage("a tensor of int32 has no bool storage");
  }
}
