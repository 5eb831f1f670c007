package dev.heddle.core;

import java.util.Optional;

/**
 * What a compiler made of a kernel for a device.
 *
 * @param kernel the kernel's name
 * @param language what it was compiled to: {@code OpenCL C}, {@code PTX}
 * @param text the code
 * @param compileNs how long that took, ns
 * @param sibling the hand-written kernel file that computes the same, by its path in Heddle's
 *     sources, where there is one
 */
public record GeneratedCode(
    String kernel, String language, String text, long compileNs, Optional<String> sibling) {}
