package dev.heddle.tornado;

import dev.heddle.core.kernel.KernelCatalog;
import dev.heddle.core.kernel.Tunables;
import dev.heddle.tornado.kernels.AttentionFlash;
import dev.heddle.tornado.kernels.AttentionNaive;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
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
            "attention_flash", AttentionFlash.class));
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

  /** Kernels that work on the same tiles declare the same tunables. */
  private Tunables read(String file) {
    Map<String, Tunables.Tunable> declared = new LinkedHashMap<>();
    Set<Tunables.Constraint> constraints = new LinkedHashSet<>();
    for (KernelMethod kernel : kernels(file)) {
      kernel.tunables().forEach((name, tunable) -> {
        Tunables.Tunable other = declared.putIfAbsent(name, tunable);
        if (other != null && !other.equals(tunable)) {
          throw new IllegalStateException(file + " declares " + name + " in two ways");
        }
      });
      constraints.addAll(kernel.constraints());
    }
    return new Tunables(declared, List.copyOf(constraints));
  }

  private List<KernelMethod> kernels(String file) {
    return Arrays.stream(inFile(file).getDeclaredMethods())
        .filter(method -> Modifier.isPublic(method.getModifiers()))
        .map(method -> KernelMethod.of(method.getName(), method))
        .sorted((a, b) -> a.kernel().compareTo(b.kernel()))
        .toList();
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
