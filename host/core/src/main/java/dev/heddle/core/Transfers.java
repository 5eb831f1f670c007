package dev.heddle.core;

/**
 * What a session has copied between host and device since it was opened; copies are timed by
 * themselves, never as part of a {@link Timing}.
 *
 * @param uploadedBytes bytes copied to the device
 * @param uploadNs time of those copies, from the call until the data is there, on the host's clock,
 *     ns
 * @param downloadedBytes bytes copied to the host
 * @param downloadNs time of those copies, ns
 */
public record Transfers(long uploadedBytes, long uploadNs, long downloadedBytes, long downloadNs) {
  /** Nothing copied yet. */
  public static final Transfers NONE = new Transfers(0, 0, 0, 0);

  /** These transfers and one upload more. */
  public Transfers uploaded(long bytes, long ns) {
    return new Transfers(uploadedBytes + bytes, uploadNs + ns, downloadedBytes, downloadNs);
  }

  /** These transfers and one download more. */
  public Transfers downloaded(long bytes, long ns) {
    return new Transfers(uploadedBytes, uploadNs, downloadedBytes + bytes, downloadNs + ns);
  }

  /** What was copied since an earlier moment of the same session. */
  public Transfers since(Transfers earlier) {
    return new Transfers(
        uploadedBytes - earlier.uploadedBytes,
        uploadNs - earlier.uploadNs,
        downloadedBytes - earlier.downloadedBytes,
        downloadNs - earlier.downloadNs);
  }
}
