package dev.heddle.lab.files;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.fail;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;

/** What the tests of both formats share. */
final class FileTests {
  private FileTests() {}

  static byte[] littleEndian(float... values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return bytes.array();
  }

  static byte[] concat(byte[]... parts) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    Arrays.stream(parts).forEach(all::writeBytes);
    return all.toByteArray();
  }

  static Path write(Path folder, String name, byte[] bytes) {
    try {
      return Files.write(folder.resolve(name), bytes);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  /** The declared exception, in one line that begins with the file and contains the parts. */
  static void assertRefused(Path file, ThrowingCallable read, String... parts) {
    assertThatThrownBy(read)
        .isInstanceOf(TensorFileException.class)
        .message()
        .startsWith(file + ": ")
        .contains(parts)
        .doesNotContain("\n");
  }

  static void assertSame(HostTensor got, HostTensor expected) {
    assertThat(got.shape()).isEqualTo(expected.shape());
    assertThat(got.dtype()).isEqualTo(expected.dtype());
    if (expected.dtype() == DType.FP32) {
      assertThat(bits(got)).isEqualTo(bits(expected));
    } else {
      assertThat(got.patterns()).isEqualTo(expected.patterns());
    }
  }

  static List<String> names(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  /**
   * Reads thousands of damaged copies of a valid file: each is either read or refused with the
   * declared exception, in one line.
   *
   * @param header bytes from the start in which most damage is done
   */
  static void fuzz(Path file, byte[] valid, int header, Consumer<Path> read) {
    SplittableRandom random = new SplittableRandom(20);
    int refused = 0;
    int trials = 4000;
    for (int trial = 0; trial < trials; trial++) {
      byte[] damaged = damage(valid, header, random);
      try {
        Files.write(file, damaged);
        read.accept(file);
      } catch (TensorFileException e) {
        refused++;
        assertThat(e.getMessage()).startsWith(file + ": ").doesNotContain("\n", "\r");
      } catch (IOException | RuntimeException | Error e) {
        fail("trial " + trial + ": " + Arrays.toString(damaged), e);
      }
    }
    assertThat(refused).as("damaged files refused").isGreaterThan(trials / 2);
  }

  private static byte[] damage(byte[] valid, int header, SplittableRandom random) {
    byte[] bytes = valid.clone();
    switch (random.nextInt(5)) {
      case 0 -> {
        return Arrays.copyOf(bytes, random.nextInt(bytes.length + 20));
      }
      case 1 -> {
        int at = random.nextInt(header);
        int length = random.nextInt(Math.min(30, bytes.length - at));
        return concat(
            Arrays.copyOf(bytes, at), Arrays.copyOfRange(bytes, at + length, bytes.length));
      }
      case 2 -> {
        // A number grows by a digit.
        int at = random.nextInt(header);
        byte[] digit = {(byte) ('0' + random.nextInt(10))};
        return concat(Arrays.copyOf(bytes, at), digit, Arrays.copyOfRange(bytes, at, bytes.length));
      }
      default -> {
        for (int hits = 1 + random.nextInt(4); hits > 0; hits--) {
          bytes[random.nextInt(header)] = (byte) random.nextInt(256);
        }
        return bytes;
      }
    }
  }

  private static int[] bits(HostTensor tensor) {
    int[] bits = new int[tensor.size()];
    Arrays.setAll(bits, i -> Float.floatToRawIntBits(tensor.get(i)));
    return bits;
  }
}
