package dev.heddle.cli;

import java.io.Console;
import java.io.PrintWriter;
import java.util.function.Consumer;

/** One line on the terminal that says what is being done, and goes away. */
final class Progress implements Consumer<String>, AutoCloseable {
  private static final String CLEAR = "\r\u001b[K";
  private static final int WIDTH = 100;

  private final PrintWriter err;
  private final boolean terminal;

  Progress(PrintWriter err) {
    this.err = err;
    Console console = System.console();
    this.terminal = console != null && console.isTerminal();
  }

  @Override
  public void accept(String doing) {
    if (terminal) {
      String line = doing.length() > WIDTH ? doing.substring(0, WIDTH) : doing;
      err.print(CLEAR + line + " ...");
      err.flush();
    }
  }

  @Override
  public void close() {
    if (terminal) {
      err.print(CLEAR);
      err.flush();
    }
  }
}
