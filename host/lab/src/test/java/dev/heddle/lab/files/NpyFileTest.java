package dev.heddle.lab.files;

import static dev.heddle.lab.files.FileTests.assertRefused;
import static dev.heddle.lab.files.FileTests.assertSame;
import static dev.heddle.lab.files.FileTests.concat;
import static dev.heddle.lab.files.FileTests.littleEndian;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NpyFileTest {
  private static final float[] SIX = {0, 1, 2, 3, 4, 5};
  private static final String DICTIONARY =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 2, 3), }";

  @TempDir Path folder;

  @Test
  void writesWhatNumpyWrites() throws IOException {
    // numpy 2.4.6: numpy.save of numpy.arange(6, dtype='<f4').reshape(1, 1, 2, 3)
    byte[] byNumpy =
        concat(
            new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 0x76, 0},
            ascii(DICTIONARY + " ".repeat(52) + "\n"),
            littleEndian(SIX));
    assertThat(byNumpy).hasSize(152);
    Path file = folder.resolve("a.npy");
    NpyFile.write(file, HostTensor.of(Shape.of(1, 1, 2, 3), SIX));
    assertThat(Files.readAllBytes(file)).isEqualTo(byNumpy);
  }

  @Test
  void writesHalvesAsNumpyDoes() throws IOException {
    // numpy 2.4.6: numpy.save of numpy.array([0, 1, -2, 65504, 6e-8, inf], '<f2').reshape(2, 3)
    byte[] byNumpy =
        concat(
            new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 0x76, 0},
            ascii(
                "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }"
                    + " ".repeat(58)
                    + "\n"),
            new byte[] {0, 0, 0, 0x3c, 0, (byte) 0xc0, -1, 0x7b, 1, 0, 0, 0x7c});
    HostTensor halves =
        HostTensor.of(Shape.of(2, 3), 0, 1, -2, 65504, 6e-8f, Float.POSITIVE_INFINITY)
            .rounded(DType.FP16);
    Path file = folder.resolve("a.npy");
    NpyFile.write(file, halves);
    assertThat(Files.readAllBytes(file)).isEqualTo(byNumpy);
    assertSame(NpyFile.read(file), halves);
  }

  @Test
  void halvesThatAreTruncatedOrTooManyAreRefused() {
    refused(
        DICTIONARY.replace("<f4", "<f2").replace("2, 3", "2, 7"),
        "needs 28 bytes of data, 24 are there");
    refused(DICTIONARY.replace("<f4", "<f2"), "has 12 bytes after the 12 bytes of data that shape");
  }

  /** Header lengths by numpy 2.4.6; the longest is where room for growth needs another line. */
  @ParameterizedTest
  @CsvSource({
    "'5', '(5,)', 118",
    "'1,1,1,1,1,1', '(1, 1, 1, 1, 1, 1)', 118",
    "'1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1',"
        + " '(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)', 182",
  })
  void headersAreAsLongAsNumpys(String dims, String tuple, int length) throws IOException {
    Shape shape = new Shape(Arrays.stream(dims.split(",")).map(Integer::valueOf).toList());
    Path file = folder.resolve("a.npy");
    NpyFile.write(file, HostTensor.zeros(shape, DType.FP32));
    String dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': " + tuple + ", }";
    byte[] start =
        concat(
            new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (byte) length, 0},
            ascii(dictionary + " ".repeat(length - 1 - dictionary.length()) + "\n"));
    assertThat(Files.readAllBytes(file))
        .startsWith(start)
        .hasSize(start.length + 4 * elements(shape));
  }

  @Test
  void readsBackEveryBit() {
    HostTensor tensor = HostTensor.gaussian(Shape.of(3, 5, 7), DType.FP32, 1);
    tensor.set(0, Float.NaN);
    tensor.set(1, Float.NEGATIVE_INFINITY);
    tensor.set(2, -0f);
    tensor.set(3, Float.MIN_VALUE);
    assertSame(written(tensor), tensor);
  }

  @Test
  void readsWhatIsLongerThanOnePiece() {
    HostTensor tensor = HostTensor.gaussian(Shape.of(3, 300_007), DType.FP32, 2);
    assertSame(written(tensor), tensor);
  }

  @ParameterizedTest
  @CsvSource({"1, 2", "2, 4", "3, 4"})
  void readsEveryVersion(int version, int lengthBytes) {
    byte[] dictionary = ascii(DICTIONARY + "   \n");
    byte[] length =
        ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(dictionary.length).array();
    Path file =
        file(
            concat(
                new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', (byte) version, 0},
                Arrays.copyOf(length, lengthBytes),
                dictionary,
                littleEndian(SIX)));
    assertSame(NpyFile.read(file, 4), HostTensor.of(Shape.of(1, 1, 2, 3), SIX));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}",
        "{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(2,3,)}",
        "  { 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2L , 3L ) , }  ",
      })
  void readsEveryWayToWriteTheDictionary(String dictionary) {
    assertSame(NpyFile.read(withHeader(dictionary)), HostTensor.of(Shape.of(2, 3), SIX));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "<f8 | dtype '<f8' (float64); little-endian float32 ('<f4') or float16 ('<f2') is needed",
        ">f2 | dtype '>f2' (big-endian float16)",
        "<V2 | dtype '<V2'; little-endian float32",
        ">f4 | dtype '>f4' (big-endian float32)",
        "<i4 | dtype '<i4' (int32)",
        "<c8 | dtype '<c8' (complex64)",
        "f4 | dtype 'f4' (float32); little-endian",
        "<U7 | dtype '<U7'; little-endian",
      })
  void otherTypesAreNamed(String dtype, String message) {
    refused(DICTIONARY.replace("<f4", dtype), message);
  }

  @Test
  void booleansAndStructuredTypesAreNamed() {
    refused(DICTIONARY.replace("<f4", "|b1"), "dtype '|b1' (bool); little-endian float32");
    refused(DICTIONARY.replace("'<f4'", "[('a', '<f4')]"), "dtype '[('a', '<f4')]'; little-endian");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "(1, 1, 2, 3, 1) | array has shape [1, 1, 2, 3, 1] with 5 dimensions; 4 are needed",
        "(6,) | array has shape [6] with 1 dimensions; 4 are needed",
        "() | array has shape [] with 0 dimensions; 4 are needed",
        "(1, 0, 2, 3) | array has shape [1, 0, 2, 3] with dimension 0; each must be at least 1",
        "(1, -1, 2, 3) | dimension -1; each must be at least 1",
        "(1, 1, 1, 4294967302) | dimension 4294967302; each must be at most 2147483647",
        "(1, 1, 1, 99999999999999999999999) | dimension 99999999999999999999999; each must be at most",
        "(65536, 65536, 65536, 65536) | shape [65536, 65536, 65536, 65536]; one tensor holds at most 2147483639",
        "(2147483647, 2147483647, 2147483647, 4) | one tensor holds at most 2147483639 elements",
        "(1, 1, 2, 4) | is truncated: shape [1, 1, 2, 4] needs 32 bytes of data, 24 are there",
        "(1, 1, 2, 2) | has 8 bytes after the 16 bytes of data that shape [1, 1, 2, 2] needs",
        "(1, 1, 2, 3.0) | its header needs ')' (character",
        "(1, 1, 2, x) | its header needs a whole number (character",
        "[1, 1, 2, 3] | its header needs '(' (character",
      })
  void impossibleShapesAreRefused(String shape, String message) {
    refused(DICTIONARY.replace("(1, 1, 2, 3)", shape), message);
  }

  @Test
  void aNumberWithoutEndIsRefused() {
    refused(
        DICTIONARY.replace("(1, 1, 2, 3)", "(" + "9".repeat(50_000) + ",)"),
        "has a number of 50000 digits");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), } | is in Fortran order; C order is needed",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 3), } | needs True or False",
        "{'descr': '<f4', 'shape': (2, 3), } | its header has no key 'fortran_order'",
        "{'fortran_order': False, 'shape': (2, 3), } | its header has no key 'descr'",
        "{'descr': '<f4', 'fortran_order': False} | its header has no key 'shape'",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } | has the key 'descr' twice",
        "{'descr': '<f4', 'extra': 1, 'fortran_order': False, 'shape': (2, 3), } | has an unknown key 'extra'",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } x | goes on after its closing brace",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3 | its header needs ')'",
        "{'descr': '<f4, } | its header needs a quoted string",
        "{'descr': [('a', } | its header has an open bracket",
        "x | its header needs '{'",
      })
  void malformedDictionariesAreRefused(String dictionary, String message) {
    Path file = withHeader(dictionary);
    assertRefused(file, () -> NpyFile.read(file), message);
  }

  @Test
  void aScalarIsRefusedWhateverTheRank() {
    Path file = withHeader(DICTIONARY.replace("(1, 1, 2, 3)", "()"));
    assertRefused(file, () -> NpyFile.read(file), "shape [], a scalar");
  }

  @Test
  void filesThatAreNotNpyAreRefused() {
    refusedFile(new byte[0], "is empty");
    refusedFile(new byte[] {(byte) 0x93, 'N'}, "has 2 bytes; an .npy header takes at least 10");
    refusedFile(
        ascii("PK\3\4 and what follows"), "begins with 504b03042061, a zip archive such as .npz");
    refusedFile(ascii("0.1 0.2 0.3\n0.4"), "is not an .npy file: it begins with 302e3120302e");
    refusedFile(start(4, 0, 8, 0, 0, 0), ".npy format version 4.0; 1.0, 2.0 and 3.0 are known");
    refusedFile(start(1, 1, 8, 0), ".npy format version 1.1");
    refusedFile(start(0, 0, 8, 0), ".npy format version 0.0");
  }

  @Test
  void lyingHeaderLengthsAreRefused() {
    refusedFile(start(1, 0, 0xff, 0xff), "its header is 65535 bytes long, 0 are there");
    refusedFile(start(2, 0, 0, 0), "is truncated: it ends within the header's length");
    refusedFile(
        start(2, 0, 0xff, 0xff, 0xff, 0xff), "its header is 4294967295 bytes long, 0 are there");
    refusedFile(start(1, 0, 0, 0), "its header needs '{'");
    byte[] long2 = concat(start(2, 0, 1, 0, 1, 0), new byte[65537]);
    refusedFile(long2, "its header is 65537 bytes long; at most 65536 are read");
  }

  @Test
  void whatIsNotAFileIsRefused() throws Exception {
    Path missing = folder.resolve("missing.npy");
    assertRefused(missing, () -> NpyFile.read(missing), "no such file");
    assertRefused(folder, () -> NpyFile.read(folder), "is a directory; a file is needed");
    Path pipe = folder.resolve("pipe");
    Process mkfifo = new ProcessBuilder("mkfifo", pipe.toString()).start();
    assertThat(mkfifo.waitFor(10, TimeUnit.SECONDS)).isTrue();
    assertRefused(pipe, () -> NpyFile.read(pipe), "is a pipe or device; a regular file is needed");
  }

  @Test
  void namesWithLineBreaksStayOnOneLine() {
    Path file = folder.resolve("two\nlines.npy");
    assertThatThrownBy(() -> NpyFile.read(file))
        .isInstanceOf(TensorFileException.class)
        .message()
        .contains("two\\u000alines.npy: no such file")
        .doesNotContain("\n");
  }

  /** A sparse file that really is as large as its header says, and larger than the heap. */
  @Test
  void moreThanTheHeapHoldsIsRefusedBeforeItIsTaken() throws IOException {
    long heap = Runtime.getRuntime().maxMemory();
    long rows = Math.min(heap / 4 + 1, HostTensor.MAX_ELEMENTS);
    Assumptions.assumeTrue(rows * 4 > heap, "the heap is too large for this");
    Path file = withHeader(DICTIONARY.replace("(1, 1, 2, 3)", "(" + rows + ",)"));
    try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
      sparse.setLength(sparse.length() - 24 + rows * 4);
    }
    assertRefused(
        file,
        () -> NpyFile.read(file),
        "array [" + rows + "] needs " + rows * 4 + " bytes; the JVM's heap limit is " + heap);
  }

  @Test
  void damagedFilesAreReadOrRefused() throws IOException {
    Path file = folder.resolve("a.npy");
    NpyFile.write(file, HostTensor.of(Shape.of(1, 1, 2, 3), SIX));
    FileTests.fuzz(file, Files.readAllBytes(file), 80, NpyFile::read);
  }

  @Test
  void bf16IsNotWritten() {
    Path file = folder.resolve("a.npy");
    assertThatThrownBy(() -> NpyFile.write(file, HostTensor.zeros(Shape.of(2), DType.BF16)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(".npy has no bf16; .safetensors has");
    assertThat(FileTests.names(folder)).isEmpty();
  }

  @Test
  void theFirstElementThatIsNotFiniteIsNamed() {
    Path file = folder.resolve("q.npy");
    HostTensor tensor = HostTensor.zeros(Shape.of(2, 3, 4), DType.FP32);
    FiniteValues.require(file, "q", tensor);
    tensor.set(23, Float.NaN);
    assertRefused(
        file, () -> FiniteValues.require(file, "q", tensor), "q[1, 2, 3] is NaN; every element");
    tensor.set(6, Float.NEGATIVE_INFINITY);
    assertRefused(
        file, () -> FiniteValues.require(file, "q", tensor), "q[0, 1, 2] is -Infinity; every");
    tensor.set(6, Float.MAX_VALUE);
    tensor.set(23, -Float.MAX_VALUE);
    FiniteValues.require(file, "q", tensor);
  }

  private void refused(String dictionary, String message) {
    Path file = withHeader(dictionary);
    assertRefused(file, () -> NpyFile.read(file, 4), message);
  }

  private void refusedFile(byte[] bytes, String message) {
    Path file = file(bytes);
    assertRefused(file, () -> NpyFile.read(file), message);
  }

  private HostTensor written(HostTensor tensor) {
    Path file = folder.resolve("round.npy");
    NpyFile.write(file, tensor);
    return NpyFile.read(file, tensor.shape().rank());
  }

  /** Six values after that dictionary, format version 1.0. */
  private Path withHeader(String dictionary) {
    byte[] text = ascii(dictionary + "\n");
    return file(concat(start(1, 0, text.length & 0xff, text.length >> 8), text, littleEndian(SIX)));
  }

  private Path file(byte[] bytes) {
    return FileTests.write(folder, "given.npy", bytes);
  }

  /** The magic string, then those bytes. */
  private static byte[] start(int... bytes) {
    byte[] start = new byte[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      start[i] = (byte) bytes[i];
    }
    return concat(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y'}, start);
  }

  private static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  private static int elements(Shape shape) {
    return (int) shape.elements();
  }
}
