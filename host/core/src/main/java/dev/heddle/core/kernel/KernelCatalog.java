package dev.heddle.core.kernel;

/** The kernels that a backend has: where each is written, and what it lets be chosen. */
public interface KernelCatalog {

  /** The name of a kernel's file: {@code attention_flash.cl} for {@code attention_flash}. */
  String name(String kernel);

  /** What a kernel file lets be chosen. */
  Tunables tunables(String file);
}
