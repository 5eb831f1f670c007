package dev.heddle.core;

import java.util.List;

/** What a backend found on this machine. */
public sealed interface Probe {

  /**
   * At least one device can be used.
   *
   * @param devices the devices, by index
   * @param notes remarks worth showing, such as a platform that has no device
   */
  record Available(List<Device> devices, List<String> notes) implements Probe {
    /** Freezes the lists. */
    public Available {
      devices = List.copyOf(devices);
      notes = List.copyOf(notes);
    }
  }

  /**
   * Nothing can be used.
   *
   * @param reason what is missing, one sentence
   * @param remedy what to do about it, one sentence
   */
  record Unavailable(String reason, String remedy) implements Probe {}
}
