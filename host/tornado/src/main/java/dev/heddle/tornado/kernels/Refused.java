package dev.heddle.tornado.kernels;

import java.lang.annotation.ElementType;
import java.lang.annotation.Repeatable;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** A combination that a kernel refuses: what {@code #error} is to the sibling kernels. */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.METHOD)
@Repeatable(Refused.All.class)
public @interface Refused {

  /** An expression over the sibling kernels' macros that is true when the kernel refuses. */
  String when();

  /** What is wrong then, one sentence. */
  String because();

  /** Several of them. */
  @Retention(RetentionPolicy.RUNTIME)
  @Target(ElementType.METHOD)
  @interface All {

    /** The combinations. */
    Refused[] value();
  }
}
