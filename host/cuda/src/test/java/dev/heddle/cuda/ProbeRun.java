package dev.heddle.cuda;

/** Prints what looking for CUDA devices gives; its argument names a library for the driver's. */
final class ProbeRun {
  private ProbeRun() {}

  public static void main(String[] arguments) {
    if (arguments.length > 0) {
      System.setProperty(CudaLibrary.PROPERTY, arguments[0]);
    }
    System.out.println(Discovery.run("cuda").probe());
  }
}
