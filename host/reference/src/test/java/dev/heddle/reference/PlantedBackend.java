package dev.heddle.reference;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.Backend;
import dev.heddle.core.DType;
import dev.heddle.core.Device;
import dev.heddle.core.DeviceException;
import dev.heddle.core.DeviceTensor;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Operation;
import dev.heddle.core.Plan;
import dev.heddle.core.Prepared;
import dev.heddle.core.Probe;
import dev.heddle.core.Refusal;
import dev.heddle.core.Session;
import dev.heddle.core.Shape;
import dev.heddle.core.Timing;
import dev.heddle.core.Transfers;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The reference backend under another name with a fault planted in it, to test what is told of
 * faults. Each fault is a device of its own.
 */
public final class PlantedBackend implements Backend {

  /** What is wrong with a device. */
  public enum Fault {
    /** Nothing. */
    NONE,
    /** The first element of what an operation writes is off by a thousandth and a little. */
    WRONG_VALUE,
    /** The last element of what an operation writes is NaN. */
    NAN,
    /** Nothing is written. */
    NOT_WRITTEN,
    /** Correct at first; NaN once it has run a few times, as code compiled late might be. */
    WRONG_WHEN_WARM,
    /** Throws what no driver should. */
    BREAKS,
    /** The driver fails when it runs. */
    THROWS,
    /** Everything is refused. */
    REFUSES,
    /** Runs take 20 ms longer. */
    SLOW,
    /** Correct and quick, but an emulator. */
    EMULATED,
    /** Correct to the end, but its sessions do not close. */
    STAYS_OPEN,
    /**
     * Attention's {@code naive} kernel kills the device: its run fails, and in that session all
     * that follows, closing it too. {@code flash} is sound.
     */
    DIES
  }

  private final ReferenceBackend oracle = new ReferenceBackend();
  private final String id;
  private final List<Fault> faults;
  private final AtomicInteger opened = new AtomicInteger();

  /** Every fault, under the id {@code planted}. */
  public PlantedBackend() {
    this("planted", Fault.values());
  }

  /** A device for each of the faults. */
  public PlantedBackend(String id, Fault... faults) {
    this.id = id;
    this.faults = List.of(faults);
  }

  @Override
  public String id() {
    return id;
  }

  @Override
  public Probe probe() {
    Probe.Available found = (Probe.Available) oracle.probe();
    Device.Limits limits = found.devices().getFirst().limits();
    List<Device> devices = new ArrayList<>();
    for (Fault fault : faults) {
      devices.add(
          new Device(
              id,
              devices.size(),
              "fault " + fault,
              "none",
              Device.Kind.CPU,
              fault == Fault.EMULATED,
              limits));
    }
    return new Probe.Available(devices, List.of());
  }

  @Override
  public List<String> algorithms(Device device, Operation operation) {
    return dies(device, operation) ? List.of("naive", "flash") : List.of("naive");
  }

  @Override
  public Optional<Refusal> refusal(Device device, Operation operation, Plan plan) {
    return fault(device) == Fault.REFUSES
        ? Optional.of(new Refusal("planted", "this device refuses everything"))
        : Optional.empty();
  }

  @Override
  public Session open(Device device) {
    opened.incrementAndGet();
    return new PlantedSession(
        oracle.open(((Probe.Available) oracle.probe()).devices().getFirst()), fault(device));
  }

  /** How many sessions were opened, on all devices. */
  public int opened() {
    return opened.get();
  }

  private boolean dies(Device device, Operation operation) {
    return fault(device) == Fault.DIES && operation instanceof AttentionProblem;
  }

  private Fault fault(Device device) {
    return faults.get(device.index());
  }

  private record PlantedSession(
      Session session,
      Fault fault,
      Map<Prepared, List<DeviceTensor>> written,
      AtomicInteger runs,
      AtomicBoolean dead)
      implements Session {

    PlantedSession(Session session, Fault fault) {
      this(session, fault, new HashMap<>(), new AtomicInteger(), new AtomicBoolean());
    }

    private void requireAlive(String call) {
      if (dead.get()) {
        throw new DeviceException("planted", call, "PLANTED_CONTEXT_LOST");
      }
    }

    @Override
    public Device device() {
      return session.device();
    }

    @Override
    public DeviceTensor allocate(Shape shape, DType dtype) {
      requireAlive("plantedAllocate");
      return session.allocate(shape, dtype);
    }

    @Override
    public Prepared prepare(Operation operation, Plan plan, Map<String, DeviceTensor> tensors) {
      requireAlive("plantedPrepare");
      Prepared prepared = session.prepare(operation, plan, tensors);
      written.put(
          prepared, operation.outputs().stream().map(spec -> tensors.get(spec.name())).toList());
      return prepared;
    }

    @Override
    public Timing run(List<Prepared> operations) {
      if (fault == Fault.DIES && operations.stream().anyMatch(PlantedSession::kills)) {
        dead.set(true);
        throw new DeviceException("planted", "plantedLaunch", "PLANTED_ILLEGAL_ADDRESS");
      }
      requireAlive("plantedLaunch");
      if (fault == Fault.THROWS) {
        throw new DeviceException("planted", "plantedLaunch", "PLANTED_FAULT");
      }
      if (fault == Fault.BREAKS) {
        throw new ArrayIndexOutOfBoundsException("planted");
      }
      if (fault == Fault.SLOW) {
        long until = System.nanoTime() + 20_000_000;
        while (System.nanoTime() < until) {
          Thread.onSpinWait();
        }
        Timing timing = session.run(operations);
        return new Timing(timing.hostNs() + 20_000_000, timing.deviceNs());
      }
      if (fault == Fault.NOT_WRITTEN) {
        return session.run(List.of());
      }
      Timing timing = session.run(operations);
      for (Prepared operation : operations) {
        for (DeviceTensor tensor : written.getOrDefault(operation, List.of())) {
          if (fault == Fault.WRONG_VALUE) {
            HostTensor values = tensor.read();
            values.set(0, values.get(0) * 1.001f + 1e-3f);
            tensor.write(values);
          } else if (fault == Fault.NAN
              || (fault == Fault.WRONG_WHEN_WARM && runs.incrementAndGet() > 4)) {
            HostTensor values = tensor.read();
            values.set(values.size() - 1, Float.NaN);
            tensor.write(values);
          }
        }
      }
      return timing;
    }

    @Override
    public Transfers transfers() {
      return session.transfers();
    }

    @Override
    public int liveResources() {
      return session.liveResources();
    }

    @Override
    public void close() {
      session.close();
      requireAlive("plantedClose");
      if (fault == Fault.STAYS_OPEN) {
        throw new DeviceException("planted", "plantedClose", "PLANTED_LEAK");
      }
    }

    private static boolean kills(Prepared prepared) {
      return prepared.operation() instanceof AttentionProblem
          && prepared.provenance().plan().algorithm().equals("naive");
    }
  }
}
