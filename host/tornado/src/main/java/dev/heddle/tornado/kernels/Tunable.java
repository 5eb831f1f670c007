package dev.heddle.tornado.kernels;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** A constant of a kernel that plans may choose: what {@code #ifndef} is to the sibling kernels. */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.PARAMETER)
public @interface Tunable {

  /** Its value where nothing is chosen. */
  int value();

  /** Values that may be chosen. */
  int[] among();

  /** What it is, with its unit. */
  String meaning();
}
