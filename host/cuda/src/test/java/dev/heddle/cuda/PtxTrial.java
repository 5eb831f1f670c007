package dev.heddle.cuda;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.DType;
import dev.heddle.core.HeadsTranspose;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.reference.KernelTrial;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * What a kernel is tried on. Rows, keys and heads end in the middle of a block, and query heads
 * share keys.
 */
enum PtxTrial {
  /**
   * Several tiles of keys, more than there are stages: at the edges of the band, all visible, and
   * beyond it.
   */
  BAND(
      AttentionProblem.of(new AttentionShape(1, 4, 2, 150, 500, 64, 64))
          .withMask(new BandMask(400, 9, BandMask.Alignment.BOTTOM_RIGHT))),
  /** Scores so far apart that the largest of a row keeps growing from tile to tile. */
  STEEP(((AttentionProblem) BAND.operation).withScale(1.5f)),
  /** The sign of the scale goes into the queries. */
  NEGATIVE(((AttentionProblem) BAND.operation).withScale(-0.125f)),
  /** A key in an edge of the band has infinite values: some rows of its block see it, some don't. */
  INFINITE(((AttentionProblem) BAND.operation).withScale(0.0625f)) {
    @Override
    void prepare(Map<String, HostTensor> inputs) {
      HostTensor v = inputs.get("v");
      int key = 60 * v.shape().rowLength();
      for (int d = 0; d < v.shape().rowLength(); d++) {
        v.set(key + d, d % 3 == 0 ? Float.NEGATIVE_INFINITY : Float.POSITIVE_INFINITY);
      }
    }
  },
  /** Rows that see no key: their block has nothing to walk over. */
  BLIND(
      AttentionProblem.of(new AttentionShape(1, 1, 1, 300, 40, 64, 64))
          .withMask(new BandMask(8, 8, BandMask.Alignment.TOP_LEFT))),
  /** Few queries and several splits, in which every warp walks over several tiles. */
  DECODING(
      AttentionProblem.of(new AttentionShape(2, 8, 2, 3, 700, 64, 64))
          .withMask(new BandMask(500, 0, BandMask.Alignment.BOTTOM_RIGHT))),
  LINEAR(new LinearProblem(150, 264, 136, true, DType.FP32)),
  HEADS(new HeadsTranspose(2, 13, 5, 33, DType.FP32));

  private final Operation operation;
  private final Map<DType, KernelTrial> trials = new ConcurrentHashMap<>();

  PtxTrial(Operation operation) {
    this.operation = operation;
  }

  /** The operation in a storage type. */
  Operation operation(DType dtype) {
    return operation.withDtype(dtype);
  }

  /** Changes the random inputs. */
  void prepare(Map<String, HostTensor> inputs) {}

  /** The same for all changes in that storage type. */
  KernelTrial in(DType dtype) {
    return trials.computeIfAbsent(
        dtype, type -> KernelTrial.of(operation(type), this::prepare));
  }
}
