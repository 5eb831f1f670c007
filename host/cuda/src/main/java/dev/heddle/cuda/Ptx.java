package dev.heddle.cuda;

/**
 * PTX of a kernel variant.
 *
 * @param text the PTX
 * @param origin how it came to be, for people: {@code shipped}, {@code nvcc 13.0}
 */
record Ptx(String text, String origin) {}
