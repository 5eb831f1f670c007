package dev.heddle.reference;

import dev.heddle.core.Backend;
import dev.heddle.core.Chain;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.HostTensor;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.PreparedChain;
import dev.heddle.core.Session;
import dev.heddle.core.Shape;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/**
 * For kernels whose storage type is no more than that: in 16 bits they compute what they compute in
 * fp32 of the same numbers, and round it once when they store it, to the nearest, ties to even. A
 * tolerance for errors can't tell that from truncation, nor from rounding on the way.
 */
public final class StorageTrial {
  /**
   * Two runs in fp32 may differ, where a sum is added up in an order that is nobody's promise: by
   * this part of a tensor's largest element.
   */
  private static final float SLACK = 0x1p-19f;

  private static final int ROWS = 71;
  private static final int COLUMNS = 93;

  private StorageTrial() {}

  /**
   * Runs an operation in a 16-bit type and in fp32, with the tunables of the former.
   *
   * @param operation of any storage type
   * @return the elements of which the one is not the other rounded; empty when all is well
   */
  public static List<String> differences(
      Backend backend, Device device, Operation operation, DType dtype, String algorithm) {
    Operation narrow = operation.withDtype(dtype);
    Plan plan = backend.plan(device, narrow, algorithm);
    Map<String, HostTensor> inputs = CaseInputs.fitting(narrow).draw(narrow.inputs());
    Map<String, HostTensor> widened = new HashMap<>();
    inputs.forEach((name, tensor) ->
        widened.put(name, tensor.dtype().isFloating() ? tensor.rounded(DType.FP32) : tensor));
    Map<String, HostTensor> wide =
        run(backend, device, operation.withDtype(DType.FP32), plan, widened);
    List<String> differences = new ArrayList<>();
    run(backend, device, narrow, plan, inputs)
        .forEach((name, stored) -> {
          HostTensor computed = wide.get(name);
          if (computed == null) {
            differences.add("no " + name + " in fp32");
            return;
          }
          float slack = SLACK * largest(computed);
          for (int i = 0; i < stored.size(); i++) {
            float exact = computed.get(i);
            DType type = stored.dtype();
            if (!(stored.get(i) >= type.round(exact - slack)
                && stored.get(i) <= type.round(exact + slack))) {
              differences.add("%s[%d] is %a, fp32 %a".formatted(name, i, stored.get(i), exact));
            }
          }
        });
    return differences;
  }

  private static float largest(HostTensor tensor) {
    float largest = 0;
    for (int i = 0; i < tensor.size(); i++) {
      largest = Math.max(largest, Math.abs(tensor.get(i)));
    }
    return largest;
  }

  /**
   * Runs a linear layer of one input, {@code y = x + bias}, over all kinds of numbers: subnormal,
   * of like magnitude, so that many sums are ties, so large that sums overflow, infinite and NaN.
   *
   * @return the elements that are not the fp32 sum rounded; empty when all is well
   */
  public static List<String> conversions(
      Backend backend, Device device, DType dtype, String algorithm) {
    LinearProblem sum = new LinearProblem(ROWS, 1, COLUMNS, true, dtype);
    HostTensor x = patterns(Shape.of(ROWS, 1), dtype, 1);
    HostTensor bias = patterns(Shape.of(COLUMNS), dtype, 2);
    HostTensor ones = HostTensor.zeros(Shape.of(1, COLUMNS), dtype).fill(1);
    Plan plan = backend.plan(device, sum, algorithm);
    Map<String, HostTensor> outputs =
        run(backend, device, sum, plan, Map.of("x", x, "weight", ones, "bias", bias));
    HostTensor y = outputs.getOrDefault("y", HostTensor.zeros(Shape.of(1), dtype));
    List<String> differences = new ArrayList<>();
    for (int i = 0; i < ROWS; i++) {
      for (int o = 0; o < COLUMNS; o++) {
        float stored = y.get(i * COLUMNS + o);
        float exact = x.get(i) + bias.get(o);
        // What becomes of fp32's own subnormals, OpenCL leaves to the device. Those of fp16 are
        // none.
        boolean ordinary = isOrdinary(x.get(i)) && isOrdinary(bias.get(o)) && isOrdinary(exact);
        if (ordinary && Float.compare(stored, dtype.round(exact)) != 0) {
          differences.add("%a + %a is %a".formatted(x.get(i), bias.get(o), stored));
        }
      }
    }
    return differences;
  }

  private static boolean isOrdinary(float value) {
    return value == 0 || !(Math.abs(value) < Float.MIN_NORMAL);
  }

  private static HostTensor patterns(Shape shape, DType dtype, long seed) {
    HostTensor tensor = HostTensor.zeros(shape, dtype);
    SplittableRandom random = new SplittableRandom(seed);
    int one = dtype.encode(1);
    int binade = dtype.encode(2) - one;
    for (int i = 0; i < tensor.size(); i++) {
      int pattern =
          switch (i % 5) {
            case 0, 1, 2 -> one + random.nextInt(-4 * binade, 4 * binade);
            case 3 -> dtype.encode(Float.POSITIVE_INFINITY) + random.nextInt(-4, 3);
            default -> random.nextInt(2 * binade);
          };
      tensor.patterns()[i] = (short) (random.nextBoolean() ? pattern : pattern | 0x8000);
    }
    return tensor;
  }

  private static Map<String, HostTensor> run(
      Backend backend,
      Device device,
      Operation operation,
      Plan plan,
      Map<String, HostTensor> inputs) {
    try (Session session = backend.open(device);
        PreparedChain chain =
            PreparedChain.prepare(session, Chain.of(operation), step -> plan, inputs)) {
      chain.poison();
      chain.run();
      return chain.outputs();
    }
  }
}
