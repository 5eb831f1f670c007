package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.heddle.core.DType;
import dev.heddle.core.kernel.Siblings;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What each shipped kernel takes of a multiprocessor, by the assembler's own account: no register
 * may spill, and the tensor-core kernels keep the occupancy that they are written for.
 */
class ResourceGateTest {
  private static final List<Integer> ARCHITECTURES = List.of(80, 90, 120);

  @TempDir Path folder;

  @BeforeEach
  void anAssemblerIsThere() {
    Ptxas.assume();
  }

  /** One kernel on one architecture. */
  private record Row(
      ShippedPtx.Entry entry,
      PtxKernel kernel,
      Multiprocessor multiprocessor,
      Ptxas.Usage usage,
      int dynamicShared) {

    int blocks() {
      return multiprocessor.resident(kernel.threads(), usage.registers(), shared());
    }

    int shared() {
      return usage.shared() + dynamicShared;
    }

    /** Whether a block's shared memory is there: some variants are for larger devices only. */
    boolean fits() {
      return multiprocessor.blockShared() >= shared();
    }

    /** Registers, resident blocks and occupancy in columns. */
    String figures() {
      String figures = "  sm_%d %3d".formatted(multiprocessor.architecture(), usage.registers());
      return figures
          + (fits() ? " %2d %3.0f%%".formatted(blocks(), 100 * occupancy()) : "  -    -");
    }

    double occupancy() {
      return multiprocessor.occupancy(blocks(), kernel.threads());
    }

    @Override
    public String toString() {
      return "sm_%d %s %s: %d threads, %d registers, %d + %d bytes shared, %d blocks, occupancy %.0f%%"
          .formatted(
              multiprocessor.architecture(),
              kernel.name(),
              choices(entry),
              kernel.threads(),
              usage.registers(),
              usage.shared(),
              dynamicShared,
              blocks(),
              100 * occupancy());
    }
  }

  @Test
  void noShippedKernelSpillsAndTensorCoreKernelsKeepTheirOccupancy() throws Exception {
    ShippedPtx shipped = ShippedPtx.ofThisBuild();
    Assumptions.assumeFalse(shipped.entries().isEmpty(), "this build ships no PTX: no nvcc");
    List<Row> rows = assemble(shipped);
    print(rows);
    assertThat(rows)
        .allSatisfy(row -> assertThat(row.usage.spills()).as(row + " " + row.usage).isFalse())
        .allSatisfy(row -> assertThat(row.blocks() > 0).as(row.toString()).isEqualTo(row.fits()));
    assertThat(rows.stream().filter(Row::fits).map(Row::entry))
        .as("every variant runs somewhere")
        .containsAll(rows.stream().map(Row::entry).toList());
    List<Row> flash = rows.stream().filter(ResourceGateTest::hasOccupancyGoal).toList();
    assertThat(flash.stream().map(ResourceGateTest::goal))
        .as("kernels that the goal is for")
        .containsAll(goals());
    assertThat(flash)
        .allSatisfy(row ->
            assertThat(row.blocks() * row.kernel.threads())
                .as("threads that are resident: " + row)
                .isGreaterThanOrEqualTo(256));
  }

  /** Two blocks of 128 threads, or one of 256: head dimensions 64 and 128 on Ampere and Hopper. */
  private static boolean hasOccupancyGoal(Row row) {
    return row.kernel.name().equals("attention_flash_mma") && goals().contains(goal(row));
  }

  /** Every architecture, head dimension and storage type that the occupancy has a goal for. */
  private static Set<String> goals() {
    Set<String> goals = new HashSet<>();
    for (int architecture : List.of(80, 90)) {
      for (int headDim : List.of(64, 128)) {
        for (DType dtype : List.of(DType.FP16, DType.BF16)) {
          goals.add(goal(architecture, headDim, Siblings.code(dtype)));
        }
      }
    }
    return goals;
  }

  private static String goal(Row row) {
    Map<String, Integer> macros = row.entry.macros();
    return goal(row.multiprocessor.architecture(), macros.get("HEAD_DIM"), macros.get("DTYPE"));
  }

  private static String goal(int architecture, @Nullable Integer headDim, @Nullable Integer dtype) {
    return "sm_%d HEAD_DIM=%s DTYPE=%s".formatted(architecture, headDim, dtype);
  }

  @Test
  void aPlantedSpillIsSeen() throws Exception {
    // So many blocks of 128 threads at once leave 32 registers to each thread, and the kernel holds
    // 64 sums at a time.
    String ptx = manySums().replace(".maxntid 128, 1, 1", ".maxntid 128, 1, 1\n.minnctapersm 16");
    assertThat(ptx).isNotEqualTo(manySums());
    assertThat(Ptxas.assemble(manySums(), 80, folder).get("sums").spills()).isFalse();
    assertThat(Ptxas.assemble(ptx, 80, folder).get("sums").spills()).isTrue();
  }

  @Test
  void aTextThatIsNotPtxIsSeen() {
    assertThatThrownBy(
            () -> Ptxas.assemble(manySums().replace("fma.rn.f32", "fma.rn.f33"), 80, folder))
        .isInstanceOf(AssertionError.class)
        .hasMessageContaining("ptxas fatal");
  }

  /** Sums of products of each of 64 values with one that changes, kept in registers by a loop. */
  private static String manySums() {
    StringBuilder body = new StringBuilder();
    for (int i = 0; i < 64; i++) {
      body.append("ld.global.f32 %f").append(i).append(", [%rd1+").append(4 * i).append("];\n");
    }
    body.append("mov.u32 %r1, 0;\n$L0:\nld.global.f32 %f64, [%rd1+512];\n");
    for (int i = 0; i < 64; i++) {
      String sum = "%f" + i;
      body.append("fma.rn.f32 %s, %s, %%f64, %s;\n".formatted(sum, sum, sum));
    }
    body.append(
        "add.u32 %r1, %r1, 1;\nsetp.lt.u32 %p1, %r1, 99;\nst.global.f32 [%rd1+512], %f0;\n");
    body.append("@%p1 bra $L0;\n");
    for (int i = 0; i < 64; i++) {
      body.append("st.global.f32 [%rd1+").append(4 * i).append("], %f").append(i).append(";\n");
    }
    return """
    .version 7.0
    .target sm_80
    .address_size 64
    .visible .entry sums(
    .param .u64 sums_param_0
    )
    .maxntid 128, 1, 1
    {
    .reg .pred %%p<2>;
    .reg .f32 %%f<65>;
    .reg .b32 %%r<2>;
    .reg .b64 %%rd<2>;
    ld.param.u64 %%rd1, [sums_param_0];
    %s
    ret;
    }
    """
        .formatted(body);
  }

  // ---- assembling

  private List<Row> assemble(ShippedPtx shipped) throws Exception {
    int threads = Runtime.getRuntime().availableProcessors();
    List<Future<List<Row>>> running = new ArrayList<>();
    try (ExecutorService pool = Executors.newFixedThreadPool(threads)) {
      for (ShippedPtx.Entry entry : newest(shipped)) {
        for (int architecture : ARCHITECTURES) {
          running.add(pool.submit(() -> rows(entry, architecture)));
        }
      }
    }
    List<Row> rows = new ArrayList<>();
    for (Future<List<Row>> each : running) {
      rows.addAll(each.get());
    }
    return rows;
  }

  /**
   * Of each variant the text for the newest architecture, which is what these devices are given.
   */
  private static List<ShippedPtx.Entry> newest(ShippedPtx shipped) {
    Map<String, ShippedPtx.Entry> byKey = new TreeMap<>();
    shipped
        .entries()
        .forEach(entry ->
            byKey.merge(
                entry.key(),
                entry,
                (one, other) -> one.architecture() > other.architecture() ? one : other));
    return byKey.values().stream()
        .sorted(
            Comparator.comparing(ShippedPtx.Entry::source)
                .thenComparing(entry -> entry.macros().toString()))
        .toList();
  }

  private List<Row> rows(ShippedPtx.Entry entry, int architecture) throws Exception {
    String text = entry.text();
    Map<String, Ptxas.Usage> usages = Ptxas.assemble(text, architecture, folder);
    List<PtxKernel> kernels = PtxKernel.of(text);
    assertThat(kernels)
        .as(entry.fileName())
        .extracting(PtxKernel::name)
        .containsOnlyOnceElementsOf(usages.keySet());
    return kernels.stream()
        .map(kernel ->
            new Row(
                entry,
                kernel,
                Multiprocessor.of(architecture),
                usages.get(kernel.name()),
                kernel.usesDynamicShared() ? entry.macros().get("SHARED_BYTES") : 0))
        .toList();
  }

  // ---- printing

  private static void print(List<Row> rows) {
    StringBuilder table =
        new StringBuilder(
            "Shipped kernels: threads and shared bytes (static + dynamic) of a block; on each"
                + " architecture registers of a thread, resident blocks, occupancy\n");
    Set<String> printed = new HashSet<>();
    StringBuilder mixes =
        new StringBuilder("Instructions of one pass of the main loop in PTX, all branches:\n");
    for (Row row : rows) {
      String head =
          "%-26s %5d %6d + %-6d"
              .formatted(
                  row.kernel.name(), row.kernel.threads(), row.usage.shared(), row.dynamicShared);
      StringBuilder figures = new StringBuilder(head);
      rows.stream()
          .filter(each -> each.entry.equals(row.entry) && each.kernel.equals(row.kernel))
          .forEach(each -> figures.append(each.figures()));
      // What differs in nothing that is shown here is shown once.
      if (printed.add(figures.toString())) {
        table.append(figures).append("  ").append(choices(row.entry)).append('\n');
      }
      PtxKernel.Mix mix = row.kernel.mainLoop();
      String line =
          "%-26s %4d %s, %4d others %s  %s%n"
              .formatted(
                  row.kernel.name(),
                  mix.products(),
                  mix.kinds().containsKey("mma") ? "mma" : "fma",
                  mix.others(),
                  mix.kinds(),
                  choices(row.entry));
      if (row.kernel.name().contains("flash") || mix.kinds().containsKey("mma")) {
        mixes.append(printed.add(line) ? line : "");
      }
    }
    System.out.print(table.append(mixes));
  }

  /** What tells a file's variants apart. */
  private static String choices(ShippedPtx.Entry entry) {
    StringBuilder choices = new StringBuilder();
    entry
        .macros()
        .forEach((name, value) -> {
          if (!name.endsWith("_BYTES")) {
            choices.append(choices.isEmpty() ? "" : " ").append(name).append('=').append(value);
          }
        });
    return choices.toString();
  }
}
