package dev.heddle.core.kernel;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A struct that kernels take by value, as the header that they include lays it out: members in
 * order, each aligned to its own size.
 *
 * @param name the type's name, such as {@code attention_args}
 * @param fields its members in order
 */
public record ArgumentStruct(String name, List<Field> fields) {

  /** Types that such a struct may hold. */
  public enum Type {
    /** 32-bit integer. */
    INT(4),
    /** 64-bit integer. */
    LONG(8),
    /** 32-bit floating-point number. */
    FLOAT(4);

    private final int bytes;

    Type(int bytes) {
      this.bytes = bytes;
    }
  }

  /**
   * A member.
   *
   * @param name its name
   * @param type its type
   * @param offset its distance from the struct's begin, bytes
   */
  public record Field(String name, Type type, int offset) {}

  private static final Pattern STRUCT =
      Pattern.compile("typedef struct \\{([^}]*)\\}\\s*(\\w+)\\s*;");
  private static final Pattern COMMENT = Pattern.compile("//[^\n]*");
  private static final Pattern MEMBER = Pattern.compile("(\\w+)\\s+(\\w+)");

  /**
   * Finds the struct of that name in a kernel's source.
   *
   * @throws IllegalStateException when a member has a type that the host can't lay out
   */
  public static Optional<ArgumentStruct> find(String name, KernelSource source) {
    return all(source).stream().filter(struct -> struct.name.equals(name)).findFirst();
  }

  /**
   * All structs in a kernel's source.
   *
   * @throws IllegalStateException when a member has a type that the host can't lay out
   */
  public static List<ArgumentStruct> all(KernelSource source) {
    List<ArgumentStruct> structs = new ArrayList<>();
    Matcher struct = STRUCT.matcher(source.text());
    while (struct.find()) {
      structs.add(new ArgumentStruct(struct.group(2), members(struct.group(2), struct.group(1))));
    }
    return List.copyOf(structs);
  }

  /**
   * Size in bytes of each struct that a source declares, under the name of the macro that the
   * header compares it with: {@code ATTENTION_ARGS_BYTES} for {@code attention_args}.
   */
  public static Map<String, Integer> sizes(KernelSource source) {
    Map<String, Integer> sizes = new TreeMap<>();
    for (ArgumentStruct struct : all(source)) {
      sizes.put(struct.name.toUpperCase(Locale.ROOT) + "_BYTES", struct.bytes());
    }
    return sizes;
  }

  private static List<Field> members(String name, String body) {
    List<Field> fields = new ArrayList<>();
    int end = 0;
    for (String declaration : COMMENT.matcher(body).replaceAll("").split(";")) {
      if (declaration.isBlank()) {
        continue;
      }
      Matcher member = MEMBER.matcher(declaration.strip());
      Optional<Type> type =
          member.matches()
              ? Arrays.stream(Type.values())
                  .filter(t -> t.name().toLowerCase(Locale.ROOT).equals(member.group(1)))
                  .findFirst()
              : Optional.empty();
      if (type.isEmpty()) {
        throw new IllegalStateException(
            name + " has a member that the host can't lay out: " + declaration.strip());
      }
      int offset = roundUp(end, type.get().bytes);
      fields.add(new Field(member.group(2), type.get(), offset));
      end = offset + type.get().bytes;
    }
    return List.copyOf(fields);
  }

  /** Size of the struct, bytes. */
  public int bytes() {
    Field last = fields.getLast();
    int alignment = fields.stream().mapToInt(field -> field.type.bytes).max().orElse(1);
    return roundUp(last.offset + last.type.bytes, alignment);
  }

  /** Names of the members, in order. */
  public Set<String> names() {
    return fields.stream().map(Field::name).collect(Collectors.toCollection(LinkedHashSet::new));
  }

  /**
   * The struct with these values, among which there may be those of other structs.
   *
   * @throws IllegalStateException when a member has no value
   */
  public byte[] pack(Map<String, Number> values) {
    if (!values.keySet().containsAll(names())) {
      throw new IllegalStateException(
          name + " has the members " + names() + " but the host has values for " + values.keySet());
    }
    ByteBuffer buffer = ByteBuffer.allocate(bytes()).order(ByteOrder.nativeOrder());
    for (Field field : fields) {
      Number value = values.getOrDefault(field.name, 0);
      switch (field.type) {
        case INT -> buffer.putInt(field.offset, Math.toIntExact(value.longValue()));
        case LONG -> buffer.putLong(field.offset, value.longValue());
        case FLOAT -> buffer.putFloat(field.offset, value.floatValue());
      }
    }
    return buffer.array();
  }

  private static int roundUp(int value, int multiple) {
    return (value + multiple - 1) / multiple * multiple;
  }
}
