package dev.heddle.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.heddle.core.LinearAttention.FeatureMap;
import dev.heddle.core.LinearAttention.UpdateRule;
import dev.heddle.core.RotaryEmbedding.Pairing;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Cache append, rotary embedding and linear attention: operands, costs, and what they refuse. */
class TokenOperationsTest {
  private static final CacheAppend APPEND = new CacheAppend(2, 3, 17, 5, 33, DType.FP16);
  private static final RotaryEmbedding ROTARY =
      new RotaryEmbedding(2, 3, 7, 33, 20, Pairing.HALF_SPLIT, 12, DType.BF16);
  private static final AttentionShape SHAPE = new AttentionShape(2, 4, 2, 5, 5, 8, 16);

  @Test
  void costsCountedByHand() {
    assertThat(APPEND.flops()).isZero();
    // What is written, each element from one source, and two lengths.
    assertThat(APPEND.compulsoryBytes()).isEqualTo(2 * 2 * (2 * 3 * 17 * 33) + 2 * 4);
    // 2 x 3 x 7 heads of tokens, 10 pairs each, 4 products and 2 sums a pair.
    assertThat(ROTARY.flops()).isEqualTo(2 * 3 * 7 * 10 * 6);
    // x and y in 16 bits, two fp32 tables, int32 positions.
    assertThat(ROTARY.compulsoryBytes())
        .isEqualTo(2 * 2 * (2 * 3 * 7 * 33) + 2 * 4 * (12 * 10) + 4 * (2 * 7));
    // 2 x 2 x 5 writes and 2 x 4 x 5 reads of 8 x 16 multiply-adds; the delta rules look up, too.
    double product = 2 * 8 * 16;
    assertThat(LinearAttention.of(SHAPE, UpdateRule.LINEAR).flops()).isEqualTo((20 + 40) * product);
    assertThat(LinearAttention.of(SHAPE, UpdateRule.GATED_DELTA).flops())
        .isEqualTo((20 + 20 + 40) * product);
  }

  @Test
  void operandsOfLinearAttentionFollowItsOptions() {
    LinearAttention plain = LinearAttention.of(SHAPE, UpdateRule.LINEAR);
    assertThat(names(plain.inputs())).containsExactly("q", "k", "v");
    assertThat(names(plain.outputs())).containsExactly("out", "state");
    LinearAttention rich =
        LinearAttention.of(SHAPE, UpdateRule.GATED_DELTA)
            .withInitialState(true)
            .withBetaShared(true)
            .withDtype(DType.FP16);
    assertThat(rich.inputs().subList(3, 6))
        .containsExactly(
            new TensorSpec("initial_state", Shape.of(2, 2, 8, 16), DType.FP32),
            new TensorSpec("decay", Shape.of(2, 2, 5, 1), DType.FP16),
            new TensorSpec("beta", Shape.of(2, 1, 5), DType.FP16));
    assertThat(rich.outputs().getLast())
        .isEqualTo(new TensorSpec("state", Shape.of(2, 2, 8, 16), DType.FP32));
    LinearAttention normalised =
        LinearAttention.of(SHAPE, UpdateRule.GATED)
            .withDecayPerDim(true)
            .withInitialState(true)
            .kernelised();
    assertThat(names(normalised.inputs()))
        .containsExactly("q", "k", "v", "initial_state", "initial_normaliser", "decay");
    assertThat(names(normalised.outputs())).containsExactly("out", "state", "normaliser");
    assertThat(normalised.inputs().getLast().shape()).isEqualTo(Shape.of(2, 2, 5, 8));
    assertThat(normalised.scale()).isEqualTo(1);
  }

  @Test
  void anotherTypeChangesTheOperandsAndNothingElse() {
    LinearAttention linear = LinearAttention.of(SHAPE, UpdateRule.GATED).kernelised();
    for (Operation operation : List.of(APPEND, ROTARY, linear)) {
      for (DType dtype : DType.FLOATING) {
        assertThat(operation.withDtype(dtype).dtype()).isEqualTo(dtype);
        assertThat(operation.withDtype(dtype).withDtype(operation.dtype())).isEqualTo(operation);
      }
      assertThatThrownBy(() -> operation.withDtype(DType.INT32))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("int32");
    }
  }

  @Test
  void whatDoesNotFitIsNamed() {
    assertThatThrownBy(() -> new CacheAppend(1, 1, 4, 5, 8, DType.FP32))
        .hasMessage("added = 5; a cache of capacity 4 holds no more than that");
    assertThatThrownBy(() -> new CacheAppend(1, 1, 4, 0, 8, DType.FP32))
        .hasMessageContaining("dimension 0");
    for (int rotaryDim : new int[] {0, 3, 10}) {
      assertThatThrownBy(
              () -> new RotaryEmbedding(1, 1, 1, 8, rotaryDim, Pairing.INTERLEAVED, 1, DType.FP32))
          .hasMessage("rotaryDim = " + rotaryDim + "; it must be even and from 2 to headDim = 8");
    }
    assertThatThrownBy(
            () -> LinearAttention.of(new AttentionShape(1, 1, 1, 2, 3, 4, 4), UpdateRule.LINEAR))
        .hasMessageContaining("seqlenQ = 2 but seqlenK = 3");
    LinearAttention linear = LinearAttention.of(SHAPE, UpdateRule.LINEAR);
    LinearAttention delta = LinearAttention.of(SHAPE, UpdateRule.DELTA);
    assertThatThrownBy(() -> delta.withDecayPerDim(true))
        .hasMessageContaining("delta has no decay");
    assertThatThrownBy(() -> linear.withBetaShared(true))
        .hasMessageContaining("linear has no beta");
    assertThatThrownBy(delta::kernelised).hasMessageContaining("delta has no normaliser");
    assertThatThrownBy(() -> linear.kernelised().withFeatureMap(FeatureMap.IDENTITY))
        .hasMessageContaining("not positive");
    assertThatThrownBy(() -> linear.withScale(Float.NaN)).hasMessageContaining("scale = NaN");
  }

  @Test
  void integersOutOfRangeAreNamed() {
    APPEND.requireValues("lengths", HostTensor.of(Shape.of(2), new int[] {0, 12}));
    assertThatThrownBy(
            () -> APPEND.requireValues("lengths", HostTensor.of(Shape.of(2), new int[] {0, 13})))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("lengths[1] = 13; it must be from 0 to 12, capacity 17 less 5 added");
    assertThatThrownBy(
            () -> APPEND.requireValues("lengths", HostTensor.of(Shape.of(2), new int[] {-1, 0})))
        .hasMessageContaining("lengths[0] = -1");
    RotaryEmbedding one = new RotaryEmbedding(1, 1, 2, 4, 2, Pairing.INTERLEAVED, 9, DType.FP32);
    one.requireValues("positions", HostTensor.of(Shape.of(1, 2), new int[] {8, 0}));
    assertThatThrownBy(
            () -> one.requireValues("positions", HostTensor.of(Shape.of(1, 2), new int[] {8, 9})))
        .hasMessage("positions[0, 1] = 9; it must be from 0 to 8, the tables' last row");
    // Nothing else is looked at.
    one.requireValues("x", HostTensor.zeros(Shape.of(1, 1, 2, 4), DType.FP32).fill(-5));
  }

  /** The chain refuses before anything runs, and names the tensor as the operation does. */
  @Test
  void aChainRefusesThemBeforeAnythingRuns() {
    PlantedBackend backend = new PlantedBackend();
    CacheAppend append = new CacheAppend(1, 1, 4, 2, 3, DType.FP32);
    Map<String, HostTensor> inputs = new HashMap<>();
    append
        .inputs()
        .forEach(spec -> inputs.put(spec.name(), HostTensor.zeros(spec.shape(), spec.dtype())));
    inputs.put("lengths", HostTensor.of(Shape.of(1), new int[] {3}));
    try (Session session = backend.open(PlantedBackend.DEVICE)) {
      assertThatThrownBy(() ->
              PreparedChain.prepare(session, Chain.of(append), operation -> Plan.of("low"), inputs))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("lengths[0] = 3");
      assertThat(session.liveResources()).isZero();
    }
  }

  /** Integers that are no fp32 numbers would be others on a backend that holds them as such. */
  @Test
  void integersThatAreNoFloatsAreRefusedByName() {
    int large = HostSession.MAX_INTEGER + 1;
    CacheAppend append = new CacheAppend(1, 1, large, 1, 1, DType.FP32);
    RotaryEmbedding rotary =
        new RotaryEmbedding(1, 1, 1, 2, 2, Pairing.INTERLEAVED, large, DType.FP32);
    PlantedBackend backend = new PlantedBackend();
    Plan plan = Plan.of("low");
    assertThat(backend.refusal(PlantedBackend.DEVICE, append, plan).orElseThrow())
        .isEqualTo(
            new Refusal(
                "lengths",
                "capacity = 16777217; integers are held as fp32 here, so it must be at most"
                    + " 16777216"));
    assertThat(backend.refusal(PlantedBackend.DEVICE, rotary, plan).orElseThrow().limit())
        .isEqualTo("positions");
    assertThat(
            backend
                .refusal(
                    PlantedBackend.DEVICE, new CacheAppend(1, 1, large - 1, 1, 1, DType.FP32), plan)
                .orElseThrow()
                .limit())
        .as("too large for the device, which has 1 MiB")
        .isEqualTo("deviceMemory");
  }

  /** The angles themselves, and that no precision is lost on the way to a distant position. */
  @ParameterizedTest
  @CsvSource({"0,0", "1,0", "3,1", "1000000,2"})
  void tablesHoldTheAnglesFunctions(int position, int pair) {
    int rotaryDim = 6;
    double angle = position / Math.pow(10_000, pair / 3.0);
    HostTensor cos = RotaryEmbedding.cosTable(position + 1, rotaryDim, 10_000);
    HostTensor sin = RotaryEmbedding.sinTable(position + 1, rotaryDim, 10_000);
    assertThat(cos.shape()).isEqualTo(Shape.of(position + 1, 3));
    assertThat((double) cos.get(position * 3 + pair)).isCloseTo(Math.cos(angle), within(1e-7));
    assertThat((double) sin.get(position * 3 + pair)).isCloseTo(Math.sin(angle), within(1e-7));
  }

  private static List<String> names(List<TensorSpec> specs) {
    return specs.stream().map(TensorSpec::name).toList();
  }
}
