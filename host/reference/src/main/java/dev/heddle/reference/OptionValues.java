package dev.heddle.reference;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import dev.heddle.core.TensorSpec;
import java.util.Arrays;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.stream.Collectors;

/**
 * What the tensors of an attention problem's options hold, drawn by a seed; the same on every
 * machine.
 *
 * @param hiding how many keys are hidden
 * @param size how large bias, slopes and sinks are
 */
public record OptionValues(Hiding hiding, Size size) {

  /** Those of a problem whose options have no tensors. */
  static final OptionValues PLAINEST = new OptionValues(Hiding.NOTHING, Size.NORMAL);

  /** Which keys key lengths, masks and the -inf of a bias hide. */
  public enum Hiding {
    /** None: lengths are those of the tensor, masks 1, biases finite. */
    NOTHING(0),
    /** One in eight; lengths are at least half the keys. */
    FEW(0.125),
    /** Seven in eight; lengths begin at 0. */
    MOST(0.875),
    /** Whole rows, every other one, and a quarter of the other rows; a length is 0 or all keys. */
    ROWS(0.25);

    private final double share;

    /** Name as users write it. */
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }

    Hiding(double share) {
      this.share = share;
    }

    /** Which elements of a tensor's row are hidden. */
    private boolean[] row(int width, SplittableRandom random) {
      boolean[] hidden = new boolean[width];
      boolean all = this == ROWS && random.nextBoolean();
      for (int j = 0; j < width; j++) {
        hidden[j] = all || random.nextDouble() < share;
      }
      return hidden;
    }

    private int length(int keys, SplittableRandom random) {
      return switch (this) {
        case NOTHING -> keys;
        case FEW -> keys - random.nextInt(keys / 2 + 1);
        case MOST -> random.nextInt(keys + 1);
        case ROWS -> random.nextBoolean() ? 0 : keys;
      };
    }
  }

  /** How large numbers are that are added to scores, and the sinks. */
  public enum Size {
    /** Bias and sinks standard normal; slopes as ALiBi has them, {@code 2^(-8 (h + 1) / H_Q)}. */
    NORMAL(1, 1),
    /** Biases and slopes near fp32's subnormals; sinks so far down that they count for nothing. */
    TINY(1e-38f, -300),
    /** Biases that alone decide a row, slopes that leave one key; sinks that dominate or vanish. */
    HUGE(1e4f, 300);

    private final float factor;
    private final float sink;

    Size(float factor, float sink) {
      this.factor = factor;
      this.sink = sink;
    }

    private float sink(SplittableRandom random) {
      double normal = random.nextGaussian();
      return (float) (this == TINY ? sink * (1 + Math.abs(normal)) : sink * normal);
    }

    private float slope(int head, int heads) {
      return (float) (StrictMath.pow(2, -8.0 * (head + 1) / heads) * factor);
    }
  }

  /** A new tensor of an option, by its name in {@code spec}, of a problem with so many keys. */
  public HostTensor draw(TensorSpec spec, int keys, long seed) {
    SplittableRandom random = new SplittableRandom(seed ^ (long) spec.name().hashCode() << 20);
    Shape shape = spec.shape();
    HostTensor tensor = HostTensor.zeros(shape, spec.dtype());
    switch (spec.name()) {
      case "key_lengths" -> Arrays.setAll(tensor.ints(), b -> hiding.length(keys, random));
      case "alibi_slopes" -> {
        for (int h = 0; h < tensor.size(); h++) {
          tensor.set(h, size.slope(h, tensor.size()));
        }
      }
      case "sinks" -> {
        for (int h = 0; h < tensor.size(); h++) {
          tensor.set(h, size.sink(random));
        }
      }
      default -> {
        int width = shape.rowLength();
        for (int row = 0; row < tensor.size() / width; row++) {
          boolean[] hidden = hiding.row(width, random);
          for (int j = 0; j < width; j++) {
            tensor.set(row * width + j, element(spec.dtype(), hidden[j], random));
          }
        }
      }
    }
    return tensor;
  }

  /** Of a mask or a bias. */
  private float element(DType dtype, boolean hidden, SplittableRandom random) {
    if (dtype == DType.BOOL) {
      return hidden ? 0 : 1;
    }
    return hidden ? Float.NEGATIVE_INFINITY : (float) random.nextGaussian() * size.factor;
  }

  /** As {@code rows,huge}. */
  @Override
  public String toString() {
    return label(hiding) + "," + label(size);
  }

  /** The values of that text. */
  static OptionValues parse(String text) {
    String[] words = text.split(",", -1);
    if (words.length != 2) {
      throw new IllegalArgumentException(
          "'" + text + "': options hold what two words say, as " + PLAINEST);
    }
    return new OptionValues(named(Hiding.values(), words[0]), named(Size.values(), words[1]));
  }

  private static <T extends Enum<T>> T named(T[] all, String label) {
    return Arrays.stream(all)
        .filter(one -> label(one).equals(label))
        .findFirst()
        .orElseThrow(() ->
            new IllegalArgumentException(
                "options do not hold '"
                    + label
                    + "'; there are "
                    + Arrays.stream(all)
                        .map(OptionValues::label)
                        .collect(Collectors.joining(", "))));
  }

  private static String label(Enum<?> one) {
    return one.name().toLowerCase(Locale.ROOT);
  }
}
