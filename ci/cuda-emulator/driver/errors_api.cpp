// Names and texts of errors, and the look-up of functions by name.
#include <dlfcn.h>

#include <string>

#include "cuda_abi.h"

namespace {

struct ErrorText {
  CUresult code;
  const char *name;
  const char *text;
};

#define ERROR(name, text) \
  { name, #name, text }

// Those that the emulator returns.
constexpr ErrorText ERRORS[] = {
    ERROR(CUDA_SUCCESS, "no error"),
    ERROR(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    ERROR(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    ERROR(CUDA_ERROR_NOT_INITIALIZED, "cuInit has not been called"),
    ERROR(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device"),
    ERROR(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    ERROR(CUDA_ERROR_INVALID_IMAGE, "not a kernel image"),
    ERROR(CUDA_ERROR_INVALID_CONTEXT, "no context is current, or it is not a context"),
    ERROR(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image for this device"),
    ERROR(CUDA_ERROR_INVALID_PTX, "the PTX could not be compiled"),
    ERROR(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "PTX of a newer version than the driver's"),
    ERROR(CUDA_ERROR_FILE_NOT_FOUND, "file not found"),
    ERROR(CUDA_ERROR_INVALID_HANDLE, "invalid handle"),
    ERROR(CUDA_ERROR_NOT_FOUND, "no such name"),
    ERROR(CUDA_ERROR_NOT_READY, "the device is not ready"),
    ERROR(CUDA_ERROR_ILLEGAL_ADDRESS, "illegal memory access"),
    ERROR(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for the launch"),
    ERROR(CUDA_ERROR_LAUNCH_TIMEOUT, "the kernel ran too long and was stopped"),
    ERROR(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, "the primary context is active"),
    ERROR(CUDA_ERROR_CONTEXT_IS_DESTROYED, "the context has been destroyed"),
    ERROR(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "the memory is pinned already"),
    ERROR(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "the memory has not been registered"),
    ERROR(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address"),
    ERROR(CUDA_ERROR_LAUNCH_FAILED, "the kernel failed"),
    ERROR(CUDA_ERROR_NOT_SUPPORTED, "not supported by the emulator"),
    ERROR(CUDA_ERROR_UNKNOWN, "unknown error"),
};

#undef ERROR

const ErrorText *find(CUresult code) {
  for (const ErrorText &error : ERRORS) {
    if (error.code == code) return &error;
  }
  return nullptr;
}

// The newest of the interfaces of one function, which the suffixes tell apart.
void *lookUp(const char *symbol) {
  Dl_info self;
  if (dladdr(reinterpret_cast<void *>(&cuInit), &self) == 0) return nullptr;
  void *library = dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return nullptr;
  void *function = dlsym(library, (std::string(symbol) + "_v2").c_str());
  if (function == nullptr) function = dlsym(library, symbol);
  dlclose(library);
  return function;
}

}  // namespace

CUresult cuGetErrorName(CUresult code, const char **name) {
  if (name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const ErrorText *error = find(code);
  *name = error == nullptr ? nullptr : error->name;
  return error == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult code, const char **text) {
  if (text == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const ErrorText *error = find(code);
  *text = error == nullptr ? nullptr : error->text;
  return error == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuGetProcAddress_v2(const char *symbol, void **function, int, std::uint64_t,
                             CUdriverProcAddressQueryResult *status) {
  if (symbol == nullptr || function == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *function = lookUp(symbol);
  if (status != nullptr) {
    *status =
        *function != nullptr ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  }
  return *function != nullptr ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult cuGetProcAddress(const char *symbol, void **function, int cudaVersion,
                          std::uint64_t flags) {
  return cuGetProcAddress_v2(symbol, function, cudaVersion, flags, nullptr);
}
