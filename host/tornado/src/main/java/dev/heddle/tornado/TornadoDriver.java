package dev.heddle.tornado;

import dev.heddle.core.DeviceException;
import dev.heddle.core.KernelBuildException;
import dev.heddle.core.Refusal;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.core.kernel.Recipe;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.ref.Reference;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;
import uk.ac.manchester.tornado.api.GridScheduler;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.WorkerGrid;
import uk.ac.manchester.tornado.api.WorkerGrid1D;
import uk.ac.manchester.tornado.api.WorkerGrid2D;
import uk.ac.manchester.tornado.api.WorkerGrid3D;
import uk.ac.manchester.tornado.api.common.Access;
import uk.ac.manchester.tornado.api.exceptions.TornadoInternalError;
import uk.ac.manchester.tornado.api.exceptions.TornadoOutOfMemoryException;
import uk.ac.manchester.tornado.api.profiler.ProfilerType;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;
import uk.ac.manchester.tornado.api.types.arrays.TornadoNativeArray;
import uk.ac.manchester.tornado.runtime.TornadoAcceleratorBackend;
import uk.ac.manchester.tornado.runtime.TornadoCoreRuntime;
import uk.ac.manchester.tornado.runtime.common.KernelStackFrame;
import uk.ac.manchester.tornado.runtime.common.TornadoInstalledCode;
import uk.ac.manchester.tornado.runtime.common.TornadoXPUDevice;
import uk.ac.manchester.tornado.runtime.common.XPUDeviceBufferState;
import uk.ac.manchester.tornado.runtime.profiler.TimeProfiler;
import uk.ac.manchester.tornado.runtime.sketcher.SketchRequest;
import uk.ac.manchester.tornado.runtime.tasks.CompilableTask;
import uk.ac.manchester.tornado.runtime.tasks.meta.ScheduleContext;

/**
 * What a backend asks of TornadoVM's runtime for one device. TornadoVM keeps a queue, a frame of
 * arguments and the compiled code by the number of an execution plan: here a backend has one such
 * number for each device, as long as the JVM lives, so that a kernel is compiled once for all of
 * its sessions. Its methods exclude each other.
 */
final class TornadoDriver {
  private static final String SCHEDULE = "heddle";

  /** TornadoVM numbers its own plans from 0. */
  private static final AtomicLong NEXT_PLAN = new AtomicLong(-1);

  private final String name;
  private final TornadoXPUDevice device;
  private final boolean hasClock;
  private final LiveObjects live;
  private final long plan = NEXT_PLAN.getAndDecrement();
  private final TimeProfiler profiler = new TimeProfiler();
  private final Map<Variant, Code> compiled = new HashMap<>();

  /** A kernel and the constants that it is compiled with. */
  private record Variant(KernelMethod kernel, List<Integer> constants) {}

  /**
   * Compiled code.
   *
   * @param kernel the kernel
   * @param constants what it was compiled with, by parameter
   * @param task the task that TornadoVM compiled
   * @param installed the code
   * @param text the code as text
   * @param compileNs how long TornadoVM and the driver took to make it, ns
   */
  record Code(
      KernelMethod kernel,
      List<Integer> constants,
      CompilableTask task,
      TornadoInstalledCode installed,
      String text,
      long compileNs) {}

  /** The runtime of that device. */
  TornadoDriver(TornadoTarget target, LiveObjects live) {
    this.name = target.device().name();
    this.device = target.tornado();
    this.hasClock = !target.device().emulated();
    this.live = live;
    called(
        "ensureLoaded",
        () -> {
          device.ensureLoaded(plan);
          return device;
        });
  }

  // ---- memory

  /**
   * Reserves device memory as large as an array.
   *
   * @throws UnsupportedProblemException where there is no such memory left
   */
  synchronized XPUDeviceBufferState allocate(TornadoNativeArray array) {
    XPUDeviceBufferState buffer = new XPUDeviceBufferState();
    called("allocate", () -> device.allocate(array, 0, buffer, Access.READ_WRITE));
    live.created(LiveObjects.Kind.BUFFER);
    // A driver's refusal is only printed by TornadoVM, and the address is then none.
    long address = buffer.getXPUBuffer().toBuffer();
    if (address == 0 || address == -1) {
      release(buffer);
      throw new UnsupportedProblemException(
          new Refusal(
              "deviceMemory",
              "%s could not allocate %d bytes"
                  .formatted(name, array.getNumBytesOfSegmentWithHeader())));
    }
    return buffer;
  }

  /** Copies a whole array to the device and waits. */
  synchronized void upload(TornadoNativeArray array, XPUDeviceBufferState buffer) {
    called(
        "streamIn",
        () -> {
          device.streamIn(plan, array, 0, 0, buffer, null);
          device.sync(plan);
          return buffer;
        });
    // TornadoVM holds the address alone.
    Reference.reachabilityFence(array);
  }

  /**
   * Copies a part of a device buffer into the same part of an array and waits.
   *
   * @param offset first byte, the array's header counted
   * @param bytes how many
   */
  synchronized void download(
      TornadoNativeArray array, XPUDeviceBufferState buffer, long offset, long bytes) {
    called(
        "streamOutBlocking",
        () -> {
          buffer.setPartialCopySize(bytes);
          return device.streamOutBlocking(plan, array, offset, buffer, null);
        });
    Reference.reachabilityFence(array);
  }

  /** Frees device memory. */
  synchronized void release(XPUDeviceBufferState buffer) {
    live.released(LiveObjects.Kind.BUFFER);
    called("deallocate", () -> device.deallocate(buffer));
  }

  // ---- code

  /**
   * Compiles a kernel, or finds it compiled.
   *
   * @throws KernelBuildException when TornadoVM or the device's driver can't
   */
  synchronized Code compile(KernelMethod kernel, List<Integer> constants) {
    Variant variant = new Variant(kernel, constants);
    Code code = compiled.get(variant);
    if (code == null) {
      // One at a time for all devices: TornadoVM's compiler has state that they share, and so has
      // the process, whose standard error is read meanwhile.
      synchronized (TornadoDriver.class) {
        code = build(kernel, constants);
      }
      compiled.put(variant, code);
    }
    return code;
  }

  /** How many kernels were compiled so far. */
  synchronized int compilations() {
    return compiled.size();
  }

  private Code build(KernelMethod kernel, List<Integer> constants) {
    ScheduleContext schedule = new ScheduleContext(SCHEDULE);
    schedule.setDevice(device);
    // Arrays only tell their type: TornadoVM compiles in nothing of them.
    FloatArray floats = new FloatArray(1);
    ShortArray shorts = new ShortArray(1);
    List<Object> arguments =
        kernel.<Object>bind(
            new KernelContext(),
            tensor -> tensor.bits() ? shorts : floats,
            new IntArray(1),
            constants,
            value -> value);
    CompilableTask task =
        new CompilableTask(
            schedule,
            kernel.kernel() + "_" + compiled.size(),
            kernel.method(),
            arguments.toArray());
    task.setDevice(device);
    task.attachProfiler(profiler);
    task.meta().attachProfiler(profiler);
    // That the launch has a grid of its own; which, each launch says.
    schedule(task, grid(List.of(1L, 1L, 1L), List.of()));
    ByteArrayOutputStream log = new ByteArrayOutputStream();
    String source = kernel.method().toGenericString();
    long start = System.nanoTime();
    try {
      TornadoInstalledCode installed =
          printingTo(log, () -> NativeOutput.silenced(() -> install(task)));
      if (!installed.isValid()) {
        throw new KernelBuildException(kernel.kernel(), text(log, "the code is not valid"), source);
      }
      return new Code(
          kernel, constants, task, installed, text(installed), System.nanoTime() - start);
    } catch (KernelBuildException e) {
      throw e;
    } catch (RuntimeException | Error e) {
      KernelBuildException failure =
          new KernelBuildException(kernel.kernel(), text(log, essence(e)), source);
      failure.initCause(e);
      throw failure;
    }
  }

  private TornadoInstalledCode install(CompilableTask task) {
    TornadoCoreRuntime runtime = TornadoCoreRuntime.getTornadoRuntime();
    TornadoAcceleratorBackend backend = runtime.getBackend(device.getBackendIndex());
    new SketchRequest(
            runtime.resolveMethod(task.getMethod()),
            backend.getProviders(),
            backend.getSuitesProvider().getGraphBuilderSuite(),
            backend.getSuitesProvider().getSketchTier(),
            task.meta().getBackendIndex(),
            task.meta().getDeviceIndex())
        .run();
    device.enableThreadSharing();
    return device.installCode(plan, task);
  }

  /** TornadoVM prints the compiler's log to standard error and throws it away. */
  private static <T> T printingTo(ByteArrayOutputStream log, Supplier<T> step) {
    PrintStream before = System.err;
    System.setErr(new PrintStream(log, true, StandardCharsets.UTF_8));
    try {
      return step.get();
    } finally {
      System.setErr(before);
    }
  }

  private static String text(ByteArrayOutputStream log, String otherwise) {
    String printed = log.toString(StandardCharsets.UTF_8).strip();
    return printed.isEmpty() ? otherwise : printed;
  }

  /** Each of TornadoVM's backends has this method, but no type that they share. */
  private static String text(TornadoInstalledCode installed) {
    try {
      return (String) installed.getClass().getMethod("getGeneratedSourceCode").invoke(installed);
    } catch (NoSuchMethodException | IllegalAccessException | InvocationTargetException e) {
      throw new IllegalStateException(
          "TornadoVM shows no code in " + installed.getClass().getSimpleName(), e);
    }
  }

  // ---- launch

  /**
   * The work-items of a launch.
   *
   * @param global along each axis
   * @param local of a group along each axis; none where the driver may choose
   * @throws IllegalStateException when a group's size does not divide the work-items: TornadoVM
   *     takes that without a word, and computes garbage
   */
  static WorkerGrid grid(List<Long> global, List<Long> local) {
    for (int axis = 0; axis < local.size(); axis++) {
      if (local.get(axis) < 1 || global.get(axis) % local.get(axis) != 0) {
        throw new IllegalStateException(
            "local size %s does not divide global size %s".formatted(local, global));
      }
    }
    long[] sizes = global.stream().mapToLong(Long::longValue).toArray();
    WorkerGrid grid =
        switch (sizes.length) {
          case 1 -> new WorkerGrid1D(Math.toIntExact(sizes[0]));
          case 2 -> new WorkerGrid2D(Math.toIntExact(sizes[0]), Math.toIntExact(sizes[1]));
          default ->
              new WorkerGrid3D(
                  Math.toIntExact(sizes[0]), Math.toIntExact(sizes[1]), Math.toIntExact(sizes[2]));
        };
    if (!local.isEmpty()) {
      long[] each = local.stream().mapToLong(Long::longValue).toArray();
      grid.setLocalWork(each[0], axis(each, 1), axis(each, 2));
    }
    return grid;
  }

  private static long axis(long[] sizes, int axis) {
    return axis < sizes.length ? sizes[axis] : 1;
  }

  private static void schedule(CompilableTask task, WorkerGrid grid) {
    task.setUseGridScheduler(true);
    task.setGridScheduler(new GridScheduler(task.getId(), grid));
  }

  /**
   * Runs a kernel and waits for it.
   *
   * @param buffers the device buffer of each tensor, by name
   * @param args the buffer of the arguments
   * @return time inside the kernel by the device's clock, ns
   * @throws DeviceException when the kernel did not run: TornadoVM only prints that, and says that
   *     it took no time
   */
  synchronized long launch(
      Code code,
      Recipe.Launch launch,
      Map<String, XPUDeviceBufferState> buffers,
      XPUDeviceBufferState args) {
    long[] global = launch.globalSize();
    schedule(
        code.task,
        grid(
            Arrays.stream(global).boxed().toList(),
            launch.local().stream().map(Integer::longValue).toList()));
    long ns =
        called(
            code.kernel.kernel(),
            () -> {
              device.enableThreadSharing();
              KernelStackFrame frame =
                  device.createKernelStackFrame(plan, code.kernel.parameters().size(), Access.NONE);
              frame.reset();
              HashMap<Integer, Integer> threads = new HashMap<>();
              for (int axis = 0; axis < global.length; axis++) {
                threads.put(axis, Math.toIntExact(global[axis]));
              }
              frame.setKernelContext(threads);
              bind(code, frame, buffers, args);
              profiler.clean();
              code.installed.launchWithoutDependencies(plan, frame, null, code.task.meta(), 0);
              device.sync(plan);
              return profiler.getTaskTimer(ProfilerType.TASK_KERNEL_TIME, code.task.getId());
            });
    if (ns <= 0 && hasClock) {
      throw new DeviceException(name, code.kernel.kernel(), "the kernel did not run");
    }
    return ns;
  }

  /** What a parameter is given, and whether that is an address. */
  private record Given(Object value, boolean reference) {}

  private static void bind(
      Code code,
      KernelStackFrame frame,
      Map<String, XPUDeviceBufferState> buffers,
      XPUDeviceBufferState args) {
    List<Given> given =
        code.kernel.bind(
            new Given(new KernelStackFrame.KernelContextArgument(), false),
            // A tensor that the operation lacks is never looked at: any address will do.
            tensor -> address(buffers.getOrDefault(tensor.name(), args)),
            address(args),
            code.constants,
            value -> new Given(value, false));
    given.forEach(argument -> frame.addCallArgument(argument.value, argument.reference));
  }

  private static Given address(XPUDeviceBufferState buffer) {
    return new Given(buffer.getXPUBuffer().toBuffer(), true);
  }

  // ---- errors

  private <T> T called(String call, Supplier<T> step) {
    try {
      return step.get();
    } catch (TornadoOutOfMemoryException e) {
      throw new UnsupportedProblemException(new Refusal("deviceMemory", essence(e)));
    } catch (RuntimeException | LinkageError | AssertionError | TornadoInternalError e) {
      DeviceException failure = new DeviceException(name, call, essence(e));
      failure.initCause(e);
      throw failure;
    }
  }

  /** What a throwable says, in one line without colours. */
  static String essence(Throwable thrown) {
    String message = thrown.getMessage();
    return message == null || message.isBlank()
        ? thrown.getClass().getSimpleName()
        : message.replaceAll("\u001B\\[[0-9;]*m", "").lines().findFirst().orElse(message).strip();
  }
}
