package dev.heddle.model;

import java.io.InputStream;

/** A file of the model's artifact on the class path. */
enum ModelFile {
  WEIGHTS("all-minilm-l6-v2.onnx"),
  TOKENIZER("all-minilm-l6-v2-tokenizer.json");

  private final String path;

  ModelFile(String path) {
    this.path = path;
  }

  /** The file's name, as error messages give it. */
  String path() {
    return path;
  }

  /**
   * Its bytes, for the caller to close.
   *
   * @throws ModelException when the artifact is not on the class path
   */
  InputStream open() {
    InputStream bytes = ModelFile.class.getResourceAsStream("/" + path);
    if (bytes == null) {
      throw new ModelException(path + " is not on the class path");
    }
    return bytes;
  }
}
