package dev.heddle.cuda;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** A compiler that only notes what it was asked for, and gives the least that passes for PTX. */
final class RecordingCompiler implements KernelCompiler {
  private final String name;
  private final List<Integer> architectures;
  private final List<String> jobs = Collections.synchronizedList(new ArrayList<>());

  RecordingCompiler(String name) {
    this(name, List.of(75, 80, 90));
  }

  RecordingCompiler(String name, List<Integer> architectures) {
    this.name = name;
    this.architectures = architectures;
  }

  /** What was compiled since this was asked before, as {@code scale.cu 80}. */
  List<String> jobs() {
    List<String> done = List.copyOf(jobs);
    jobs.clear();
    return done;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String location() {
    return "/bin/nvcc";
  }

  @Override
  public List<Integer> architectures() {
    return architectures;
  }

  @Override
  public String compile(KernelVariant variant, int architecture) {
    jobs.add(variant.file() + " " + architecture);
    return ".version 9.0\n.target sm_%d\n// %s\n".formatted(architecture, variant.macros());
  }
}
