package dev.heddle.core;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Test;

class ProvenanceTest {

  /** A member of this class's nest, with a member of its own. */
  private static final class Inner {
    private static final class Innermost {}
  }

  @Test
  void theHashIsOverTheWholeNestSortedByName() throws IOException {
    String whole =
        sha256("ProvenanceTest", "ProvenanceTest$Inner", "ProvenanceTest$Inner$Innermost");
    assertThat(hash(List.of(ProvenanceTest.class))).isEqualTo(whole);
    assertThat(hash(List.of(Inner.Innermost.class))).as("from within").isEqualTo(whole);
    assertThat(hash(List.of(Inner.class, ProvenanceTest.class))).as("once").isEqualTo(whole);
    assertThat(sha256("ProvenanceTest")).isNotEqualTo(whole);
  }

  @Test
  void otherClassesOrAnotherOrderGiveAnotherHash() {
    String one = hash(List.of(DType.class, BandMask.class));
    assertThat(one).isNotEqualTo(hash(List.of(BandMask.class, DType.class)));
    assertThat(one).isNotEqualTo(hash(List.of(DType.class)));
    assertThat(one).isEqualTo(hash(List.of(DType.class, BandMask.class)));
  }

  private static String hash(List<Class<?>> classes) {
    return Provenance.ofClasses(PlantedBackend.DEVICE, Plan.of("low"), classes).sourceHash();
  }

  private static String sha256(String... files) throws IOException {
    MessageDigest digest = Provenance.sha256();
    for (String file : files) {
      try (InputStream code = ProvenanceTest.class.getResourceAsStream(file + ".class")) {
        assertThat(code).as(file).isNotNull();
        digest.update(code.readAllBytes());
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }
}
