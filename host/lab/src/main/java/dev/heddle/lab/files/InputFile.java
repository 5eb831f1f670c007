package dev.heddle.lab.files;

import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A file that is read with distrust: every failure names it, and nothing is read past its end. */
public final class InputFile implements AutoCloseable {
  /** Any number of dimensions is welcome. */
  static final int ANY_RANK = 0;

  private static final BigInteger MAX_DIM = BigInteger.valueOf(Integer.MAX_VALUE);

  private final Path path;
  private final FileChannel channel;
  private final long size;

  private InputFile(Path path, FileChannel channel, long size) {
    this.path = path;
    this.channel = channel;
    this.size = size;
  }

  /**
   * Opens a regular file.
   *
   * @throws TensorFileException when there is none, or it can't be read
   */
  public static InputFile open(Path path) {
    if (!Files.exists(path)) {
      throw new TensorFileException(path, "no such file");
    }
    if (Files.isDirectory(path)) {
      throw new TensorFileException(path, "is a directory; a file is needed");
    }
    if (!Files.isRegularFile(path)) {
      throw new TensorFileException(path, "is a pipe or device; a regular file is needed");
    }
    try {
      // Closed with this object, or below when the size can't be read.
      FileChannel channel = FileChannel.open(path);
      try {
        return new InputFile(path, channel, channel.size());
      } catch (IOException e) {
        channel.close();
        throw e;
      }
    } catch (IOException e) {
      throw TensorFileException.reading(path, e);
    }
  }

  /** Size when it was opened, bytes. */
  public long size() {
    return size;
  }

  /**
   * Little-endian bytes from {@code position} on; the caller has checked that the file has them.
   */
  public ByteBuffer bytes(long position, int count) {
    ByteBuffer bytes = ByteBuffer.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
    try {
      TensorBytes.readFully(channel, position, bytes);
    } catch (IOException e) {
      throw TensorFileException.reading(path, e);
    }
    return bytes.flip();
  }

  /** The tensor whose elements begin at {@code position}, bytes. */
  HostTensor tensor(String name, Shape shape, DType dtype, long position) {
    HostTensor tensor = allocate(name, shape, dtype);
    try {
      TensorBytes.read(channel, position, tensor);
    } catch (IOException e) {
      throw TensorFileException.reading(path, e);
    }
    return tensor;
  }

  /**
   * The shape that a header states, once it is known to be possible.
   *
   * @param name the tensor's, with which the message begins
   * @param rank dimensions needed, or {@link #ANY_RANK}
   */
  Shape shape(String name, List<BigInteger> stated, int rank) {
    String shown = name + " has shape " + TensorFileException.quote(stated.toString());
    if (rank != ANY_RANK && stated.size() != rank) {
      throw failure(shown + " with " + stated.size() + " dimensions; " + rank + " are needed");
    }
    if (stated.isEmpty()) {
      throw failure(shown + ", a scalar; at least one dimension is needed");
    }
    List<Integer> dims = new ArrayList<>();
    long elements = 1;
    for (BigInteger dim : stated) {
      if (dim.signum() < 1) {
        throw failure(shown + " with dimension " + quoted(dim) + "; each must be at least 1");
      }
      if (dim.compareTo(MAX_DIM) > 0) {
        throw failure(
            shown + " with dimension " + quoted(dim) + "; each must be at most " + MAX_DIM);
      }
      dims.add(dim.intValueExact());
      // Both factors are below 2^31.
      elements *= dim.intValueExact();
      if (elements > HostTensor.MAX_ELEMENTS) {
        throw failure(
            shown + "; one tensor holds at most " + HostTensor.MAX_ELEMENTS + " elements");
      }
    }
    return new Shape(dims);
  }

  /** A complaint about the file. */
  public TensorFileException failure(String problem) {
    return new TensorFileException(path, problem);
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw TensorFileException.reading(path, e);
    }
  }

  private HostTensor allocate(String name, Shape shape, DType dtype) {
    long bytes = shape.elements() * dtype.bytes();
    long heap = Runtime.getRuntime().maxMemory();
    if (bytes < heap) {
      try {
        return HostTensor.zeros(shape, dtype);
      } catch (OutOfMemoryError e) {
        // One array was asked for and not given; nothing else has failed.
      }
    }
    throw failure(
        name
            + " "
            + shape
            + " needs "
            + bytes
            + " bytes; the JVM's heap limit is "
            + heap
            + " bytes (-Xmx raises it)");
  }

  private static String quoted(BigInteger dim) {
    return TensorFileException.quote(dim.toString());
  }
}
