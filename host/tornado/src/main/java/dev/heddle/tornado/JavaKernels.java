package dev.heddle.tornado;

import dev.heddle.core.kernel.KernelCatalog;
import dev.heddle.core.kernel.Tunables;
import dev.heddle.tornado.kernels.AttentionFlash;
import dev.heddle.tornado.kernels.AttentionNaive;
import dev.heddle.tornado.kernels.AttentionStaged;
import dev.heddle.tornado.kernels.HeadsTranspose;
import dev.heddle.tornado.kernels.LinearNaive;
import dev.heddle.tornado.kernels.LinearTiled;
import dev.heddle.tornado.kernels.Refused;
import dev.heddle.tornado.kernels.Tunable;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The kernels written in Java. The kernel {@code attention_flash} is the method {@code
 * attentionFlash}; its file is the class in which it stands.
 */
final class JavaKernels implements KernelCatalog {
  private final Map<String, Class<?>> classes = new LinkedHashMap<>();
  private final Map<String, KernelMethod> methods = new ConcurrentHashMap<>();
  private final Map<String, Tunables> tunables = new ConcurrentHashMap<>();

  /** All kernels of this module. */
  JavaKernels() {
    this(
        Map.of(
            "attention_naive", AttentionNaive.class,
            "attention_staged", AttentionStaged.class,
            "attention_flash", AttentionFlash.class,
            "linear_naive", LinearNaive.class,
            "linear_tiled", LinearTiled.class,
            "heads_transpose", HeadsTranspose.class));
  }

  /** Kernels of other classes, by the name of what each computes. */
  JavaKernels(Map<String, Class<?>> classes) {
    this.classes.putAll(classes);
  }

  @Override
  public String name(String kernel) {
    return classOf(kernel).getSimpleName() + ".java";
  }

  /** The path of a kernel's file in Heddle's sources. */
  String path(String file) {
    return "host/tornado/src/main/java/dev/heddle/tornado/kernels/" + file;
  }

  /** The class that a file holds. */
  Class<?> inFile(String file) {
    return classes.values().stream()
        .filter(type -> file.equals(type.getSimpleName() + ".java"))
        .findFirst()
        .orElseThrow(() -> new IllegalStateException("no kernel file " + file));
  }

  @Override
  public Tunables tunables(String file) {
    return tunables.computeIfAbsent(file, this::read);
  }

  private Tunables read(String file) {
    Class<?> type = inFile(file);
    Map<String, Tunables.Tunable> declared = new LinkedHashMap<>();
    for (Tunable tunable : type.getAnnotationsByType(Tunable.class)) {
      declared.put(
          tunable.name(),
          new Tunables.Tunable(
              tunable.name(),
              tunable.value(),
              Arrays.stream(tunable.among()).boxed().toList(),
              tunable.meaning()));
    }
    List<Tunables.Constraint> constraints =
        Arrays.stream(type.getAnnotationsByType(Refused.class))
            .map(refused -> new Tunables.Constraint(refused.when(), refused.because()))
            .toList();
    return new Tunables(declared, constraints);
  }

  /**
   * One of a file's kernels.
   *
   * @throws IllegalStateException when the file has no such kernel
   */
  KernelMethod kernel(String file, String name) {
    return methods.computeIfAbsent(file + ":" + name, key -> find(file, name));
  }

  private KernelMethod find(String file, String name) {
    String camel = camel(name);
    Method method =
        Arrays.stream(inFile(file).getDeclaredMethods())
            .filter(candidate -> candidate.getName().equals(camel))
            .findFirst()
            .orElseThrow(() -> new IllegalStateException(file + " has no kernel " + name));
    return KernelMethod.of(name, method);
  }

  private Class<?> classOf(String kernel) {
    Class<?> type = classes.get(kernel);
    if (type == null) {
      throw new IllegalStateException("no kernel " + kernel + " among " + classes.keySet());
    }
    return type;
  }

  /** {@code attention_flash} as {@code attentionFlash}. */
  private static String camel(String snake) {
    StringBuilder camel = new StringBuilder();
    for (String word : snake.split("_", -1)) {
      camel.append(
          camel.isEmpty() ? word : Character.toUpperCase(word.charAt(0)) + word.substring(1));
    }
    return camel.toString();
  }
}
