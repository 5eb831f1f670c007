package dev.heddle.lab;

import java.util.LinkedHashMap;
import java.util.Map;

/** The machine and the JVM that results were made on. */
final class Host {
  private Host() {}

  /** What a reader of a report needs to know of them, by name. */
  static Map<String, String> facts() {
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("os", property("os.name") + " " + property("os.version"));
    facts.put("architecture", property("os.arch"));
    facts.put("processors", Integer.toString(Runtime.getRuntime().availableProcessors()));
    facts.put("java", Runtime.version().toString());
    facts.put("javaVm", property("java.vm.name") + ", " + property("java.vm.vendor"));
    facts.put("heapBytes", Long.toString(Runtime.getRuntime().maxMemory()));
    return facts;
  }

  private static String property(String name) {
    return System.getProperty(name, "unknown");
  }
}
