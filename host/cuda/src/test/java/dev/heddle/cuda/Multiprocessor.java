package dev.heddle.cuda;

/**
 * What a streaming multiprocessor has for the blocks that run on it at the same time.
 *
 * <p>Source: CUDA C++ Programming Guide, "Compute Capabilities"; the sizes in which registers and
 * shared memory are handed out are those of NVIDIA's occupancy calculator.
 *
 * @param architecture 80, 90, 120
 * @param warps most resident warps
 * @param blocks most resident blocks
 * @param shared shared memory, bytes
 */
record Multiprocessor(int architecture, int warps, int blocks, int shared) {
  private static final int REGISTERS = 65536;
  private static final int WARP = 32;

  /** Registers are handed out to warps in portions of so many. */
  private static final int REGISTER_PORTION = 256;

  /** Warps get their registers by groups: a multiprocessor has so many parts. */
  private static final int PARTS = 4;

  private static final int SHARED_PORTION = 128;

  /** Shared memory that the system takes of each block, bytes. */
  private static final int SYSTEM_SHARED = 1024;

  static Multiprocessor of(int architecture) {
    return switch (architecture) {
      case 80 -> new Multiprocessor(80, 64, 32, 164 << 10);
      case 90 -> new Multiprocessor(90, 64, 32, 228 << 10);
      case 120 -> new Multiprocessor(120, 48, 24, 100 << 10);
      default -> throw new IllegalArgumentException("no limits of sm_" + architecture + " here");
    };
  }

  /** Shared memory that a block can have, bytes. */
  int blockShared() {
    return shared - SYSTEM_SHARED;
  }

  /** Blocks that fit at the same time. */
  int resident(int threads, int registers, int blockShared) {
    int blockWarps = (threads + WARP - 1) / WARP;
    int registerWarps = REGISTERS / up(registers * WARP, REGISTER_PORTION) / PARTS * PARTS;
    int sharedBlocks = shared / up(blockShared + SYSTEM_SHARED, SHARED_PORTION);
    return Math.min(
        Math.min(blocks, warps / blockWarps), Math.min(registerWarps / blockWarps, sharedBlocks));
  }

  /** Share of the resident warps that so many blocks of so many threads are. */
  double occupancy(int residentBlocks, int threads) {
    return (double) residentBlocks * ((threads + WARP - 1) / WARP) / warps;
  }

  private static int up(int value, int portion) {
    return (value + portion - 1) / portion * portion;
  }
}
