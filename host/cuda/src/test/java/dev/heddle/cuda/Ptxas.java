package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;

/** The CUDA toolkit's assembler, which tells what a kernel takes of a multiprocessor. */
final class Ptxas {
  private static final Pattern KERNEL =
      Pattern.compile(
          "Compiling entry function '(\\w+)' for .*?"
              + "(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads.*?"
              + "Used (\\d+) registers([^\n]*)",
          Pattern.DOTALL);
  private static final Pattern SHARED = Pattern.compile("(\\d+) bytes smem");

  private Ptxas() {}

  /**
   * What a kernel takes.
   *
   * @param registers registers of a thread
   * @param shared static shared memory of a block, bytes
   * @param stack local memory of a thread, bytes
   * @param spillStores bytes of registers that are written to local memory
   * @param spillLoads bytes of registers that are read back from there
   */
  record Usage(int registers, int shared, int stack, int spillStores, int spillLoads) {

    /** Whether registers had to be put into memory. */
    boolean spills() {
      return stack > 0 || spillStores > 0 || spillLoads > 0;
    }
  }

  /** Skips the test where the assembler is not on the PATH. */
  static void assume() {
    try {
      new ProcessBuilder("ptxas", "--version").redirectErrorStream(true).start().destroy();
    } catch (IOException e) {
      Assumptions.abort("no ptxas on the PATH: kernels are not assembled, spills not looked for");
    }
  }

  /** Assembles for an architecture; fails the test when the text is refused. */
  static Map<String, Usage> assemble(String ptx, int architecture, Path folder) throws Exception {
    Path file = java.nio.file.Files.createTempFile(folder, "kernel", ".ptx");
    java.nio.file.Files.writeString(file, ptx);
    Process process =
        new ProcessBuilder(
                List.of(
                    "ptxas",
                    "-v",
                    "-arch=sm_" + architecture,
                    file.toString(),
                    "-o",
                    file + ".cubin"))
            .redirectErrorStream(true)
            .start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(output).isZero();
    Map<String, Usage> usages = new TreeMap<>();
    Matcher kernel = KERNEL.matcher(output);
    while (kernel.find()) {
      Matcher shared = SHARED.matcher(kernel.group(6));
      usages.put(
          kernel.group(1),
          new Usage(
              Integer.parseInt(kernel.group(5)),
              shared.find() ? Integer.parseInt(shared.group(1)) : 0,
              Integer.parseInt(kernel.group(2)),
              Integer.parseInt(kernel.group(3)),
              Integer.parseInt(kernel.group(4))));
    }
    return usages;
  }
}
