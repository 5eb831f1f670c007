package dev.heddle.core;

/** A call into a device's driver failed. */
public final class DeviceException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final String call;
  private final String code;

  /**
   * A failed call.
   *
   * @param device name of the device
   * @param call the driver's function
   * @param code the driver's name of the error
   */
  public DeviceException(String device, String call, String code) {
    super(call + " on " + device + " failed: " + code);
    this.call = call;
    this.code = code;
  }

  /** The driver's function that failed. */
  public String call() {
    return call;
  }

  /** The driver's name of the error. */
  public String code() {
    return code;
  }
}
