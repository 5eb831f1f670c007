package dev.heddle.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import jcuda.nvptxcompiler.JNvPTXCompiler;
import jcuda.nvptxcompiler.nvPTXCompileResult;
import jcuda.nvptxcompiler.nvPTXCompilerHandle;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** The PTX in this build. */
class ShippedPtxTest {
  private static final Pattern FILE = Pattern.compile("\\.file\\s+\\d+ \"([^\"]*)\"");

  private static ShippedPtx shipped;

  @BeforeAll
  static void somethingIsShipped() {
    shipped = ShippedPtx.ofThisBuild();
    Assumptions.assumeFalse(shipped.entries().isEmpty(), "this build ships no PTX: no nvcc");
  }

  @Test
  void everyVariantThatIsPlannedByDefaultIsShipped() {
    assertThat(ShippedKernels.variants())
        .isNotEmpty()
        .allSatisfy(variant ->
            assertThat(shipped.find(variant, 80))
                .as(variant.file() + " " + variant.macros())
                .isPresent());
  }

  @Test
  void filesWithoutTensorCoreInstructionsAreShippedForOlderDevicesToo() {
    Set<String> older = new TreeSet<>();
    Set<String> newer = new TreeSet<>();
    shipped
        .entries()
        .forEach(entry -> (entry.architecture() < 80 ? older : newer).add(entry.source()));
    assertThat(older).contains("attention_naive.cu", "attention_staged.cu", "attention_flash.cu");
    assertThat(newer).contains("attention_flash.cu");
    for (ShippedPtx.Entry entry : shipped.entries()) {
      if (entry.architecture() < 80) {
        assertThat(entry.text())
            .as(entry.fileName())
            .doesNotContain("mma.sync", "cp.async", "ldmatrix");
      }
    }
  }

  @Test
  void everyTextIsForOldDriversAndNamesNoFolderOfTheMachineThatMadeIt() {
    for (ShippedPtx.Entry entry : shipped.entries()) {
      String text = entry.text();
      assertThat(text)
          .as(entry.fileName())
          .contains(".version 7.0\n.target sm_" + entry.architecture() + "\n")
          .doesNotContain("function_name");
      List<String> files =
          FILE.matcher(text).results().map((MatchResult match) -> match.group(1)).toList();
      assertThat(files)
          .as(entry.fileName())
          .contains(entry.source())
          .allSatisfy(name -> assertThat(name).doesNotContain("/", "\\"));
    }
  }

  /** The compiler in JCuda's natives is that of CUDA 12.0, older than any nvcc 13. */
  @Test
  @EnabledOnOs(value = OS.LINUX, architectures = "amd64")
  void thePtxCompilerInsideJCudaAcceptsEveryText(@TempDir Path folder) {
    String temporary = System.getProperty("java.io.tmpdir");
    try {
      System.setProperty("java.io.tmpdir", folder.toString());
      int[] major = new int[1];
      JNvPTXCompiler.nvPTXCompilerGetVersion(major, new int[1]);
      assertThat(major[0]).isEqualTo(12);
    } finally {
      System.setProperty("java.io.tmpdir", temporary);
    }
    for (ShippedPtx.Entry entry : shipped.entries()) {
      assertThat(log(entry.text(), entry.architecture())).as(entry.fileName()).isEmpty();
    }
    ShippedPtx.Entry first = shipped.entries().getFirst();
    assertThat(log(first.text().replace("ret;", "return;"), first.architecture()))
        .as("what is no PTX")
        .contains("error");
  }

  /** What the compiler has against a text; empty when it accepts it. */
  private static String log(String ptx, int architecture) {
    byte[] bytes = (ptx + "\0").getBytes(StandardCharsets.UTF_8);
    nvPTXCompilerHandle handle = new nvPTXCompilerHandle();
    assertThat(JNvPTXCompiler.nvPTXCompilerCreate(handle, bytes.length, bytes))
        .isEqualTo(nvPTXCompileResult.NVPTXCOMPILE_SUCCESS);
    try {
      // Whether a text is accepted does not depend on how well it is optimised.
      String[] options = {"--gpu-name=sm_" + architecture, "--opt-level=0"};
      int code = JNvPTXCompiler.nvPTXCompilerCompile(handle, options.length, options);
      if (code == nvPTXCompileResult.NVPTXCOMPILE_SUCCESS) {
        return "";
      }
      long[] size = new long[1];
      JNvPTXCompiler.nvPTXCompilerGetErrorLogSize(handle, size);
      byte[] log = new byte[Math.toIntExact(size[0]) + 1];
      JNvPTXCompiler.nvPTXCompilerGetErrorLog(handle, log);
      return nvPTXCompileResult.stringFor(code) + "\n" + CudaDriver.text(log);
    } finally {
      JNvPTXCompiler.nvPTXCompilerDestroy(handle);
    }
  }
}
