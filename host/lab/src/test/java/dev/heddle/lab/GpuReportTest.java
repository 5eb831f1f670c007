package dev.heddle.lab;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GpuReportTest {
  @TempDir private Path folder;

  private void piece(String name, String text) throws IOException {
    Files.writeString(folder.resolve(name), text);
  }

  @Test
  void speedsAndRatiosFollowFromTheSamples() throws IOException {
    piece("001.command", "compare --shape 1,1,1,8,8,8,8\n");
    piece(
        "001.json",
        """
        {"flops": 2e6, "conventionalFlops": 4e6,
         "results": [{"verdict": "pass", "medianNs": 900, "deviceMedianNs": 200, "peakGflops": 20e3,
           "rounds": [{"hostNs": [900, 900, 900], "deviceNs": [190, 200, 210]},
                      {"hostNs": [900, 900, 900], "deviceNs": [180, 200, 220]}]}],
         "peer": {"implementations": [
           {"name": "flash", "error": null, "rounds": [[300, 310, 320], [300, 290, 300]]},
           {"name": "cudnn", "error": "none", "rounds": []}]}}
        """);
    ObjectNode report = GpuReport.of(folder);
    JsonNode problem = report.get("problems").get(0);
    JsonNode own = problem.get("heddle");
    assertThat(own.get("clock").asText()).isEqualTo("device");
    assertThat(own.get("medianNs").asLong()).isEqualTo(200);
    assertThat(own.get("tflops").asDouble()).isEqualTo(10);
    assertThat(own.get("conventionalTflops").asDouble()).isEqualTo(20);
    assertThat(own.get("ofFp32FmaPeak").asDouble()).isEqualTo(0.5);
    assertThat(own.get("roundMediansNs").toString()).isEqualTo("[200,200]");
    JsonNode flash = problem.get("peers").get(0);
    assertThat(flash.get("medianNs").asLong()).isEqualTo(300);
    assertThat(flash.get("heddleIsFasterBy").asDouble()).isEqualTo(1.5);
    JsonNode cudnn = problem.get("peers").get(1);
    assertThat(cudnn.get("error").asText()).isEqualTo("none");
    assertThat(cudnn.has("tflops")).isFalse();
    assertThat(problem.get("conditions").isEmpty()).as("nobody asked").isTrue();
    assertThat(GpuReport.passed(report)).isTrue();
    assertThat(GpuReport.failed(report)).isFalse();
    assertThat(new ObjectMapper().readTree(GpuReport.write(report)).get("format").asInt()).isOne();
  }

  @Test
  void conditionsAreThoseOfTheBusyCard() throws IOException {
    piece("001.command", "compare");
    piece("001.json", "{\"results\": [{\"verdict\": \"pass\"}]}");
    piece(
        "001.conditions",
        """
        utilization.gpu,clocks.sm,power.draw,fan.speed,clocks_throttle_reasons.active
        0, 345, 70.10, [N/A], 0x0000000000000001
        97, 1980, 690.25, [N/A], 0x0000000000000004
        Unable to determine the device handle
        98, 1755, 699.50, [N/A], 0x0000000000000020
        100, 1740, 700.75, [N/A], 0x0000000000000004
        0, 345, 90.00, [N/A], 0x0000000000000001
        99, 17\
        """);
    JsonNode conditions = GpuReport.of(folder).get("problems").get(0).get("conditions");
    assertThat(conditions.get("samples").asInt()).isEqualTo(3);
    assertThat(conditions.get("clocks.sm").toString())
        .isEqualTo("{\"median\":1755.0,\"max\":1980.0}");
    assertThat(conditions.get("power.draw").toString())
        .isEqualTo("{\"median\":699.5,\"max\":700.75}");
    assertThat(conditions.get("fan.speed").isNull()).isTrue();
    assertThat(conditions.get("clocks_throttle_reasons.active").asText())
        .isEqualTo("0x0000000000000024");
  }

  @Test
  void theHostsClockWhereTheDeviceHasNone() throws IOException {
    piece("001.command", "compare");
    piece(
        "001.json",
        """
        {"flops": 1, "results": [{"verdict": "pass", "medianNs": 900, "deviceMedianNs": null,
           "rounds": [{"hostNs": [900], "deviceNs": []}]}]}
        """);
    JsonNode own = GpuReport.of(folder).get("problems").get(0).get("heddle");
    assertThat(own.get("clock").asText()).isEqualTo("host");
    assertThat(own.get("medianNs").asLong()).isEqualTo(900);
  }

  @Test
  void whatIsMissingIsSaidAndWhatFailedIsFound() throws IOException {
    piece("missing", "PyTorch\tno python3 on the PATH\n");
    piece("contract", "promise\theads\t4\t0\t1\nskipped\theads\tx > y\tno device\n");
    piece("002.command", "compare --shape 2");
    piece("002.failed", "stopped after 600 s: \n");
    piece("001.command", "compare --shape 1");
    piece("001.json", "{\"results\": [{\"verdict\": \"refused\", \"reason\": \"headDim\"}]}");
    ObjectNode report = GpuReport.of(folder);
    assertThat(report.get("missing").get(0).get("why").asText())
        .isEqualTo("no python3 on the PATH");
    assertThat(report.get("contract").get("passed").asInt()).isEqualTo(4);
    assertThat(report.get("contract").get("remarks").get(0).get("test").asText())
        .isEqualTo("x > y");
    JsonNode refused = report.get("problems").get(0);
    assertThat(refused.get("reason").asText()).isEqualTo("headDim");
    assertThat(refused.has("heddle")).isFalse();
    JsonNode stopped = report.get("problems").get(1);
    assertThat(stopped.get("verdict").asText()).isEqualTo("none");
    assertThat(stopped.get("reason").asText()).startsWith("stopped after 600 s");
    assertThat(GpuReport.failed(report)).as("a comparison gave nothing").isTrue();

    Files.delete(folder.resolve("002.command"));
    assertThat(GpuReport.failed(GpuReport.of(folder))).as("refusals, skips").isFalse();
    piece("contract", "promise\theads\t4\t1\t0\nfailed\theads\tx\twrong\n");
    assertThat(GpuReport.failed(GpuReport.of(folder))).isTrue();
    Files.delete(folder.resolve("contract"));
    piece("001.json", "{\"results\": [{\"verdict\": \"fail\", \"reason\": \"wrong\"}]}");
    assertThat(GpuReport.failed(GpuReport.of(folder))).isTrue();
    assertThat(GpuReport.of(folder).get("contract").isNull()).isTrue();
  }

  @Test
  void theContractAloneIsEnoughToPass() throws IOException {
    piece("contract", "promise\theads\t0\t0\t4\n");
    assertThat(GpuReport.passed(GpuReport.of(folder))).as("all were skipped").isFalse();
    piece("contract", "promise\theads\t4\t0\t1\n");
    assertThat(GpuReport.passed(GpuReport.of(folder))).isTrue();
    assertThat(GpuReport.failed(GpuReport.of(folder))).isFalse();
    Files.delete(folder.resolve("contract"));
    piece("001.command", "compare");
    piece("001.json", "{\"results\": [{\"verdict\": \"refused\", \"reason\": \"headDim\"}]}");
    assertThat(GpuReport.passed(GpuReport.of(folder))).as("all were refused").isFalse();
  }

  @Test
  void aContractThatCrashedFailed() throws IOException {
    piece("001.command", "compare");
    piece("001.json", "{\"results\": [{\"verdict\": \"pass\"}]}");
    assertThat(GpuReport.failed(GpuReport.of(folder))).as("the contract was left out").isFalse();
    piece("contract.failed", "ended with exit code 139: SIGSEGV\n");
    ObjectNode report = GpuReport.of(folder);
    assertThat(report.get("contract").toString())
        .isEqualTo("{\"error\":\"ended with exit code 139: SIGSEGV\"}");
    assertThat(GpuReport.failed(report)).isTrue();
  }
}
