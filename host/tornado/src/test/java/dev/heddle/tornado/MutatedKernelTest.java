package dev.heddle.tornado;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.LinearProblem;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Probe;
import dev.heddle.reference.KernelTrial;
import dev.heddle.reference.Verdict;
import dev.heddle.tornado.kernels.AttentionFlash;
import dev.heddle.tornado.kernels.AttentionStaged;
import dev.heddle.tornado.kernels.LinearTiled;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.ClassTransform;
import java.lang.classfile.CodeTransform;
import java.lang.classfile.MethodModel;
import java.lang.classfile.instruction.InvokeInstruction;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Barriers are needed: without one of them the verdict is a failure. PoCL runs the work-items of a
 * group one after the other from barrier to barrier, so that a missing one shows in every run; but
 * around the body of a loop that holds a barrier it puts barriers of its own, and so one at the end
 * of such a loop is not missed there: those are left out here.
 */
class MutatedKernelTest {
  /**
   * Ragged, several tiles of keys, rows that see a part of a tile. Logits of some hundreds: what is
   * subtracted in place of a row's maximum falls out of the quotient unless exp overflows.
   */
  private static final AttentionProblem ATTENTION =
      AttentionProblem.of(new AttentionShape(1, 2, 1, 83, 101, 40, 24))
          .withScale(20)
          .withMask(new BandMask(60, 7, BandMask.Alignment.BOTTOM_RIGHT));

  private static final LinearProblem LINEAR = new LinearProblem(70, 50, 90, true, DType.FP32);

  /**
   * A kernel class and what to run it on.
   *
   * @param atLoopEnds its barriers at the end of loops, counted in the order of its code
   */
  private record Subject(
      Class<?> type, Operation operation, String kernel, Set<Integer> atLoopEnds) {}

  @TestFactory
  Stream<DynamicTest> barriersAreNeeded() {
    return Stream.of(
            new Subject(AttentionFlash.class, ATTENTION, "attention_flash", Set.of(3)),
            new Subject(AttentionStaged.class, ATTENTION, "attention_staged", Set.of(1, 3, 6, 8)),
            new Subject(LinearTiled.class, LINEAR, "linear_tiled", Set.of(1)))
        .flatMap(MutatedKernelTest::withoutEachBarrier);
  }

  private static Stream<DynamicTest> withoutEachBarrier(Subject subject) {
    KernelTrial trial = KernelTrial.of(subject.operation);
    int barriers = barriers(subject.type);
    List<DynamicTest> tests = new ArrayList<>();
    tests.add(
        DynamicTest.dynamicTest(
            subject.kernel + " as it is",
            () -> {
              assertThat(barriers).isPositive();
              assertThat(verdict(subject, subject.type, trial)).isInstanceOf(Verdict.Pass.class);
            }));
    for (int i = 0; i < barriers; i++) {
      int left = i;
      if (subject.atLoopEnds.contains(i)) {
        continue;
      }
      tests.add(
          DynamicTest.dynamicTest(
              subject.kernel + " without barrier " + i,
              () ->
                  assertThat(verdict(subject, without(subject.type, left), trial))
                      .isInstanceOf(Verdict.Fail.class)));
    }
    return tests.stream();
  }

  private static Verdict verdict(Subject subject, Class<?> type, KernelTrial trial) {
    TornadoBackend backend = new TornadoBackend(new JavaKernels(Map.of(subject.kernel, type)));
    Device device =
        switch (backend.probe()) {
          case Probe.Available available -> available.devices().getFirst();
          case Probe.Unavailable missing -> Assumptions.abort(missing.reason());
        };
    Assumptions.assumeTrue(device.kind() == Device.Kind.CPU, "a GPU may hide a missing barrier");
    String algorithm = subject.kernel.substring(subject.kernel.indexOf('_') + 1);
    return trial.verdict(backend, device, Plan.of(algorithm));
  }

  // ---- barriers

  private static int barriers(Class<?> type) {
    return (int)
        ClassFile.of().parse(code(type)).methods().stream()
            .flatMap(method -> method.code().stream())
            .flatMap(code -> code.elementStream())
            .filter(MutatedKernelTest::isBarrier)
            .count();
  }

  private static boolean isBarrier(Object element) {
    return element instanceof InvokeInstruction call
        && call.name().stringValue().equals("localBarrier");
  }

  /** The class without one of its barriers, counted in the order of its code. */
  private static Class<?> without(Class<?> type, int left) {
    AtomicInteger seen = new AtomicInteger();
    ClassModel model = ClassFile.of().parse(code(type));
    byte[] changed =
        ClassFile.of()
            .transformClass(
                model,
                ClassTransform.transformingMethodBodies(
                    (MethodModel method) -> method.code().isPresent(),
                    CodeTransform.ofStateful(() ->
                        (builder, element) -> {
                          if (isBarrier(element) && seen.getAndIncrement() == left) {
                            builder.pop();
                          } else {
                            builder.with(element);
                          }
                        })));
    assertThat(seen.get()).as("barriers seen").isEqualTo(barriers(type));
    return new Kernels(type, changed).load();
  }

  /** Loads the kernels anew, all of them so that they see each other, and one of them changed. */
  private static final class Kernels extends ClassLoader {
    private final Class<?> type;
    private final byte[] changed;

    Kernels(Class<?> type, byte[] changed) {
      super(type.getClassLoader());
      this.type = type;
      this.changed = changed;
    }

    Class<?> load() {
      try {
        return loadClass(type.getName());
      } catch (ClassNotFoundException e) {
        throw new IllegalStateException(e);
      }
    }

    @Override
    protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
      Class<?> original = super.loadClass(name, resolve);
      // The host asks for the annotations that it knows.
      if (!original.getPackageName().equals(type.getPackageName()) || original.isAnnotation()) {
        return original;
      }
      Class<?> loaded = findLoadedClass(name);
      if (loaded != null) {
        return loaded;
      }
      byte[] code = original == type ? changed : code(original);
      return defineClass(name, code, 0, code.length);
    }
  }

  private static byte[] code(Class<?> type) {
    try (InputStream stream = type.getResourceAsStream(type.getSimpleName() + ".class")) {
      return Objects.requireNonNull(stream).readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
