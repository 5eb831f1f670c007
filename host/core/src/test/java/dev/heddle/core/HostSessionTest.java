package dev.heddle.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Sessions in JVM memory, and chains on them. */
class HostSessionTest {
  private static final LinearProblem LINEAR = new LinearProblem(2, 3, 4, true, DType.FP32);
  private static final Function<Operation, Plan> LOW = operation -> Plan.of("low");

  private final PlantedBackend backend = new PlantedBackend();

  @Test
  void aWriteRightBesideATensorIsNoticed() {
    for (String tensor : List.of("x", "weight", "bias", "y")) {
      for (boolean before : new boolean[] {true, false}) {
        for (float value : new float[] {0, Float.NaN, 1e30f}) {
          backend.body =
              tensors -> {
                HostSession.Span span = tensors.get(tensor);
                int at = before ? span.offset() - 1 : span.offset() + span.length();
                span.array()[at] = value;
              };
          try (Session session = backend.open(PlantedBackend.DEVICE);
              PreparedChain chain = prepare(session)) {
            assertThat(chain.brokenGuards()).isEmpty();
            chain.run();
            assertThat(chain.brokenGuards()).containsExactly(tensor);
          }
        }
      }
    }
  }

  @Test
  void aWriteAtTheFarEndOfTheBandIsNoticed() {
    for (boolean before : new boolean[] {true, false}) {
      backend.body =
          tensors -> {
            float[] array = tensors.get("y").array();
            array[before ? 0 : array.length - 1] = 1;
          };
      try (Session session = backend.open(PlantedBackend.DEVICE);
          PreparedChain chain = prepare(session)) {
        chain.run();
        assertThat(chain.brokenGuards()).containsExactly("y");
      }
    }
  }

  @Test
  void fillingATensorToItsEdgesIsAllowed() {
    backend.body =
        tensors -> {
          HostSession.Span y = tensors.get("y");
          Arrays.fill(y.array(), y.offset(), y.offset() + y.length(), 3);
        };
    try (Session session = backend.open(PlantedBackend.DEVICE);
        PreparedChain chain = prepare(session)) {
      chain.run();
      assertThat(chain.brokenGuards()).isEmpty();
      assertThat(chain.outputs().get("y").toDoubles()).containsOnly(3).hasSize(8);
    }
  }

  @Test
  void poisonFillsEveryElementThatIsWrittenAndNoInput() {
    backend.body = tensors -> {};
    List<String> whole = new ArrayList<>(List.of("x", "weight", "bias", "y"));
    Chain all = new Chain("all", LINEAR.inputs(), Chain.of(LINEAR).steps(), whole);
    Map<String, HostTensor> inputs = inputs();
    try (Session session = backend.open(PlantedBackend.DEVICE);
        PreparedChain chain = PreparedChain.prepare(session, all, LOW, inputs)) {
      chain.poison();
      chain.run();
      Map<String, HostTensor> read = chain.outputs();
      for (double value : read.get("y").toDoubles()) {
        assertThat(value).isNaN();
      }
      inputs.forEach(
          (name, given) -> assertThat(read.get(name).floats()).as(name).isEqualTo(given.floats()));
      assertThat(chain.brokenGuards()).as("poison stays inside").isEmpty();
    }
  }

  @Test
  void whatFailsHalfwayLeavesNothingOpen() {
    Map<String, HostTensor> incomplete = inputs();
    incomplete.remove("bias");
    failsClean(incomplete, LOW, IllegalArgumentException.class, "no tensor given for 'bias'");
    Map<String, HostTensor> wrongSize = inputs();
    wrongSize.put("bias", HostTensor.zeros(Shape.of(5), DType.FP32));
    failsClean(wrongSize, LOW, IllegalArgumentException.class, "can't write fp32 [5] to fp32 [4]");
    Map<String, HostTensor> wrongType = inputs();
    wrongType.put("bias", HostTensor.zeros(Shape.of(4), DType.FP16));
    failsClean(wrongType, LOW, IllegalArgumentException.class, "can't write fp16 [4] to fp32 [4]");
    failsClean(
        inputs(),
        operation -> {
          throw new KernelBuildException("planned.cl", "error: planned", "source");
        },
        KernelBuildException.class,
        "planned.cl did not compile: error: planned");
    backend.refused.add("low");
    failsClean(inputs(), LOW, UnsupportedProblemException.class, "planned: low is refused");
  }

  @Test
  void aSecondStepThatFailsClosesTheFirst() {
    LinearProblem second = new LinearProblem(2, 4, 4, false, DType.FP32);
    List<TensorSpec> given = new ArrayList<>(LINEAR.inputs());
    given.add(new TensorSpec("w2", Shape.of(4, 4), DType.FP32));
    Chain chain =
        new Chain(
            "two",
            given,
            List.of(
                Chain.of(LINEAR).steps().getFirst(),
                new Chain.Step(second, Map.of("x", "y", "weight", "w2"), Map.of("y", "z"))),
            List.of("z"));
    Map<String, HostTensor> inputs = inputs();
    inputs.put("w2", HostTensor.zeros(Shape.of(4, 4), DType.FP32));
    backend.refused.add("high");
    try (Session session = backend.open(PlantedBackend.DEVICE)) {
      assertThatThrownBy(() ->
              PreparedChain.prepare(
                  session,
                  chain,
                  operation -> Plan.of(operation.equals(second) ? "high" : "low"),
                  inputs))
          .isInstanceOf(UnsupportedProblemException.class);
      assertThat(backend.events).containsExactly("compile linear", "close linear");
      assertThat(session.liveResources()).isZero();
    }
  }

  @Test
  void closingTheSessionClosesWhatItHandedOutOnce() {
    Session session = backend.open(PlantedBackend.DEVICE);
    PreparedChain chain = prepare(session);
    assertThat(session.liveResources()).as("four tensors and a kernel").isEqualTo(5);
    assertThat(chain.scratchBytes()).isEqualTo(40);
    session.close();
    assertThat(session.liveResources()).isZero();
    chain.close();
    session.close();
    assertThat(backend.events).containsExactly("compile linear", "close linear");
    assertThatThrownBy(chain::outputs).isInstanceOf(IllegalStateException.class);
  }

  /** A kernel whose closing fails keeps no tensor open, nor the session, nor what failed first. */
  @Test
  void whatFailsToCloseKeepsNothingElseOpen() {
    backend.closingFails = true;
    Session session = backend.open(PlantedBackend.DEVICE);
    PreparedChain twice = prepare(session);
    prepare(session);
    assertThat(session.liveResources()).isEqualTo(10);
    assertThatThrownBy(twice::close)
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("linear does not close");
    assertThat(session.liveResources()).isEqualTo(5);
    assertThatThrownBy(session::close).hasMessage("linear does not close");
    assertThat(session.liveResources()).isZero();
    assertThat(backend.events).endsWith("close linear", "release");
    assertThatThrownBy(() -> session.allocate(Shape.of(3), DType.FP32))
        .hasMessage("the session is closed");
  }

  @Test
  void everyStepOfClosingIsTakenAndTheFirstFailureTold() {
    List<String> taken = new ArrayList<>();
    List<Runnable> steps =
        List.of(() -> fail(taken, "first"), () -> fail(taken, "second"), () -> taken.add("third"));
    assertThatThrownBy(() -> Closing.all(steps))
        .hasMessage("first")
        .satisfies(e -> assertThat(e.getSuppressed()).extracting("message").containsOnly("second"));
    assertThat(taken).containsExactly("first", "second", "third");
    RuntimeException cause = new IllegalArgumentException("cause");
    Closing.after(cause, steps);
    assertThat(cause.getSuppressed()).extracting("message").containsExactly("first", "second");
  }

  private static void fail(List<String> taken, String step) {
    taken.add(step);
    throw new IllegalStateException(step);
  }

  @Test
  void aClosedTensorCanNotBeRead() {
    try (Session session = backend.open(PlantedBackend.DEVICE)) {
      DeviceTensor tensor = session.allocate(Shape.of(3), DType.FP32);
      tensor.close();
      assertThatThrownBy(tensor::read)
          .isInstanceOf(IllegalStateException.class)
          .hasMessage("the tensor is closed");
      assertThatThrownBy(tensor::poison).isInstanceOf(IllegalStateException.class);
      assertThatThrownBy(tensor::guardsIntact).isInstanceOf(IllegalStateException.class);
    }
  }

  /** Its memory may be another tensor's by then. */
  @Test
  void nothingRunsOnATensorThatIsClosed() {
    List<String> ran = new ArrayList<>();
    backend.body = tensors -> ran.add("run");
    for (TensorSpec closed : LINEAR.tensors()) {
      try (Session session = backend.open(PlantedBackend.DEVICE)) {
        Map<String, DeviceTensor> tensors = new HashMap<>();
        for (TensorSpec spec : LINEAR.tensors()) {
          tensors.put(spec.name(), session.allocate(spec.shape(), spec.dtype()));
        }
        Prepared prepared = session.prepare(LINEAR, Plan.of("low"), tensors);
        session.run(List.of(prepared));
        tensors.get(closed.name()).close();
        assertThatThrownBy(() -> session.run(List.of(prepared)))
            .isInstanceOf(IllegalStateException.class)
            .hasMessage(
                "linear can't run: its tensor '%s' %s is closed", closed.name(), closed.shape());
        prepared.close();
      }
    }
    assertThat(ran).as("once before each closing").hasSize(LINEAR.tensors().size());
  }

  /** 16-bit tensors hold what their type can store, bit for bit, and are never taken for others. */
  @ParameterizedTest
  @EnumSource(names = {"FP16", "BF16"})
  void aSessionThatTakesATypeStoresIt(DType dtype) {
    backend.dtypes.add(dtype);
    LinearProblem problem = LINEAR.withDtype(dtype);
    HostTensor every = HostTensor.zeros(Shape.of(1 << 16), dtype);
    for (int i = 0; i < every.size(); i++) {
      every.patterns()[i] = (short) i;
    }
    try (Session session = backend.open(PlantedBackend.DEVICE)) {
      DeviceTensor tensor = session.allocate(every.shape(), dtype);
      assertThat(tensor.dtype()).isEqualTo(dtype);
      tensor.write(every);
      assertThat(tensor.read().dtype()).isEqualTo(dtype);
      assertThat(tensor.read().toDoubles()).isEqualTo(every.toDoubles());
      tensor.poison();
      assertThat(tensor.read().get(7)).isNaN();
      assertThat(tensor.guardsIntact()).isTrue();
      Map<String, DeviceTensor> tensors = new HashMap<>();
      for (TensorSpec spec : problem.tensors()) {
        tensors.put(spec.name(), session.allocate(spec.shape(), dtype));
      }
      session.prepare(problem, Plan.of("low"), tensors).close();
      assertThatThrownBy(() -> session.prepare(LINEAR, Plan.of("low"), tensors))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("linear wants fp32 x [2, 3], not " + dtype.label() + " [2, 3]");
    }
  }

  @Test
  void whatDoesNotFitIsRefusedByName() {
    try (Session session = backend.open(PlantedBackend.DEVICE)) {
      assertThatThrownBy(() -> session.allocate(Shape.of(3), DType.BF16))
          .isInstanceOf(UnsupportedProblemException.class)
          .hasMessage("dtype: bf16 is not supported; fp32 is");
      assertThatThrownBy(() -> session.allocate(Shape.of(1 << 16, 1 << 15), DType.FP32))
          .isInstanceOf(UnsupportedProblemException.class)
          .hasMessageContaining("arrayLength: a tensor [65536, 32768] has 2147483648 elements");
    }
    refusal(
        "algorithm",
        "planted:0 has no linear_flash; for linear it has low, middle, high",
        LINEAR,
        "flash");
    refusal(
        "dtype",
        "fp16 is not supported; fp32 is",
        new LinearProblem(2, 3, 4, true, DType.FP16),
        "low");
    refusal(
        "arrayLength",
        "x [65536, 32768] has 2147483648 elements",
        new LinearProblem(1 << 16, 1 << 15, 1, true, DType.FP32),
        "low");
    // x 2^18 + weight 2^9 + y 2^9 elements of 4 bytes, on a device of 2^20 bytes.
    refusal(
        "deviceMemory",
        "linear needs " + 4 * ((1 << 18) + 512 + 512) + " bytes; the JVM's heap limit is 1048576",
        new LinearProblem(512, 512, 1, false, DType.FP32),
        "low");
  }

  private void refusal(String limit, String reason, Operation operation, String algorithm) {
    Refusal refusal =
        backend.refusal(PlantedBackend.DEVICE, operation, Plan.of(algorithm)).orElseThrow();
    assertThat(refusal.limit()).isEqualTo(limit);
    assertThat(refusal.reason()).startsWith(reason);
  }

  private void failsClean(
      Map<String, HostTensor> inputs,
      Function<Operation, Plan> planner,
      Class<? extends Exception> type,
      String message) {
    try (Session session = backend.open(PlantedBackend.DEVICE)) {
      assertThatThrownBy(() -> PreparedChain.prepare(session, Chain.of(LINEAR), planner, inputs))
          .isInstanceOf(type)
          .hasMessage(message);
      assertThat(session.liveResources()).isZero();
    }
  }

  private static PreparedChain prepare(Session session) {
    return PreparedChain.prepare(session, Chain.of(LINEAR), LOW, inputs());
  }

  private static Map<String, HostTensor> inputs() {
    Map<String, HostTensor> inputs = new HashMap<>();
    for (TensorSpec spec : LINEAR.inputs()) {
      inputs.put(spec.name(), HostTensor.gaussian(spec.shape(), spec.dtype(), 3));
    }
    return inputs;
  }
}
