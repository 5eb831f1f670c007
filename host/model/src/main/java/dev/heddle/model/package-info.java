/**
 * A real model as input: all-MiniLM-L6-v2's weights and tokenizer from its Maven artifact, and its
 * encoder made of Heddle operations, so that any backend can run a layer's attention on the
 * queries, keys and values of a real sentence.
 *
 * <p>Nothing here is loaded before {@link dev.heddle.model.MiniLm#load} or {@link
 * dev.heddle.model.SentenceTokenizer#open} is called.
 */
@NullMarked
package dev.heddle.model;

import org.jspecify.annotations.NullMarked;
