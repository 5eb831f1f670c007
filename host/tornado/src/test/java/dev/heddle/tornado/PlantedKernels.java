package dev.heddle.tornado;

import dev.heddle.tornado.kernels.Storage;
import dev.heddle.tornado.kernels.Tensors;
import java.util.concurrent.atomic.LongAdder;
import uk.ac.manchester.tornado.api.annotations.Parallel;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

/** Kernels with faults, each in the place of {@code heads_transpose}. */
final class PlantedKernels {
  private PlantedKernels() {}

  /** Elements that a kernel of two or more axes works on. */
  private static int elements(IntArray args) {
    return args.get(0) * args.get(1) * args.get(2) * args.get(3);
  }

  /** Java that TornadoVM makes no code of, but that runs as sequential Java. */
  static final class NoCode {
    static final LongAdder RUNS = new LongAdder();

    private NoCode() {}

    public static void headsTranspose(
        FloatArray x, ShortArray xBits, FloatArray y, ShortArray yBits, IntArray args, int dtype) {
      for (@Parallel int i = 0; i < elements(args); i++) {
        RUNS.increment();
        Storage.store(y, yBits, i, Storage.load(x, xBits, i, dtype), dtype);
      }
    }
  }

  /** Java of which TornadoVM makes code that no driver's compiler takes. */
  static final class BadCode {
    private BadCode() {}

    public static void headsTranspose(
        FloatArray x, ShortArray xBits, FloatArray y, ShortArray yBits, IntArray args, int dtype) {
      for (@Parallel int i = 0; i < elements(args); i++) {
        float value = Storage.load(x, xBits, i, dtype);
        // TornadoVM prints a constant that is no number as one that no compiler knows.
        Storage.store(y, yBits, i, value > 0.0f ? Float.NaN : value, dtype);
      }
    }
  }

  /** Writes its result, and one number before it. */
  static final class Beside {
    private Beside() {}

    public static void headsTranspose(
        FloatArray x, ShortArray xBits, FloatArray y, ShortArray yBits, IntArray args, int dtype) {
      for (@Parallel int i = 0; i < elements(args); i++) {
        Storage.store(y, yBits, i, Storage.load(x, xBits, i, dtype), dtype);
        if (i == 0) {
          y.set(Tensors.BAND - 1, 1.0f);
        }
      }
    }
  }

  /** Leaves the last number out. */
  static final class Unfinished {
    private Unfinished() {}

    public static void headsTranspose(
        FloatArray x, ShortArray xBits, FloatArray y, ShortArray yBits, IntArray args, int dtype) {
      for (@Parallel int i = 0; i < elements(args) - 1; i++) {
        Storage.store(y, yBits, i, Storage.load(x, xBits, i, dtype), dtype);
      }
    }
  }

  /** Has a parameter that the host binds nothing to. */
  static final class Unbound {
    private Unbound() {}

    public static void headsTranspose(FloatArray x, FloatArray y, IntArray args, long width) {
      y.set(0, x.get(0) * args.get(0) * width);
    }
  }
}
