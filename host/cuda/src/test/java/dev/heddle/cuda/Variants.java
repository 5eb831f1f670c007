package dev.heddle.cuda;

import dev.heddle.core.Device;
import dev.heddle.core.kernel.KernelSource;
import java.util.Map;
import java.util.TreeMap;

/** Small kernels and made-up devices for tests of what compiles and finds PTX. */
final class Variants {
  private Variants() {}

  /** A kernel that compiles, with a macro that it wants a value for. */
  static KernelVariant scale(int factor) {
    return variant(
        "scale.cu",
        """
        #line 1 "scale.cu"
        #line 1 "scale_args.h"
        typedef struct { float *x; int n; } scale_args;
        #line 3 "scale.cu"
        extern "C" __global__ void __launch_bounds__(128) scale(const scale_args args) {
          const int i = blockIdx.x * 128 + threadIdx.x;
          if (i < args.n) args.x[i] *= FACTOR;
        }
        """,
        Map.of("FACTOR", factor));
  }

  /** A kernel that devices of compute capability 8.0 or newer run in a way of their own. */
  static KernelVariant adaptive() {
    return variant(
        "adaptive.cu",
        """
        #line 1 "adaptive.cu"
        extern "C" __global__ void adaptive(int *x) {
        #if __CUDA_ARCH__ >= 800
          *x = 2;
        #else
          *x = 1;
        #endif
        }
        """,
        Map.of());
  }

  /** A kernel that only devices of compute capability 8.0 or newer run. */
  static KernelVariant modern() {
    return variant(
        "modern.cu",
        """
        #line 1 "modern.cu"
        #if __CUDA_ARCH__ < 800
        #error "modern needs compute capability 8.0 or newer"
        #endif
        extern "C" __global__ void modern(int *x) { *x = 1; }
        """,
        Map.of());
  }

  /** A kernel that does not compile. */
  static KernelVariant broken() {
    return variant(
        "broken.cu",
        "#line 7 \"broken.cu\"\nextern \"C\" __global__ void f() { nonsense; }\n",
        Map.of());
  }

  private static KernelVariant variant(String file, String text, Map<String, Integer> macros) {
    return new KernelVariant(new KernelSource(file, text), new TreeMap<>(macros));
  }

  /** A device of that architecture. */
  static CudaDevice device(int architecture) {
    Device.Limits limits = new Device.Limits(1L << 30, 1L << 30, 99 << 10, 1024, 2);
    Device device =
        new Device("cuda", 0, "Test GPU", "test driver", Device.Kind.GPU, false, limits);
    return new CudaDevice(device, 0, architecture, 12060, 2, 48 << 10, 99 << 10, 100 << 10, 65536);
  }
}
