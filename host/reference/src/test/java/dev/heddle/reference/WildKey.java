package dev.heddle.reference;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.AttentionStage;
import dev.heddle.core.BandMask;
import dev.heddle.core.BandMask.Alignment;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.reference.BackendContract.Extent;
import dev.heddle.reference.ContractCases.Case;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Attention in which the last key of the last key-value head holds a NaN or an infinity.
 *
 * @param problem the attention, whole or of which the values are summed alone
 * @param tensor {@code k} or {@code v}: where the poison is
 * @param poison NaN or infinity
 * @param poisoned with the poison
 * @param finite with ordinary numbers in its place
 */
record WildKey(AttentionProblem problem, String tensor, float poison, Case poisoned, Case finite) {
  private static final List<AttentionShape> SHAPES =
      List.of(
          new AttentionShape(1, 2, 2, 64, 64, 24, 24),
          new AttentionShape(1, 4, 2, 70, 131, 16, 72),
          new AttentionShape(1, 4, 2, 70, 131, 64, 64),
          new AttentionShape(1, 4, 2, 3, 70, 40, 20));
  private static final List<AttentionShape> SMALL_SHAPES =
      List.of(
          new AttentionShape(1, 2, 2, 33, 33, 24, 24),
          new AttentionShape(1, 4, 2, 37, 71, 64, 64),
          new AttentionShape(1, 2, 2, 3, 70, 32, 32));
  private static final List<BandMask> MASKS =
      List.of(
          BandMask.NONE,
          BandMask.causal(Alignment.BOTTOM_RIGHT),
          new BandMask(5, 1, Alignment.BOTTOM_RIGHT));

  /** Whole attention and the sum of the values alone, over keys and values, NaN and infinity. */
  static List<WildKey> all(DType dtype, Extent extent) {
    List<WildKey> all = new ArrayList<>();
    for (AttentionShape shape : extent == Extent.SMALL ? SMALL_SHAPES : SHAPES) {
      for (BandMask mask : MASKS) {
        AttentionProblem problem = AttentionProblem.of(shape).withMask(mask).withDtype(dtype);
        for (float poison : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
          all.add(of(problem, problem, "k", poison));
          all.add(of(problem, problem, "v", poison));
          Operation values = new AttentionStage(AttentionStage.Stage.VALUES, problem);
          all.add(of(problem, values, "v", poison));
        }
      }
    }
    return all;
  }

  private static WildKey of(
      AttentionProblem problem, Operation operation, String tensor, float poison) {
    String name =
        operation.name() + " " + problem.shape() + " mask " + problem.mask() + ", wild " + tensor;
    Case poisoned =
        ContractCases.of(
            name + " " + poison,
            operation,
            inputs -> {
              HostTensor wild = inputs.get(tensor);
              int row = wild.size() - wild.shape().rowLength();
              // One element of the key makes some scores +inf and some -inf; all of the value.
              int end = tensor.equals("k") ? row + 1 : wild.size();
              for (int i = row; i < end; i++) {
                wild.set(i, poison);
              }
              return inputs;
            });
    return new WildKey(problem, tensor, poison, poisoned, ContractCases.of(name, operation));
  }

  /** NaN does; an infinite key may get the weight 0. */
  boolean reachesAllThatSeeIt() {
    return Float.isNaN(poison);
  }

  /** Asserts that out is NaN in the rows that see the key. */
  void assertReached(Map<String, HostTensor> outputs) {
    HostTensor out = tensor(outputs, "out");
    int seen = 0;
    for (int i = 0; i < out.size(); i++) {
      if (seesIt(i / out.shape().rowLength())) {
        assertThat(out.get(i)).as("out[%d]", i).isNaN();
        seen++;
      }
    }
    assertThat(seen).as("elements that the key reaches").isPositive();
  }

  /** The outputs with the right numbers in what the key may have changed, and only there. */
  Map<String, HostTensor> healed(Map<String, HostTensor> outputs) {
    Map<String, HostTensor> healed = new HashMap<>(outputs);
    for (ExpectedTensor expected : finite.expectation().tensors()) {
      boolean mayChange = expected.name().equals("out") || tensor.equals("k");
      HostTensor got = tensor(outputs, expected.name());
      int perQuery = got.size() / Math.toIntExact(problem.shape().lse().elements());
      for (int e = 0; mayChange && e < expected.exact().length; e++) {
        int i = expected.position(e);
        if (seesIt(i / perQuery)) {
          got.set(i, (float) expected.exact()[e]);
        }
      }
    }
    return healed;
  }

  /** Whether a row of the flattened {@code [B, H_Q, SEQLEN_Q]} sees the poisoned key. */
  private boolean seesIt(int row) {
    AttentionShape shape = problem.shape();
    int head = row / shape.seqlenQ();
    return head / (shape.headsQ() / shape.headsKv()) == shape.headsKv() - 1
        && LongHand.visible(problem.mask(), shape, row % shape.seqlenQ(), shape.seqlenK() - 1);
  }

  private static HostTensor tensor(Map<String, HostTensor> tensors, String name) {
    HostTensor tensor = tensors.get(name);
    assertThat(tensor).as(name).isNotNull();
    return tensor;
  }
}
