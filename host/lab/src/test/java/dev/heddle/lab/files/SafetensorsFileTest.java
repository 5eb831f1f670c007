package dev.heddle.lab.files;

import static dev.heddle.lab.files.FileTests.assertRefused;
import static dev.heddle.lab.files.FileTests.assertSame;
import static dev.heddle.lab.files.FileTests.concat;
import static dev.heddle.lab.files.FileTests.littleEndian;
import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SafetensorsFileTest {
  private static final float[] SIX = {0, 1, 2, 3, 4, 5};
  private static final HostTensor OUT = HostTensor.of(Shape.of(1, 1, 2, 3), SIX);
  private static final HostTensor LSE =
      HostTensor.of(Shape.of(1, 1, 2), 1.5f, Float.NEGATIVE_INFINITY);

  @TempDir Path folder;

  @Test
  void writesWhatTheReferenceImplementationWrites() throws IOException {
    // safetensors.numpy.save({'out': ..., 'lse': ...}) of the Python package
    byte[] byPython =
        concat(
            new byte[] {(byte) 0x80, 0, 0, 0, 0, 0, 0, 0},
            utf8(
                "{\"lse\":{\"dtype\":\"F32\",\"shape\":[1,1,2],\"data_offsets\":[0,8]},"
                    + "\"out\":{\"dtype\":\"F32\",\"shape\":[1,1,2,3],\"data_offsets\":[8,32]}}"
                    + "      "),
            littleEndian(1.5f, Float.NEGATIVE_INFINITY),
            littleEndian(SIX));
    Path file = folder.resolve("a.safetensors");
    SafetensorsFile.write(file, Map.of("out", OUT, "lse", LSE));
    assertThat(Files.readAllBytes(file)).isEqualTo(byPython);
  }

  /** Metadata, a scalar, an empty tensor, a type that Heddle has not: none is asked for. */
  @Test
  void readsWhatTheReferenceImplementationWrites() {
    // safetensors.numpy.save({'h': fp16, 'out': fp32, 'z': zeros(0, 3), 's': 3, 'b': bool[3]})
    Path file =
        file(
            "{\"out\":{\"dtype\":\"F32\",\"shape\":[1,1,2,3],\"data_offsets\":[0,24]},"
                + "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[24,28]},"
                + "\"z\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[28,28]},"
                + "\"h\":{\"dtype\":\"F16\",\"shape\":[1,1,2,3],\"data_offsets\":[28,40]},"
                + "\"b\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[40,43]}}     ",
            concat(
                littleEndian(SIX),
                littleEndian(3),
                new byte[] {0, 0, 0, 0x3c, 0, 0x40, 0, 0x42, 0, 0x44, 0, 0x45, 0, 0, 0}));
    Map<String, HostTensor> read = SafetensorsFile.read(file, List.of("h", "out"), 4);
    assertThat(read.keySet()).containsExactly("h", "out");
    assertSame(read.get("out"), OUT);
    HostTensor halves = HostTensor.zeros(Shape.of(1, 1, 2, 3), DType.FP16);
    for (int i = 0; i < SIX.length; i++) {
      halves.set(i, SIX[i]);
    }
    assertSame(read.get("h"), halves);
    assertRefused(file, () -> SafetensorsFile.read(file, List.of("s")), "shape [], a scalar");
    assertRefused(
        file,
        () -> SafetensorsFile.read(file, List.of("z")),
        "tensor 'z' has shape [0, 3] with dimension 0; each must be at least 1");
    assertRefused(
        file,
        () -> SafetensorsFile.read(file, List.of("b")),
        "tensor 'b' is BOOL; F32, F16 or BF16 is needed");
  }

  @Test
  void metadataIsSkipped() {
    Path file =
        file(
            "{\"__metadata__\":{\"format\":\"np\"},"
                + "\"out\":{\"dtype\":\"F32\",\"shape\":[1,1,2,3],\"data_offsets\":[0,24]}}",
            littleEndian(SIX));
    assertSame(SafetensorsFile.read(file, List.of("out")).get("out"), OUT);
    assertRefused(
        file,
        () -> SafetensorsFile.read(file, List.of("__metadata__")),
        "has no tensor '__metadata__'; it has out");
  }

  @Test
  void readsBackEveryTypeAndName() {
    Map<String, HostTensor> tensors =
        Map.of(
            "a", HostTensor.gaussian(Shape.of(3), DType.BF16, 1),
            "b \"quoted\"\n", HostTensor.gaussian(Shape.of(2, 5), DType.FP32, 2),
            "c", HostTensor.gaussian(Shape.of(700_001), DType.FP16, 3),
            "\u00e9\ud83e\uddf5", HostTensor.gaussian(Shape.of(300_001), DType.FP32, 4));
    Path file = folder.resolve("a.safetensors");
    SafetensorsFile.write(file, tensors);
    Map<String, HostTensor> read = SafetensorsFile.read(file, tensors.keySet());
    assertThat(read.keySet()).isEqualTo(tensors.keySet());
    tensors.forEach((name, tensor) -> assertSame(read.get(name), tensor));
  }

  @Test
  void aMissingTensorIsNamedWithWhatThereIs() {
    Path file = folder.resolve("a.safetensors");
    SafetensorsFile.write(file, Map.of("out", OUT, "lse", LSE));
    assertRefused(
        file,
        () -> SafetensorsFile.read(file, List.of("out", "q")),
        "has no tensor 'q'; it has lse, out");
    SafetensorsFile.write(file, Map.of());
    assertRefused(
        file, () -> SafetensorsFile.read(file, List.of("q")), "has no tensor 'q'; it has none");
    SafetensorsFile.write(
        file, IntStream.range(10, 40).boxed().collect(Collectors.toMap(i -> "t" + i, i -> LSE)));
    assertRefused(
        file, () -> SafetensorsFile.read(file, List.of("q")), "t10, t11", "t21 and 18 more");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "'F64', [1,1,2,3], [0,24] | tensor 'q' is F64; F32, F16 or BF16 is needed",
        "'F32', [1,1,2,4], [0,24] | shape [1, 1, 2, 4] and type F32 needs 32 bytes; its data_offsets span 24",
        "'F16', [1,1,2,3], [0,24] | type F16 needs 12 bytes; its data_offsets span 24",
        "'F32', [1,2,3], [0,24] | tensor 'q' has shape [1, 2, 3] with 3 dimensions; 4 are needed",
        "'F32', [1,1,-2,-3], [0,24] | dimension -2; each must be at least 1",
        "'F32', [1,1,2,4294967299], [0,24] | dimension 4294967299; each must be at most 2147483647",
        "'F32', [1,1,1,1e300], [0,24] | has \"shape\" with ",
        "'F32', [1,1,2,'3'], [0,24] | has \"shape\" with \"3\"; whole numbers are needed",
        "'F32', [65536,65536,65536,65536], [0,24] | one tensor holds at most 2147483639 elements",
        "'F32', [1,1,2,3], [0,28] | has data_offsets [0, 28]; they must ascend within the 24 bytes of data",
        "'F32', [1,1,2,3], [-24,24] | has data_offsets [-24, 24]; they must ascend",
        "'F32', [1,1,2,3], [24,0] | has data_offsets [24, 0]; they must ascend",
        "'F32', [1,1,2,3], [0,18446744073709551640] | has data_offsets [0, 18446744073709551640]; they",
        "'F32', [1,1,2,3], [0] | has 1 \"data_offsets\"; 2 are needed",
        "'F32', [1,1,2,3], {} | tensor 'q' needs an array \"data_offsets\"",
        "'F32', 6, [0,24] | tensor 'q' needs an array \"shape\"",
        "32, [1,1,2,3], [0,24] | tensor 'q' needs a string \"dtype\"",
        "'F32', [1,1,2,2], [8,24] | bytes 0 to 8 of the data belong to no tensor",
        "'F32', [1,1,2,2], [0,16] | has 8 bytes after the last tensor",
      })
  void impossibleEntriesAreRefused(String entry, String message) {
    String[] fields = entry.split(", ");
    String json =
        "{'q':{'dtype':"
            + fields[0]
            + ",'shape':"
            + fields[1]
            + ",'data_offsets':"
            + fields[2]
            + "}}";
    refused(json.replace('\'', '"'), message);
  }

  @Test
  void overlapsAreRefusedWhicheverTensorIsAskedFor() {
    refused(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[10],\"data_offsets\":[0,10]},"
            + "\"q\":{\"dtype\":\"F32\",\"shape\":[1,1,2,2],\"data_offsets\":[8,24]}}",
        "tensor 'q' begins at byte 8 of the data, within another tensor");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"q\":{ | its header is not valid JSON: ",
        "{\"q\":1}{} | its header is not valid JSON: ",
        "{\"q\":1,\"q\":2} | its header is not valid JSON: Duplicate field 'q'",
        "[1,2] | its header is JSON but not an object",
        "{\"q\":7} | tensor 'q' needs a string \"dtype\"",
        "null | its header is JSON but not an object",
      })
  void malformedHeadersAreRefused(String json, String message) {
    refused(json, message);
  }

  @Test
  void deepAndEmptyHeadersAreRefused() {
    refused("", "its header is JSON but not an object");
    refused("{\"q\":" + "[".repeat(100_000), "its header is not valid JSON: ");
    refused("{\"q\":" + "9".repeat(100_000) + "}", "its header is not valid JSON: ");
  }

  @Test
  void textThatIsNotUtf8IsRefused() {
    byte[] latin1 = "{\"\u00e9\":1}".getBytes(StandardCharsets.ISO_8859_1);
    Path file = write(concat(length(latin1.length), latin1));
    assertRefused(file, () -> SafetensorsFile.read(file, List.of("q")), "its header is not UTF-8");
  }

  @Test
  void lyingHeaderLengthsAreRefused() {
    refusedFile(new byte[0], "is empty");
    refusedFile(new byte[] {1, 2, 3}, "has 3 bytes; a .safetensors file begins with a length of 8");
    refusedFile(concat(length(100), new byte[99]), "its header is 100 bytes long, 99 are there");
    refusedFile(length(-1), "its header is 18446744073709551615 bytes long, 0 are there");
    refusedFile(length(1L << 40), "its header is 1099511627776 bytes long, 0 are there");
    int most = 1 << 23;
    refusedFile(
        concat(length(most + 1L), new byte[most + 1]),
        "its header is 8388609 bytes long; at most 8388608 are read");
  }

  @Test
  void whatIsNotAFileIsRefused() {
    Path missing = folder.resolve("missing");
    assertRefused(missing, () -> SafetensorsFile.read(missing, List.of("q")), "no such file");
    assertRefused(folder, () -> SafetensorsFile.read(folder, List.of("q")), "is a directory");
  }

  @Test
  void theNameOfTheMetadataIsNotATensors() {
    Path file = folder.resolve("a.safetensors");
    assertRefused(
        file,
        () -> SafetensorsFile.write(file, Map.of("__metadata__", LSE)),
        "a tensor can't be named __metadata__");
    assertThat(FileTests.names(folder)).isEmpty();
  }

  @Test
  void damagedFilesAreReadOrRefused() throws IOException {
    Path file = folder.resolve("a.safetensors");
    SafetensorsFile.write(file, Map.of("out", OUT, "lse", LSE));
    byte[] valid = Files.readAllBytes(file);
    FileTests.fuzz(
        file, valid, 130, damaged -> SafetensorsFile.read(damaged, List.of("out", "lse")));
  }

  private void refused(String json, String message) {
    Path file = file(json, littleEndian(SIX));
    assertRefused(file, () -> SafetensorsFile.read(file, List.of("q"), 4), message);
  }

  private void refusedFile(byte[] bytes, String message) {
    Path file = write(bytes);
    assertRefused(file, () -> SafetensorsFile.read(file, List.of("q")), message);
  }

  private Path file(String json, byte[] data) {
    byte[] header = utf8(json);
    return write(concat(length(header.length), header, data));
  }

  private Path write(byte[] bytes) {
    return FileTests.write(folder, "given.safetensors", bytes);
  }

  private static byte[] length(long length) {
    return ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(length).array();
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
