# Everything comes from the system's packages (scripts/install_packages.sh); nothing is downloaded at build time.

find_package(OpenMP REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(dnnl REQUIRED)

find_package(PkgConfig REQUIRED)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
pkg_check_modules(TOMLPLUSPLUS REQUIRED IMPORTED_TARGET tomlplusplus)
find_library(SENTENCEPIECE_TRAIN sentencepiece_train REQUIRED)

# Thrust: the OpenMP backend of Debian's libthrust-dev (1.17), or the toolkit's where nvcc is on the path. Host code must name the
# backend (galrec_common does): Thrust's default is CUDA, whose headers Debian's package expects and does not bring.
find_path(THRUST_INCLUDE_DIR thrust/version.h REQUIRED)

if(GALREC_TESTS)
  find_package(GTest REQUIRED)
endif()
if(GALREC_BENCH)
  find_package(benchmark REQUIRED)
endif()
