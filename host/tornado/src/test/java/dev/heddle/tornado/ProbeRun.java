package dev.heddle.tornado;

/** Prints what the backend's probe answers. */
final class ProbeRun {
  private ProbeRun() {}

  public static void main(String[] args) {
    System.out.println(new TornadoBackend().probe());
  }
}
