/**
 * Node tests of ONNX: a folder with a model of one node, inputs and the outputs expected of it.
 * Everything is read with distrust.
 */
@NullMarked
package dev.heddle.lab.onnx;

import org.jspecify.annotations.NullMarked;
