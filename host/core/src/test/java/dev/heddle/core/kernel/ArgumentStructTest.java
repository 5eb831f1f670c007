package dev.heddle.core.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.DeviceTensor;
import dev.heddle.core.kernel.Signature.Parameter;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** A struct is laid out as a C compiler does it, and packed with a value for each member. */
class ArgumentStructTest {
  private static final KernelSource SOURCE =
      new KernelSource(
          "planted.cl",
          """
          typedef struct {
            int first;    // a comment; with a semicolon
            long second;  // 8 bytes, aligned to them
            float third;
          } planted_args;
          """);

  @Test
  void membersAreAlignedToTheirSize() {
    ArgumentStruct struct = ArgumentStruct.find("planted_args", SOURCE).orElseThrow();
    assertThat(struct.fields()).extracting(ArgumentStruct.Field::offset).containsExactly(0, 8, 16);
    assertThat(struct.bytes()).isEqualTo(24);
    assertThat(ArgumentStruct.sizes(SOURCE)).containsExactly(Map.entry("PLANTED_ARGS_BYTES", 24));
    ByteBuffer packed =
        ByteBuffer.wrap(struct.pack(Map.of("first", -1, "second", 1L << 40, "third", 0.5f)))
            .order(ByteOrder.nativeOrder());
    assertThat(packed.getInt(0)).isEqualTo(-1);
    assertThat(packed.getLong(8)).isEqualTo(1L << 40);
    assertThat(packed.getFloat(16)).isEqualTo(0.5f);
  }

  @Test
  void everyMemberNeedsAValueAndEveryValueAMember() {
    ArgumentStruct struct = ArgumentStruct.find("planted_args", SOURCE).orElseThrow();
    assertThatThrownBy(() -> struct.pack(Map.of("first", 1, "second", 2)))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("[first, second, third]");
    Signature signature =
        new Signature("planted", List.of(new Parameter("args", "planted_args", false)));
    Map<String, Number> values = new HashMap<>(Map.of("first", 1, "second", 2, "third", 3));
    assertThat(signature.<DeviceTensor>bind(SOURCE, Map.of(), Map.of(), Set.of(), values))
        .hasSize(1);
    values.put("fourth", 4);
    assertThatThrownBy(
            () -> signature.<DeviceTensor>bind(SOURCE, Map.of(), Map.of(), Set.of(), values))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("planted includes no struct with the members [fourth]");
  }

  @Test
  void anUnknownTypeIsNamed() {
    KernelSource unknown =
        new KernelSource("planted.cl", SOURCE.text().replace("float third", "double third"));
    assertThatThrownBy(() -> ArgumentStruct.find("planted_args", unknown))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("double third");
    assertThat(ArgumentStruct.find("other_args", SOURCE)).isEmpty();
  }
}
