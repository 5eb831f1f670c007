package dev.heddle.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;

/** Rows of text in columns as wide as they need to be. */
final class Table {
  /** How a column's text lies in its width. */
  enum Align {
    LEFT,
    RIGHT
  }

  private final List<String> headings = new ArrayList<>();
  private final List<Align> aligns = new ArrayList<>();
  private final List<List<String>> rows = new ArrayList<>();

  Table column(String heading, Align align) {
    headings.add(heading);
    aligns.add(align);
    return this;
  }

  void row(String... cells) {
    if (cells.length != headings.size()) {
      throw new IllegalArgumentException(
          cells.length + " cells for " + headings.size() + " columns");
    }
    rows.add(List.of(cells));
  }

  void print(PrintWriter out) {
    List<List<String>> all = new ArrayList<>(rows);
    all.addFirst(headings);
    for (List<String> row : all) {
      StringBuilder line = new StringBuilder();
      for (int c = 0; c < headings.size(); c++) {
        int column = c;
        int width = all.stream().mapToInt(r -> r.get(column).length()).max().orElse(0);
        String padding = " ".repeat(width - row.get(c).length());
        line.append(aligns.get(c) == Align.LEFT ? row.get(c) + padding : padding + row.get(c));
        line.append("  ");
      }
      out.println(line.toString().stripTrailing());
    }
  }
}
