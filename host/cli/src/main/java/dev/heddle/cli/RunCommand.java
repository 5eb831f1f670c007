package dev.heddle.cli;

import dev.heddle.core.AttentionProblem;
import dev.heddle.core.AttentionShape;
import dev.heddle.core.BandMask;
import dev.heddle.core.DType;
import dev.heddle.core.HostTensor;
import dev.heddle.core.Shape;
import dev.heddle.lab.Attend;
import dev.heddle.lab.Installation;
import dev.heddle.lab.Trial;
import dev.heddle.lab.files.AtomicFileGroup;
import dev.heddle.lab.files.FiniteValues;
import dev.heddle.lab.files.NpyFile;
import dev.heddle.lab.files.SafetensorsFile;
import dev.heddle.reference.FlashAttentionPolicy;
import dev.heddle.reference.Verdict;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code heddle run}. */
@Command(
    name = "run",
    description = {
      "Attention on your own tensors: q [B, H_Q, SEQLEN_Q, HEAD_DIM], k [B, H_KV, SEQLEN_K,"
          + " HEAD_DIM], v [B, H_KV, SEQLEN_K, HEAD_DIM_V], all fp32, fp16 or (.safetensors) bf16; out"
          + " is of the same type, lse fp32.",
      "The result is judged against the double-precision reference; what does not pass is not"
          + " written. Without --backend, the fastest device that supports the problem computes."
    },
    mixinStandardHelpOptions = true,
    footerHeading = "%nExamples:%n",
    footer = {
      "  heddle run --q q.npy --k k.npy --v v.npy --out out.npy --lse lse.npy --causal",
      "  heddle run --q q.npy --k k.npy --v v.npy --out out.npy --attn-mask mask.npy --softcap 30",
      "  heddle run --in qkv.safetensors --out out.safetensors --scale 0.125 --backend opencl"
    })
final class RunCommand implements Callable<Integer> {
  private static final List<String> AXES = List.of("B", "H", "SEQLEN", "HEAD_DIM");

  @Option(names = "--q", paramLabel = "FILE", description = "Queries, .npy")
  private @Nullable Path q;

  @Option(names = "--k", paramLabel = "FILE", description = "Keys, .npy")
  private @Nullable Path k;

  @Option(names = "--v", paramLabel = "FILE", description = "Values, .npy")
  private @Nullable Path v;

  @Option(
      names = "--in",
      paramLabel = "FILE",
      description = "Instead: tensors q, k and v of one .safetensors file")
  private @Nullable Path in;

  @Option(
      names = "--out",
      paramLabel = "FILE",
      required = true,
      description = "Where the result goes: .npy, or .safetensors (tensors out and lse) with --in")
  private @Nullable Path out;

  @Option(
      names = "--lse",
      paramLabel = "FILE",
      description = "Where the log-sum-exp goes, .npy, [B, H_Q, SEQLEN_Q]")
  private @Nullable Path lse;

  @Option(
      names = "--scale",
      paramLabel = "X",
      description = "Factor on Q K^T. Default: 1/sqrt(HEAD_DIM)")
  private @Nullable Double scale;

  @Mixin private MaskOptions mask = new MaskOptions();
  @Mixin private ScoreOptions options = new ScoreOptions();
  @Mixin private DtypeOption type = new DtypeOption();
  @Mixin private DeviceOptions devices = new DeviceOptions();

  @CommandLine.Spec private CommandLine.Model.@Nullable CommandSpec spec;

  @Override
  public Integer call() {
    CommandLine commandLine = Objects.requireNonNull(spec).commandLine();
    BandMask band = mask.mask();
    Path target = Objects.requireNonNull(out);
    requireSound();
    AtomicFileGroup.requireWritable(target);
    if (lse != null) {
      AtomicFileGroup.requireWritable(lse);
    }
    options.scores().ifPresent(AtomicFileGroup::requireWritable);
    Trial trial;
    try (Progress progress = new Progress(commandLine.getErr())) {
      progress.accept("reading the tensors");
      Map<String, HostTensor> inputs = read();
      AttentionProblem plain = problem(inputs).withMask(band);
      AttentionProblem problem = plain.withOptions(options.options(plain.shape(), inputs));
      trial =
          new Attend(Installation.find(), new FlashAttentionPolicy(), progress)
              .run(problem, inputs, devices.selection(), devices.algorithm());
    }
    report(trial, commandLine.getErr());
    if (trial.passed()) {
      write(target, trial.outputs());
    }
    return CompareCommand.exitCode(List.of(trial)).code();
  }

  private void requireSound() {
    if (in != null && (q != null || k != null || v != null)) {
      throw new IllegalArgumentException("--in excludes --q, --k and --v: it holds all three");
    }
    if (in == null && (q == null || k == null || v == null)) {
      throw new IllegalArgumentException("--q, --k and --v are all needed, or --in instead");
    }
    if (in == null && type.dtype().equals(Optional.of(DType.BF16))) {
      throw new IllegalArgumentException(
          "--dtype bf16 goes with --in and .safetensors: .npy has no bf16");
    }
    if (in != null && lse != null) {
      throw new IllegalArgumentException(
          "--lse goes with .npy files; a .safetensors result holds lse beside out");
    }
    List<Path> written =
        Stream.of(out, lse, options.scores().orElse(null)).filter(Objects::nonNull).toList();
    List<Path> named =
        new ArrayList<>(
            Stream.concat(Stream.of(q, k, v, in), options.inputs())
                .filter(Objects::nonNull)
                .toList());
    // Inputs may name one file twice (q = k = v is self-attention); an output may name none of
    // them.
    for (Path file : written) {
      if (named.stream().anyMatch(other -> sameFile(other, file))) {
        throw new IllegalArgumentException(file + " is named twice, once to be written");
      }
      named.add(file);
    }
    if (scale != null && !Float.isFinite(scale.floatValue())) {
      throw new IllegalArgumentException("--scale " + scale + ": a finite fp32 number is needed");
    }
  }

  static boolean sameFile(Path a, Path b) {
    try {
      return a.toAbsolutePath().normalize().equals(b.toAbsolutePath().normalize())
          || (Files.exists(a) && Files.exists(b) && Files.isSameFile(a, b));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Map<String, HostTensor> read() {
    Map<String, HostTensor> tensors = new LinkedHashMap<>();
    if (in != null) {
      SafetensorsFile.read(in, List.of("q", "k", "v"), AXES.size())
          .forEach((name, tensor) -> tensors.put(name, rounded(in, name, tensor)));
      return tensors;
    }
    Map<String, Path> files = new LinkedHashMap<>();
    files.put("q", Objects.requireNonNull(q));
    files.put("k", Objects.requireNonNull(k));
    files.put("v", Objects.requireNonNull(v));
    files.forEach((name, file) -> {
      tensors.put(name, rounded(file, name, NpyFile.read(file, AXES.size())));
    });
    return tensors;
  }

  /** The tensor in the type asked for, all of it finite there. */
  private HostTensor rounded(Path file, String name, HostTensor tensor) {
    FiniteValues.require(file, name, tensor);
    DType wanted = type.dtype().orElse(tensor.dtype());
    if (wanted == tensor.dtype()) {
      return tensor;
    }
    HostTensor rounded = tensor.rounded(wanted);
    for (int i = 0; i < rounded.size(); i++) {
      if (!Float.isFinite(rounded.get(i))) {
        throw new IllegalArgumentException(
            file
                + ": "
                + name
                + tensor.shape().position(i)
                + " is "
                + tensor.get(i)
                + ", beyond the range of "
                + wanted.label());
      }
    }
    return rounded;
  }

  private AttentionProblem problem(Map<String, HostTensor> inputs) {
    DType dtype = Objects.requireNonNull(inputs.get("q")).dtype();
    Shape queries = shape(inputs, "q", dtype);
    Shape keys = shape(inputs, "k", dtype);
    Shape values = shape(inputs, "v", dtype);
    same("q", queries, "k", keys, 0);
    same("q", queries, "v", values, 0);
    same("k", keys, "v", values, 1);
    same("k", keys, "v", values, 2);
    same("q", queries, "k", keys, 3);
    AttentionShape sizes =
        new AttentionShape(
            queries.dim(0),
            queries.dim(1),
            keys.dim(1),
            queries.dim(2),
            keys.dim(2),
            queries.dim(3),
            values.dim(3));
    AttentionProblem problem =
        AttentionProblem.of(sizes).withDtype(dtype).withLse(in != null || lse != null);
    return scale == null ? problem : problem.withScale(scale.floatValue());
  }

  private static Shape shape(Map<String, HostTensor> inputs, String name, DType dtype) {
    HostTensor tensor = Objects.requireNonNull(inputs.get(name));
    if (tensor.dtype() != dtype) {
      throw new IllegalArgumentException(
          "q is "
              + dtype.label()
              + " and "
              + name
              + " is "
              + tensor.dtype().label()
              + ": one type is needed; --dtype rounds them to one");
    }
    return tensor.shape();
  }

  private static void same(String a, Shape shapeA, String b, Shape shapeB, int axis) {
    if (shapeA.dim(axis) != shapeB.dim(axis)) {
      throw new IllegalArgumentException(
          a
              + " is "
              + shapeA
              + " and "
              + b
              + " is "
              + shapeB
              + ": their "
              + AXES.get(axis)
              + " must agree, but "
              + shapeA.dim(axis)
              + " is not "
              + shapeB.dim(axis));
    }
  }

  private static void report(Trial trial, PrintWriter err) {
    StringBuilder line = new StringBuilder();
    line.append(trial.kernel()).append(" on ").append(trial.device().id()).append(' ');
    line.append(trial.device().displayName()).append(": ").append(trial.verdict().label());
    trial.verdict().reason().ifPresent(reason -> line.append(": ").append(reason));
    if (trial.passed()) {
      for (Verdict.Judged judged : trial.verdict().tensors()) {
        line.append(
            String.format(
                Locale.ROOT,
                "; %s max|err| %.2e, %.2f of the bound",
                judged.tensor(),
                judged.measures().maxAbs(),
                judged.errorRatio()));
      }
    } else {
      line.append("; nothing was written");
    }
    err.println(line);
  }

  private void write(Path target, Map<String, HostTensor> results) {
    try (AtomicFileGroup files = new AtomicFileGroup()) {
      if (in != null) {
        Map<String, HostTensor> own = new LinkedHashMap<>(results);
        own.remove("score_output");
        SafetensorsFile.write(files, target, own);
      } else {
        NpyFile.write(files, target, Objects.requireNonNull(results.get("out")));
        if (lse != null) {
          NpyFile.write(files, lse, Objects.requireNonNull(results.get("lse")));
        }
      }
      if (options.scores().isPresent()) {
        HostTensor scores = Objects.requireNonNull(results.get("score_output"));
        NpyFile.write(files, options.scores().get(), scores);
      }
      files.commit();
    }
  }
}
