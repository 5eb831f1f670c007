package dev.heddle.lab.files;

import dev.heddle.core.HostTensor;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;

/** A tensor's elements as a file holds them: row-major, little-endian, moved piece by piece. */
final class TensorBytes {
  private static final int PIECE_BYTES = 1 << 20;

  private TensorBytes() {}

  /** Fills {@code tensor} from the bytes at {@code position}. */
  static void read(FileChannel file, long position, HostTensor tensor) throws IOException {
    ByteBuffer piece = piece();
    int perPiece = PIECE_BYTES / tensor.dtype().bytes();
    long at = position;
    for (int done = 0; done < tensor.size(); ) {
      int count = Math.min(perPiece, tensor.size() - done);
      piece.clear().limit(count * tensor.dtype().bytes());
      readFully(file, at, piece);
      piece.flip();
      switch (tensor.dtype()) {
        case FP32 -> piece.asFloatBuffer().get(tensor.floats(), done, count);
        case FP16, BF16 -> piece.asShortBuffer().get(tensor.patterns(), done, count);
        case INT32 -> piece.asIntBuffer().get(tensor.ints(), done, count);
        case BOOL -> {
          // Whatever a file holds, a boolean here is 0 or 1.
          for (int i = done; i < done + count; i++) {
            tensor.bytes()[i] = (byte) (piece.get() == 0 ? 0 : 1);
          }
        }
      }
      done += count;
      at += piece.limit();
    }
  }

  /** Writes every element of {@code tensor}. */
  static void write(HostTensor tensor, WritableByteChannel file) throws IOException {
    ByteBuffer piece = piece();
    int perPiece = PIECE_BYTES / tensor.dtype().bytes();
    for (int done = 0; done < tensor.size(); ) {
      int count = Math.min(perPiece, tensor.size() - done);
      piece.clear().limit(count * tensor.dtype().bytes());
      switch (tensor.dtype()) {
        case FP32 -> piece.asFloatBuffer().put(tensor.floats(), done, count);
        case FP16, BF16 -> piece.asShortBuffer().put(tensor.patterns(), done, count);
        case INT32 -> piece.asIntBuffer().put(tensor.ints(), done, count);
        case BOOL -> piece.put(tensor.bytes(), done, count).rewind();
      }
      writeFully(piece, file);
      done += count;
    }
  }

  /** Fills what remains of {@code target} from the bytes at {@code position}. */
  static void readFully(FileChannel file, long position, ByteBuffer target) throws IOException {
    long at = position;
    while (target.hasRemaining()) {
      int count = file.read(target, at);
      if (count < 0) {
        throw new EOFException("it became shorter while it was read");
      }
      at += count;
    }
  }

  /** Writes what remains of {@code source}. */
  static void writeFully(ByteBuffer source, WritableByteChannel file) throws IOException {
    while (source.hasRemaining()) {
      file.write(source);
    }
  }

  private static ByteBuffer piece() {
    return ByteBuffer.allocateDirect(PIECE_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  }
}
