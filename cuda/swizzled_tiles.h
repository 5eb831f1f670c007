// Tiles of 16-bit elements in shared memory in which neither 16-byte accesses along a row nor ldmatrix
// meet a bank conflict, without padding.
//
// A row of COLUMNS elements is COLUMNS / 8 chunks of 16 bytes. Chunk c of row r lies at place
//
//   c ^ (r % 8)       of its row where COLUMNS is a multiple of 64: in panels of 8 chunks
//   c ^ (r / 2 % 4)   where COLUMNS is an odd multiple of 32: in panels of 4 chunks
//
//   COLUMNS 64   place 0 1 2 3 4 5 6 7      COLUMNS 32   place 0 1 2 3   0 1 2 3
//   row 0              0 1 2 3 4 5 6 7      rows 0, 1          0 1 2 3   0 1 2 3
//   row 1              1 0 3 2 5 4 7 6      rows 2, 3          1 0 3 2   1 0 3 2
//   row 2              2 3 0 1 6 7 4 5      rows 4, 5          2 3 0 1   2 3 0 1
//   ...                                     rows 6, 7          3 2 1 0   3 2 1 0
//
// Shared memory moves 128 bytes at a time: 8 lanes' chunks, if they lie in the 8 groups of 4 banks. The
// group of a chunk is (its row's first chunk + its place) % 8.
//   ldmatrix: chunk c of 8 neighbouring rows, the first a multiple of 8. With COLUMNS a multiple of 64,
//     rows start in group 0 and the places c ^ 0, ..., c ^ 7 are 8 different ones modulo 8. Else rows
//     start in group 0 if even, 4 if odd, and among 4 rows of one kind the places c ^ 0, ..., c ^ 3
//     differ modulo 4.
//   Along a row: 8 lanes take a panel of 8 chunks, that is 8 places of one row; or panels of 4 chunks
//     in 2 neighbouring rows, of which one starts in group 0 and the other in group 4.
// Which chunks those are the exclusive or decides only within a panel, so a step to the next panel or
// by 8 rows adds a constant, and one of 2 chunks flips bits of the address: tiles start at multiples
// of 128 bytes.
#ifndef HEDDLE_SWIZZLED_TILES_H
#define HEDDLE_SWIZZLED_TILES_H

#include "async_copy.h"
#include "storage.h"

#define PANEL_CHUNKS(columns) ((columns) % 64 == 0 ? 8 : 4)

// The offset in bytes of a chunk in a tile.
template <int COLUMNS>
FORCE_INLINE unsigned swizzled(const unsigned row, const unsigned chunk) {
  static_assert(COLUMNS % 32 == 0, "a row of a tile has to be a multiple of 32 elements");
  const unsigned twist = PANEL_CHUNKS(COLUMNS) == 8 ? row % 8 : row / 2 % 4;
  return row * (2 * COLUMNS) + (chunk ^ twist) * 16;
}

// Where in a tile a lane points for the 16 x 16 block in its upper left corner, see mma.h: blocks of
// a, and of a transposed b.
template <int COLUMNS>
FORCE_INLINE unsigned block_of_lane(const unsigned lane) {
  return swizzled<COLUMNS>(lane % 16, lane / 16);
}

// The same for blocks whose rows are columns of b.
template <int COLUMNS>
FORCE_INLINE unsigned block_of_lane_by_rows(const unsigned lane) {
  return swizzled<COLUMNS>(lane / 16 * 8 + lane % 8, lane / 8 % 2);
}

// The address of the chunk `chunks` to the right of `first` and `rows` below it, a multiple of 8:
// compile-time constants, of which an exclusive or and a constant offset remain. For that their sum has
// to be their exclusive or, so `first` is in column 0 of the chunks, or in a multiple of a power of 2
// above all `chunks`; or it is a lane's place in a block that starts there, two columns wide, and `chunks`
// is even.
template <int COLUMNS>
FORCE_INLINE unsigned chunk_at(const unsigned first, const int rows, const int chunks) {
  const int panel = PANEL_CHUNKS(COLUMNS);
  return (first ^ (chunks % panel * 16)) + chunks / panel * (panel * 16) + rows * (2 * COLUMNS);
}

// ---- a tile is copied by THREADS threads, each the same chunks of it every time ------------------

template <int COLUMNS>
FORCE_INLINE int own_row() {
  return (int)threadIdx.x / PANEL_CHUNKS(COLUMNS);
}

template <int COLUMNS>
FORCE_INLINE int own_column() {
  return (int)threadIdx.x % PANEL_CHUNKS(COLUMNS) * 8;
}

// This thread's first chunk in a row-major matrix, of which the tile is the upper left corner.
template <int COLUMNS>
FORCE_INLINE const storage_t *own_chunk(const storage_t *source, const size_t source_stride) {
  return source + own_row<COLUMNS>() * source_stride + own_column<COLUMNS>();
}

// Calls visit(r, c, offset) for the chunks of this thread, which are those at row own_row + r and
// column own_column + c: r and c are compile-time constants, the offset in the tile is in bytes.
template <int ROWS, int COLUMNS, int THREADS, typename Visit>
FORCE_INLINE void for_own_chunks(const Visit &visit) {
  const int rows = THREADS / PANEL_CHUNKS(COLUMNS);  // that the threads reach at once
  static_assert(ROWS % rows == 0 && rows % 8 == 0, "the threads do not divide the tile");
  const unsigned first = swizzled<COLUMNS>(own_row<COLUMNS>(), own_column<COLUMNS>() / 8);
#pragma unroll
  for (int r = 0; r < ROWS; r += rows) {
#pragma unroll
    for (int c = 0; c < COLUMNS; c += 8 * PANEL_CHUNKS(COLUMNS)) {
      visit(r, c, first + r * (2 * COLUMNS) + c * 2);
    }
  }
}

// Starts the copies of a tile from a row-major matrix, whose chunk for this thread's first is at
// `own`, and whose stride is a multiple of 8 elements. Where the matrix has ended there are zeros: only
// rows_left rows and columns_left columns of it, a multiple of 8, remain.
template <int ROWS, int COLUMNS, int THREADS>
FORCE_INLINE void load_tile_async(const unsigned tile, const storage_t *own,
                                  const size_t source_stride, const int rows_left,
                                  const int columns_left) {
  const int own_rows_left = rows_left - own_row<COLUMNS>();
  const int column = own_column<COLUMNS>();
  for_own_chunks<ROWS, COLUMNS, THREADS>([=](const int r, const int c, const unsigned offset) {
    copy_async(tile + offset, own + r * source_stride + c,
               r < own_rows_left && column + c < columns_left);
  });
}

#endif
