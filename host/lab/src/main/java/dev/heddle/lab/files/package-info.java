/**
 * Tensors in files: NumPy's {@code .npy} and {@code .safetensors}. Files come from people, so a
 * header is believed only after it has been checked against the file; outputs appear whole or not
 * at all.
 */
@NullMarked
package dev.heddle.lab.files;

import org.jspecify.annotations.NullMarked;
