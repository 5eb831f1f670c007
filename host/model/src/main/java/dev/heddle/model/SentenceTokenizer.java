package dev.heddle.model;

import ai.djl.engine.EngineException;
import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * The model's own WordPiece tokenizer, run offline by the native HuggingFace tokenizers library.
 *
 * <p>The native library exists for Linux on x86-64 and aarch64, macOS on aarch64 and Windows on
 * x86-64. It is extracted once per user to {@code ~/.djl.ai/tokenizers}, or below the folder that
 * the environment variable {@code DJL_CACHE_DIR} names.
 */
public final class SentenceTokenizer implements AutoCloseable {
  private final HuggingFaceTokenizer tokenizer;

  private SentenceTokenizer(HuggingFaceTokenizer tokenizer) {
    this.tokenizer = tokenizer;
  }

  /**
   * Loads the tokenizer's native library and vocabulary.
   *
   * @throws ModelException when the artifact is not on the class path or this platform has no
   *     native library
   */
  public static SentenceTokenizer open() {
    // DJL reports its start to a server and downloads what it misses unless told not to. Offline
    // mode forbids both; the second switch covers a user's environment that forbids the first.
    System.setProperty("ai.djl.offline", "true");
    System.setProperty("OPT_OUT_TRACKING", "true");
    try (InputStream json = ModelFile.TOKENIZER.open()) {
      // The file asks for padding and truncation to 128 tokens: neither belongs in a measurement.
      return new SentenceTokenizer(
          HuggingFaceTokenizer.newInstance(
              json, Map.of("padding", "false", "truncation", "false", "addSpecialTokens", "true")));
    } catch (IOException e) {
      throw new ModelException(ModelFile.TOKENIZER.path() + " can't be read: " + e.getMessage(), e);
    } catch (EngineException | LinkageError | AssertionError | IllegalStateException e) {
      // What DJL throws, by platform, where its library is missing or will not load.
      throw new ModelException(
          "the tokenizer's native library can't be loaded on "
              + System.getProperty("os.name")
              + " "
              + System.getProperty("os.arch")
              + ": "
              + rootCause(e),
          e);
    }
  }

  /**
   * Tokens of one text, cut to {@link MiniLm#MAX_TOKENS} where it has more; {@link
   * Tokens#truncationNote} then says so.
   *
   * @throws IllegalArgumentException when the text has no token: it is empty or holds nothing but
   *     white space and control characters
   */
  public Tokens tokenize(String text) {
    Encoding encoding = tokenizer.encode(text);
    long[] ids = encoding.getIds();
    String[] pieces = encoding.getTokens();
    if (ids.length <= 2) { // the two markers alone
      throw new IllegalArgumentException(
          text.isEmpty()
              ? "the text is empty"
              : "the text holds nothing but white space and control characters");
    }
    int count = Math.min(ids.length, MiniLm.MAX_TOKENS);
    // The end marker stays the last token of a text that is cut.
    int[] kept = IntStream.range(0, count).map(i -> i < count - 1 ? i : ids.length - 1).toArray();
    List<Integer> keptIds = Arrays.stream(kept).mapToObj(i -> Math.toIntExact(ids[i])).toList();
    List<String> keptPieces = Arrays.stream(kept).mapToObj(i -> pieces[i]).toList();
    return new Tokens(keptIds, keptPieces, ids.length);
  }

  private static String rootCause(Throwable failure) {
    Throwable cause = failure;
    while (cause.getCause() != null) {
      cause = cause.getCause();
    }
    return cause.toString();
  }

  /** Frees the native tokenizer. */
  @Override
  public void close() {
    tokenizer.close();
  }
}
