package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Against what NVIDIA's occupancy calculator gives. */
class MultiprocessorTest {
  @ParameterizedTest
  @CsvSource({
    // architecture, threads, registers, shared bytes of a block, resident blocks; what limits them
    "80, 128,  32,     0, 16", // warps
    "80,  32,  16,     0, 32", // blocks
    "80, 128, 128,     0,  4", // registers
    "80, 128, 255,     0,  2", // registers, handed out by 256 to a warp
    "80, 128, 168,     0,  3", // registers
    "80,  96, 168,     0,  4", // registers, 12 warps of 3
    "80, 128,  32, 49152,  3", // shared memory
    "80, 128,  32, 81920,  2", // shared memory, with 1 KiB of the system's for each block
    "80, 128,  32, 82944,  2",
    "80, 128,  32, 82945,  1",
    "90, 128,  32, 82945,  2",
    "90, 256, 255,     0,  1",
    "120, 128, 32,     0, 12",
    "120,  32, 16,     0, 24",
    "120, 128, 32, 50177,  1"
  })
  void residentBlocks(int architecture, int threads, int registers, int shared, int blocks) {
    assertThat(Multiprocessor.of(architecture).resident(threads, registers, shared))
        .isEqualTo(blocks);
  }

  @ParameterizedTest
  @CsvSource({"80, 4, 128, 0.25", "120, 12, 128, 1.0"})
  void occupancyIsTheShareOfResidentWarps(
      int architecture, int blocks, int threads, double occupancy) {
    assertThat(Multiprocessor.of(architecture).occupancy(blocks, threads)).isEqualTo(occupancy);
  }
}
