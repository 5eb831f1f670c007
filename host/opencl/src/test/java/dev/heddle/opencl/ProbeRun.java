package dev.heddle.opencl;

/** Prints what the backend's probe answers. */
final class ProbeRun {
  private ProbeRun() {}

  public static void main(String[] args) {
    System.out.println(new OpenClBackend().probe());
  }
}
