package dev.heddle.tornado.kernels;

import java.lang.annotation.ElementType;
import java.lang.annotation.Repeatable;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * A constant of a class's kernels that plans may choose: what {@code #ifndef} is to the sibling
 * kernels. Kernels take {@code BLOCK_M} as the parameter {@code int blockM}.
 */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.TYPE)
@Repeatable(Tunable.All.class)
public @interface Tunable {

  /** The sibling kernels' macro. */
  String name();

  /** Its value where nothing is chosen. */
  int value();

  /** Values that may be chosen. */
  int[] among();

  /** What it is, with its unit. */
  String meaning();

  /** Several of them. */
  @Retention(RetentionPolicy.RUNTIME)
  @Target(ElementType.TYPE)
  @interface All {

    /** The constants. */
    Tunable[] value();
  }
}
