package dev.heddle.core;

import java.util.Set;

/** The kinds of {@link AttentionOptions}, for declaring which of them an algorithm has. */
public enum AttentionOption {
  /** {@link AttentionOptions#keyLengths}. */
  KEY_LENGTHS("keyLengths"),
  /** {@link AttentionOptions#mask}. */
  MASK("mask"),
  /** {@link AttentionOptions#bias}. */
  BIAS("bias"),
  /** {@link AttentionOptions#alibi}. */
  ALIBI("alibi"),
  /** {@link AttentionOptions#softcap}. */
  SOFTCAP("softcap"),
  /** {@link AttentionOptions#sinks}. */
  SINKS("sinks"),
  /** {@link AttentionOptions#blocks}. */
  BLOCK_MASK("blockMask"),
  /** {@link AttentionOptions#dropout}. */
  DROPOUT("dropout"),
  /** {@link AttentionOptions#scoreOutput}. */
  SCORE_OUTPUT("scoreOutput");

  /** All of them. */
  public static final Set<AttentionOption> ALL = Set.of(values());

  /** All that need no score matrix in memory. */
  public static final Set<AttentionOption> WITHOUT_SCORES =
      Set.of(KEY_LENGTHS, MASK, BIAS, ALIBI, SOFTCAP, SINKS, BLOCK_MASK, DROPOUT);

  private final String label;

  AttentionOption(String label) {
    this.label = label;
  }

  /** Name of the limit by which it is refused. */
  public String label() {
    return label;
  }
}
