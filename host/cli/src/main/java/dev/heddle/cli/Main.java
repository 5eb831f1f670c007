package dev.heddle.cli;

import dev.heddle.core.DeviceException;
import dev.heddle.core.KernelBuildException;
import dev.heddle.core.UnsupportedProblemException;
import dev.heddle.lab.NothingToRunException;
import dev.heddle.model.ModelException;
import java.io.IOException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/** The command line. */
@Command(
    name = "heddle",
    description = {
      "A laboratory for attention kernels on the JVM: one attention problem, every device that is"
          + " present, every result judged against a double-precision reference.",
      ""
    },
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    subcommands = {
      DevicesCommand.class,
      CompareCommand.class,
      ConformCommand.class,
      RunCommand.class,
      GpuReportCommand.class,
      AutoComplete.GenerateCompletion.class
    },
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:all verdicts pass",
      "1:a verdict failed",
      "2:bad input: an option, a file or a size",
      "3:nothing could run"
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  heddle compare                       a layer of a real model on every device",
      "  heddle compare --shape 1,8,8,2048,2048,64,64 --causal",
      "  heddle conform                       whether every device computes attention correctly",
      "  heddle devices --peak                what is here, and how fast its cores can multiply",
      "  heddle run --q q.npy --k k.npy --v v.npy --out out.npy",
      "  source <(heddle generate-completion) completion for bash and zsh"
    })
public final class Main implements Runnable {

  @CommandLine.Spec private CommandLine.Model.@Nullable CommandSpec spec;

  /** Runs a command and ends the process with its exit code. */
  public static void main(String[] arguments) {
    System.setErr(StandardStreams.err());
    System.exit(execute(StandardStreams.out(), System.err, arguments));
  }

  /** Runs a command with these streams and returns its exit code. */
  static int execute(PrintStream out, PrintStream err, String... arguments) {
    CommandLine commandLine =
        new CommandLine(new Main())
            .setOut(new PrintWriter(out, true, out.charset()))
            .setErr(new PrintWriter(err, true, err.charset()))
            .setCaseInsensitiveEnumValuesAllowed(true)
            .setParameterExceptionHandler(Main::badArguments)
            .setExecutionExceptionHandler(Main::failed);
    CommandLine completion =
        Objects.requireNonNull(commandLine.getSubcommands().get("generate-completion"));
    completion
        .getCommandSpec()
        .usageMessage()
        .description("Prints a completion script for bash and zsh.");
    try {
      return commandLine.execute(arguments);
    } catch (LinkageError e) {
      return complain(
          commandLine,
          "a library is missing or damaged: " + oneLine(String.valueOf(e)),
          ExitCode.NOTHING_RAN);
    } catch (OutOfMemoryError e) {
      return complain(
          commandLine,
          "this problem needs more memory than the JVM's heap limit of "
              + Text.bytes(Runtime.getRuntime().maxMemory())
              + "; HEDDLE_JAVA_OPTS=-Xmx... raises it",
          ExitCode.BAD_INPUT);
    }
  }

  /** Without a command, shows the help; that is bad input too. */
  @Override
  public void run() {
    CommandLine commandLine = Objects.requireNonNull(spec).commandLine();
    throw new CommandLine.ParameterException(
        commandLine, "a command is missing: devices, compare, conform or run");
  }

  private static int badArguments(CommandLine.ParameterException e, String[] arguments) {
    CommandLine commandLine = e.getCommandLine();
    String name = commandLine.getCommandSpec().qualifiedName();
    return complain(
        commandLine, oneLine(e.getMessage()) + " (" + name + " --help)", ExitCode.BAD_INPUT);
  }

  private static int failed(
      Exception e, CommandLine commandLine, CommandLine.ParseResult parseResult) {
    return switch (e) {
      case IllegalArgumentException bad -> complain(commandLine, bad, ExitCode.BAD_INPUT);
      case UncheckedIOException io ->
          complain(commandLine, file(Objects.requireNonNull(io.getCause())), ExitCode.BAD_INPUT);
      case IOException io -> complain(commandLine, file(io), ExitCode.BAD_INPUT);
      case NothingToRunException nothing -> complain(commandLine, nothing, ExitCode.NOTHING_RAN);
      case UnsupportedProblemException no -> complain(commandLine, no, ExitCode.NOTHING_RAN);
      case ModelException model -> complain(commandLine, model, ExitCode.NOTHING_RAN);
      case DeviceException device -> complain(commandLine, device, ExitCode.NOTHING_RAN);
      case KernelBuildException build -> complain(commandLine, build, ExitCode.NOTHING_RAN);
      default -> {
        // Not the user's doing: say what is needed to report it, and nothing that scrolls away.
        StackTraceElement[] trace = e.getStackTrace();
        String where = trace.length > 0 ? " at " + trace[0] : "";
        yield complain(
            commandLine,
            "this is a fault of Heddle's own: " + oneLine(String.valueOf(e)) + where,
            ExitCode.NOTHING_RAN);
      }
    };
  }

  private static int complain(CommandLine commandLine, Exception e, ExitCode code) {
    return complain(commandLine, oneLine(e.getMessage()), code);
  }

  private static int complain(CommandLine commandLine, String message, ExitCode code) {
    commandLine.getErr().println("heddle: " + message);
    return code.code();
  }

  private static String file(IOException e) {
    return switch (e) {
      case NoSuchFileException missing -> missing.getFile() + ": no such file or folder";
      case AccessDeniedException denied -> denied.getFile() + ": access denied";
      case FileSystemException other -> oneLine(other.getMessage());
      default -> oneLine(e.getMessage());
    };
  }

  private static String oneLine(@Nullable String message) {
    return String.valueOf(message).strip().replaceAll("\\s*\\R\\s*", " | ");
  }

  /** Reads the version that the build wrote into the jar. */
  static final class Version implements CommandLine.IVersionProvider {
    @Override
    public String[] getVersion() {
      String version = Main.class.getPackage().getImplementationVersion();
      return new String[] {
        "heddle " + (version == null ? "(not packaged)" : version) + ", Java " + Runtime.version()
      };
    }
  }
}
