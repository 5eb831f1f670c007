package dev.heddle.tornado.kernels;

import java.lang.annotation.ElementType;
import java.lang.annotation.Repeatable;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** A combination that a class's kernels refuse: what {@code #error} is to the sibling kernels. */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.TYPE)
@Repeatable(Refused.All.class)
public @interface Refused {

  /** An expression over the sibling kernels' macros that is true when the kernels refuse. */
  String when();

  /** What is wrong then, one sentence. */
  String because();

  /** Several of them. */
  @Retention(RetentionPolicy.RUNTIME)
  @Target(ElementType.TYPE)
  @interface All {

    /** The combinations. */
    Refused[] value();
  }
}
