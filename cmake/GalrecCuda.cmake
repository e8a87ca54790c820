# The CUDA backend: GALREC_CUDA=ON compiles the .cu files with nvcc, EMULATED compiles the same files as C++ against the
# executor in kernels/simt, OFF leaves them out.

set(GALREC_CUDA_ARCHITECTURES "" CACHE STRING "GPU architectures of GALREC_CUDA=ON; empty: 80, 90a and, from CUDA 12.8 on, 100a")

option(GALREC_SIMT_INSTRUMENT "EMULATED only: watch every access of the kernels (race detector, traffic meter)" OFF)
if(GALREC_SIMT_INSTRUMENT AND NOT GALREC_CUDA STREQUAL "EMULATED")
  message(FATAL_ERROR "GALREC_SIMT_INSTRUMENT needs GALREC_CUDA=EMULATED")
endif()

# For nothing else: its results differ from run to run, and tests that compare bits fail (bench/determinism_tax.py).
option(GALREC_UNORDERED "CUDA: add partial sums by float atomics, to measure what order costs" OFF)

option(GALREC_CUDA_COVERAGE "EMULATED only: gcov counts the lines of the kernels (scripts/coverage.py)" OFF)
if(GALREC_CUDA_COVERAGE)
  add_link_options(--coverage)
endif()

if(GALREC_CUDA STREQUAL "ON")
  find_package(CUDAToolkit 12.4 REQUIRED)
  set(CMAKE_CUDA_ARCHITECTURES ${GALREC_CUDA_ARCHITECTURES})
  if(NOT GALREC_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real)
    if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 12.8)
      list(APPEND CMAKE_CUDA_ARCHITECTURES 100a-real)
    endif()
  endif()
  enable_language(CUDA)
  # Convolution goes to cuDNN (8 or later: the toolkit's folder, CUDNN_ROOT, or a package of the system).
  option(GALREC_CUDNN "CUDA: use cuDNN where it is found" ON)
  if(GALREC_CUDNN)
    find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDNN_ROOT} ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
    find_library(CUDNN_LIBRARY cudnn HINTS ${CUDNN_ROOT} ${CUDAToolkit_LIBRARY_DIR} PATH_SUFFIXES lib lib64)
  endif()
  if(GALREC_CUDNN AND CUDNN_INCLUDE_DIR AND CUDNN_LIBRARY)
    message(STATUS "Found cuDNN: ${CUDNN_LIBRARY}")
  else()
    message(STATUS "cuDNN: not used (GALREC_CUDNN=${GALREC_CUDNN}; Debian and Ubuntu from NVIDIA's packages: libcudnn9-dev-cuda-13). "
      "Convolution is patches and cuBLASLt instead; everything else is as with it.")
  endif()
  # No --use_fast_math: NaN checks live, and what is approximate says so by name (kernels/common/mma.h).
  # fmt 9 gives up constexpr under nvcc, then g++ refuses its own format.h. 554: a conversion of View that no view of const needs.
  # CMake 3.25 does not know the dialects of nvcc 13: it is told, after the compiler was found.
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  string(APPEND CMAKE_CUDA_FLAGS " --expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra -DFMT_USE_CONSTEXPR=1 -diag-suppress=554")
  if(GALREC_WERROR)
    string(APPEND CMAKE_CUDA_FLAGS " -Werror all-warnings")
  endif()
elseif(NOT GALREC_CUDA MATCHES "^(OFF|EMULATED)$")
  message(FATAL_ERROR "GALREC_CUDA=${GALREC_CUDA}: expected OFF, ON or EMULATED")
endif()

# galrec_cuda_sources(out files…)   what to add to a target of this directory: nothing, CUDA files, or the same as C++
function(galrec_cuda_sources out)
  set(${out} "" PARENT_SCOPE)
  if(GALREC_CUDA STREQUAL "OFF" OR NOT ARGN)
    return()
  endif()
  if(GALREC_CUDA STREQUAL "EMULATED")
    # `#pragma unroll` is nvcc's and clang's; GCC has a word of its own.
    set(options -Wno-unknown-pragmas)
    if(GALREC_SIMT_INSTRUMENT)
      # Every load and store calls kernels/simt/instrument/tsan_callbacks.cc. Vectorising would merge the accesses of loops.
      list(APPEND options -fsanitize=thread -fno-tree-vectorize -fno-tree-slp-vectorize -O2 -g1 -Wno-tsan)
    elseif(GALREC_CUDA_COVERAGE)
      list(APPEND options --coverage -fprofile-update=atomic -O1)
    endif()
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${options}")
  endif()
  set(${out} ${ARGN} PARENT_SCOPE)
endfunction()
