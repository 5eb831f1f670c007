package dev.heddle.reference;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.util.Arrays;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.stream.Collectors;

/** What q, k or v of a fuzzed problem holds; the same on every machine for the same seed. */
public enum FuzzValues {
  /** Every element 1. */
  ONES {
    @Override
    void fill(HostTensor tensor, SplittableRandom random) {
      tensor.fill(1);
    }
  },
  /** One drawn number everywhere: every logit of a row is the same. */
  CONSTANT {
    @Override
    void fill(HostTensor tensor, SplittableRandom random) {
      tensor.fill((float) random.nextGaussian());
    }
  },
  /** Each row has one 1, the rest is 0. */
  ONE_HOT {
    @Override
    void fill(HostTensor tensor, SplittableRandom random) {
      int width = tensor.shape().rowLength();
      for (int row = 0; row < tensor.size(); row += width) {
        tensor.set(row + random.nextInt(width), 1);
      }
    }
  },
  /** Standard normal. */
  NORMAL {
    @Override
    void fill(HostTensor tensor, SplittableRandom random) {
      scaled(tensor, random, 1);
    }
  },
  /** Near the end of fp16's range; else so large that a logit alone decides its row. */
  HUGE {
    @Override
    void fill(HostTensor tensor, SplittableRandom random) {
      scaled(tensor, random, tensor.dtype() == DType.FP16 ? 5000 : 1e6f);
    }
  },
  /** Subnormal in the storage type. */
  TINY {
    @Override
    void fill(HostTensor tensor, SplittableRandom random) {
      scaled(tensor, random, tensor.dtype() == DType.FP16 ? 1e-6f : 1e-40f);
    }
  },
  /**
   * Grows with the row: as keys, the maximum of the logits rises or falls in every tile, so that
   * online softmax rescales each time.
   */
  RISING {
    @Override
    void fill(HostTensor tensor, SplittableRandom random) {
      int width = tensor.shape().rowLength();
      long rows = tensor.shape().dim(2);
      for (int i = 0; i < tensor.size(); i++) {
        double rise = 8.0 * (i / width % rows + 1) / rows;
        tensor.set(i, (float) (rise + random.nextGaussian() / 8));
      }
    }
  },
  /** Both signs, magnitudes from 2^-8 to 2^6: large terms that cancel. */
  MIXED {
    @Override
    void fill(HostTensor tensor, SplittableRandom random) {
      for (int i = 0; i < tensor.size(); i++) {
        float magnitude = Math.scalb(1 + random.nextFloat(), random.nextInt(15) - 8);
        tensor.set(i, random.nextBoolean() ? magnitude : -magnitude);
      }
    }
  };

  /** Fills a tensor of zeros whose axis 2 is the sequence. */
  abstract void fill(HostTensor tensor, SplittableRandom random);

  /** A new tensor. */
  HostTensor draw(Shape shape, DType dtype, long seed) {
    HostTensor tensor = HostTensor.zeros(shape, dtype);
    fill(tensor, new SplittableRandom(seed));
    return tensor;
  }

  /** Name as users write it. */
  String label() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  static FuzzValues named(String label) {
    return Arrays.stream(values())
        .filter(one -> one.label().equals(label))
        .findFirst()
        .orElseThrow(() ->
            new IllegalArgumentException(
                "there are no values '"
                    + label
                    + "'; there are "
                    + Arrays.stream(values())
                        .map(FuzzValues::label)
                        .collect(Collectors.joining(", "))));
  }

  private static void scaled(HostTensor tensor, SplittableRandom random, float factor) {
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, (float) random.nextGaussian() * factor);
    }
  }
}
