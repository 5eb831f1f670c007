package dev.heddle.lab;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import javax.xml.stream.XMLOutputFactory;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamWriter;

/**
 * XML, or HTML that is XML too, with everything escaped that has to be: the only way into a
 * document is as an element, an attribute or text. Characters that XML can't hold are replaced.
 */
final class Markup {
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private final XMLStreamWriter writer;

  private interface Step {
    void run() throws XMLStreamException;
  }

  private Markup() {
    try {
      writer =
          XMLOutputFactory.newDefaultFactory()
              .createXMLStreamWriter(bytes, StandardCharsets.UTF_8.name());
    } catch (XMLStreamException e) {
      throw memory(e);
    }
  }

  /** A document that begins with XML's declaration. */
  static Markup xml() {
    Markup markup = new Markup();
    return markup.write(() -> markup.writer.writeStartDocument("UTF-8", "1.0")).newline();
  }

  /** A document that begins with HTML's type. */
  static Markup html() {
    Markup markup = new Markup();
    return markup.write(() -> markup.writer.writeDTD("<!DOCTYPE html>")).newline();
  }

  /**
   * An element with what {@code content} writes in it.
   *
   * @param attributes names and values in turn
   */
  Markup element(String name, Runnable content, String... attributes) {
    write(() -> writer.writeStartElement(name));
    for (int i = 0; i < attributes.length; i += 2) {
      String attribute = attributes[i];
      String value = storable(attributes[i + 1]);
      write(() -> writer.writeAttribute(attribute, value));
    }
    content.run();
    return write(writer::writeEndElement);
  }

  /** An element with text in it. */
  Markup element(String name, String text, String... attributes) {
    return element(name, () -> text(text), attributes);
  }

  /** An element that has no end in HTML, such as {@code meta}. */
  Markup empty(String name, String... attributes) {
    write(() -> writer.writeEmptyElement(name));
    for (int i = 0; i < attributes.length; i += 2) {
      String attribute = attributes[i];
      String value = storable(attributes[i + 1]);
      write(() -> writer.writeAttribute(attribute, value));
    }
    return this;
  }

  /** Text. */
  Markup text(String text) {
    return write(() -> writer.writeCharacters(storable(text)));
  }

  /** An end of line between elements, for people who read the source. */
  Markup newline() {
    return write(() -> writer.writeCharacters("\n"));
  }

  /** The document. */
  byte[] bytes() {
    write(writer::writeEndDocument).write(writer::flush);
    return bytes.toByteArray();
  }

  private Markup write(Step step) {
    try {
      step.run();
      return this;
    } catch (XMLStreamException e) {
      throw memory(e);
    }
  }

  private static String storable(String text) {
    StringBuilder kept = new StringBuilder(text.length());
    text.codePoints().forEach(c -> kept.appendCodePoint(isCharacter(c) ? c : 0xFFFD));
    return kept.toString();
  }

  /** Source: XML 1.0, section 2.2, Char. */
  private static boolean isCharacter(int c) {
    return c == '\t'
        || c == '\n'
        || c == '\r'
        || (c >= 0x20 && c <= 0xD7FF)
        || (c >= 0xE000 && c <= 0xFFFD)
        || c >= 0x10000;
  }

  private static IllegalStateException memory(XMLStreamException e) {
    return new IllegalStateException("writing to memory can't fail", e);
  }
}
